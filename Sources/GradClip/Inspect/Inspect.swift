// The report on every tensor: who is large, who is not finite.
import CGradClip
import CGradClipKernels
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
            let pass = InspectPass(
                grads: grads, options: options, reports: reports, stride: stride, size: size, type: type, total: total)
            pass.run(threads: grads.threadCount(allowed: options.threads)) { InspectShare.run($0, $1, isShared: $2) }
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

    var pieces: Segments { Segments(grads) }
}

/// What one thread does of a report: whole tensors, since a mean depends on the order
/// of its blocks.
private struct InspectShare: Share {
    let pass: UnsafePointer<InspectPass>
    let workspace: Workspace
    let type: NormType
    let options: ClipOptions
    var total: Total

    init(_ pass: UnsafePointer<InspectPass>, _ workspace: Workspace, isShared: Bool) {
        self.pass = pass
        self.workspace = workspace
        type = pass.pointee.type
        options = pass.pointee.options
        if type.term == .power { preparePowerTables(workspace.start, power: type.power) }
        total = Total(type, limbs: options.exactFloat64 ? workspace.wideLimbs(0) : nil, scratch: workspace.start)
    }

    mutating func work(on segment: Segment) {
        // Of a tensor in several segments, who draws the first does all.
        if segment.start > 0 { return }
        for i in segment.tensors { report(on: i) }
    }

    mutating func handIn() { pass.pointee.total.pointee.merge(&total) }

    private mutating func report(on index: Int) {
        let tensor = pass.pointee.grads[index]
        var own = Partial(
            type, scratch: workspace.start, wide: options.exactFloat64 ? workspace.wideLimbs(1) : nil)
        own.guess = total.sums.guess
        var report = look(at: tensor, &own)
        if tensor.isCounted && tensor.length > 0 {
            if own.first != GK_NOWHERE { total.first.note(Place(tensor: UInt64(index), element: own.first)) }
            total.sums.merge(&own)
        }
        total.sums.guess = own.guess
        let norm = own.norm(omitsNonfinite: true)
        if tensor.isCounted && !norm.isZero { total.nonzeroTensors &+= 1 }
        report.norm = norm.double(dividedBy: options.gradScale)
        let place = pass.pointee.reports.unsafelyUnwrapped + index &* pass.pointee.stride
        place.copyMemory(from: &report, byteCount: pass.pointee.size)
    }

    /// Block by block, so that the second look at a block finds it in the cache.
    private func look(at tensor: Tensor, _ own: inout Partial) -> gradclip_report {
        var statistics = gk_statistics()
        statistics.scratch = workspace.start
        var sum = BlockSums()
        let size = tensor.dtype.size
        let kernels = pass.pointee.kernels
        var start = 0
        while start < tensor.length {
            let count = min(Int(GK_BLOCK), tensor.length &- start)
            let data = UnsafeRawPointer(tensor.data.unsafelyUnwrapped) + start &* size
            own.add(kernels, tensor.dtype, data, count)
            kernels.pointee.inspect(tensor.dtype, data, Int64(count), &statistics)
            sum.add(statistics.sum + statistics.correction)
            statistics.sum = 0
            statistics.correction = 0
            start &+= count
        }
        own.elements = tensor.length
        var report = gradclip_report()
        report.length = UInt64(tensor.length)
        report.nan_count = own.nan
        report.positive_infinity_count = statistics.positive_infinity
        report.negative_infinity_count = statistics.negative_infinity
        report.zero_count = statistics.zero
        report.subnormal_count = statistics.subnormal
        report.first_nonfinite = own.first
        report.max_abs = NormValue(Double(bitPattern: statistics.largest)).double(dividedBy: options.gradScale)
        let finite = UInt64(tensor.length) &- own.nonfinite
        if finite > 0 {
            report.mean = sum.mean(of: finite, gradScale: options.gradScale)
        }
        return report
    }
}

/// The sum of what blocks of x / GK_BLOCK came to, to twice the precision of a float64.
/// Large blocks are summed in units of 2^64, so that no number of them overflows.
private struct BlockSums {
    private var ordinary = 0.0
    private var ordinaryRest = 0.0
    private var large = 0.0
    private var largeRest = 0.0

    mutating func add(_ block: Double) {
        if block.magnitude < 0x1p900 {
            Self.add(block, to: &ordinary, &ordinaryRest)
        } else {
            Self.add(block * 0x1p-64, to: &large, &largeRest)
        }
    }

    /// sum += x with the rounding error kept (Knuth's TwoSum).
    private static func add(_ x: Double, to sum: inout Double, _ rest: inout Double) {
        let total = sum + x
        let back = total - sum
        rest += (sum - (total - back)) + (x - back)
        sum = total
    }

    func mean(of count: UInt64, gradScale: Double) -> Double {
        let isLarge = large != 0 || largeRest != 0
        let sum = isLarge ? large + (largeRest + (ordinary + ordinaryRest) * 0x1p-64) : ordinary + ordinaryRest
        let share = sum / Double(count)
        let mean = NormValue(share.magnitude).divided(by: gradScale)
        let magnitude = Scaled(significand: mean.significand, exponent: mean.exponent &+ (isLarge ? 76 : 12)).double
        return share < 0 ? -magnitude : magnitude
    }
}
