// The report on every tensor: who is large, who is not finite.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClipKernels

/// Reports on all tensors, each written `stride` bytes behind the one before, as
/// many bytes of it as `size` says.
@inline(never)
package func inspect(
    _ grads: TensorList, normType: Double, options: ClipOptions, reports: UnsafeMutableRawPointer?, stride: Int,
    size: Int
) -> ClipResult {
    var limbs = gk_wide_limbs()
    return withUnsafeMutablePointer(to: &limbs) { limbs in
        let type = NormType(normType)
        var total = Total(type, wide: options.exactFloat64 ? limbs : nil)
        withUnsafeMutablePointer(to: &total) { total in
            var pass = InspectPass(
                grads: grads, options: options, reports: reports, stride: stride, size: size, type: type, total: total)
            pass.run()
        }
        var result = ClipResult(total.finding(omitsNonfinite: true), options)
        result.clip(by: 1, options)
        result.isNonfinite = false
        return result
    }
}

/// A report on a list, and where its threads hand in what they found.
private struct InspectPass: Pass {
    let grads: TensorList
    let options: ClipOptions
    let reports: UnsafeMutableRawPointer?
    let stride: Int
    let size: Int
    let kernels = gk_process_kernels().unsafelyUnwrapped
    let type: NormType
    let total: UnsafeMutablePointer<Total>
    /// Whether large tensors have been reported on before.
    var lacksLarge = false

    var pieces: Segments { Segments(grads) }

    mutating func run() {
        let threads = grads.threadCount(allowed: options.threads)
        if threads > 1 { reportOnLarge(threads) }
        run(threads: threads) { InspectShare.run($0, $1, isShared: $2) }
    }

    /// All threads work on each large tensor. Without the memory for that they are one thread's each, as the others.
    private mutating func reportOnLarge(_ threads: Int) {
        var most = 0
        for i in 0..<grads.count where grads.isLarge(i) { most = max(most, Stretches(grads[i]).count) }
        guard most > 0, let memory = gk_allocate(most &* MemoryLayout<BlockSums>.stride) else { return }
        lacksLarge = true
        let sums = memory.assumingMemoryBound(to: BlockSums.self)
        for i in 0..<grads.count where grads.isLarge(i) { reportOnLarge(i, threads, sums) }
        gk_release(memory)
    }

    private func reportOnLarge(_ index: Int, _ threads: Int, _ sums: UnsafeMutablePointer<BlockSums>) {
        var limbs = gk_wide_limbs()
        withUnsafeMutablePointer(to: &limbs) { limbs in
            var examined = Examined(type, wide: options.exactFloat64 ? limbs : nil)
            examined.own.guess = total.pointee.sums.guess
            withUnsafeMutablePointer(to: &examined) { examined in
                let pass = LargePass(
                    grads: grads.only(index), options: options, type: type, guess: examined.pointee.own.guess,
                    examined: examined, sums: sums)
                pass.run(threads: threads) { LargeShare.run($0, $1, isShared: $2) }
            }
            var sum = BlockSums()
            for i in 0..<Stretches(grads[index]).count { sum.add(sums[i]) }
            write(index, &examined, sum, to: &total.pointee)
        }
    }

    /// Writes the report on a tensor, and adds it to a total.
    func write(_ index: Int, _ examined: inout Examined, _ sum: BlockSums, to total: inout Total) {
        let tensor = grads[index]
        var report = examined.report(sum: sum, gradScale: options.gradScale)
        if tensor.isCounted && tensor.length > 0 {
            if report.first_nonfinite != GK_NOWHERE {
                total.first.note(Place(tensor: UInt64(index), element: report.first_nonfinite))
            }
            total.sums.merge(&examined.own)
        }
        total.sums.guess = examined.own.guess
        let norm = examined.own.norm(omitsNonfinite: true)
        if tensor.isCounted && !norm.isZero { total.nonzeroTensors &+= 1 }
        report.norm = norm.double(dividedBy: options.gradScale)
        (reports.unsafelyUnwrapped + index &* stride).copyMemory(from: &report, byteCount: size)
    }
}

/// What one thread does of a report: whole tensors.
private struct InspectShare: Share {
    let pass: UnsafePointer<InspectPass>
    let workspace: Workspace
    var total: Total

    init(_ pass: UnsafePointer<InspectPass>, _ workspace: Workspace, isShared: Bool) {
        self.pass = pass
        self.workspace = workspace
        let type = pass.pointee.type
        if type.term == .power { preparePowerTables(workspace.start, power: type.power) }
        total = Total(
            type, limbs: pass.pointee.options.exactFloat64 ? workspace.wideLimbs(0) : nil, scratch: workspace.start)
    }

    mutating func work(on segment: Segment) {
        // Of a tensor in several segments, who draws the first does all.
        if segment.start > 0 { return }
        for i in segment.tensors where !(pass.pointee.lacksLarge && pass.pointee.grads.isLarge(i)) { report(on: i) }
    }

    mutating func handIn() { pass.pointee.total.pointee.merge(&total) }

    private mutating func report(on index: Int) {
        let tensor = pass.pointee.grads[index]
        var examined = Examined(pass.pointee.type, pass.pointee.options, workspace, limbs: 1)
        examined.own.guess = total.sums.guess
        var sum = BlockSums()
        var stretches = Stretches(tensor)
        while let stretch = stretches.next() {
            sum.add(examined.look(at: tensor, from: stretch.start, stretch.length, pass.pointee.kernels))
        }
        pass.pointee.write(index, &examined, sum, to: &total)
    }
}

/// One large tensor, for all threads.
private struct LargePass: Pass {
    let grads: TensorList
    let options: ClipOptions
    let type: NormType
    let guess: Guess
    let kernels = gk_process_kernels().unsafelyUnwrapped
    let examined: UnsafeMutablePointer<Examined>
    /// Of each stretch, in order.
    let sums: UnsafeMutablePointer<BlockSums>

    var pieces: Stretches { Stretches(grads[0]) }
}

/// What one thread does of it: stretches.
private struct LargeShare: Share {
    let pass: UnsafePointer<LargePass>
    var examined: Examined

    init(_ pass: UnsafePointer<LargePass>, _ workspace: Workspace, isShared: Bool) {
        self.pass = pass
        let type = pass.pointee.type
        if type.term == .power { preparePowerTables(workspace.start, power: type.power) }
        examined = Examined(type, pass.pointee.options, workspace, limbs: 0)
        examined.own.guess = pass.pointee.guess
    }

    mutating func work(on stretch: Stretch) {
        pass.pointee.sums[stretch.number] = examined.look(
            at: pass.pointee.grads[0], from: stretch.start, stretch.length, pass.pointee.kernels)
    }

    mutating func handIn() { pass.pointee.examined.pointee.merge(&examined) }
}
