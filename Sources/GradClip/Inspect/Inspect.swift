// The report on every tensor: who is large, who is not finite.
import CGradClipKernels
import GradClipKernels

/// What is told of one tensor.
package struct TensorReport {
    package var norm = 0.0
    package var maxAbs = 0.0
    package var mean = 0.0
    package var length: UInt64 = 0
    package var nanCount: UInt64 = 0
    package var positiveInfinityCount: UInt64 = 0
    package var negativeInfinityCount: UInt64 = 0
    package var zeroCount: UInt64 = 0
    package var subnormalCount: UInt64 = 0
    package var firstNonfinite = UInt64.max
}

/// Reports on all tensors, each written `stride` bytes behind the one before, as
/// many bytes of it as `size` says.
@inline(never)
package func inspect(
    _ grads: TensorList, normType: Double, options: ClipOptions, reports: UnsafeMutableRawPointer?, stride: Int,
    size: Int
) -> ClipResult {
    var limbs = gk_wide_limbs()
    return withUnsafeMutablePointer(to: &limbs) { limbs in
        let wide = UnsafeMutableRawPointer(limbs).assumingMemoryBound(to: Int64.self)
        var pass = InspectPass(
            grads: grads, type: NormType(normType), options: options, reports: reports, stride: stride, size: size,
            total: Partial(NormType(normType), scratch: nil, wide: options.exactFloat64 ? wide : nil))
        ThreadPool.run(grads.threadCount(allowed: options.threads), &pass) { context, workspace, isShared in
            var share = InspectShare(
                context.unsafelyUnwrapped.assumingMemoryBound(to: InspectPass.self), workspace.unsafelyUnwrapped,
                isShared: isShared)
            share.run()
        }
        return pass.finish()
    }
}

/// A report on a list, and what all its threads found.
private struct InspectPass {
    let grads: TensorList
    let type: NormType
    let options: ClipOptions
    let reports: UnsafeMutableRawPointer?
    let stride: Int
    let size: Int
    let kernels = gk_process_kernels().unsafelyUnwrapped
    /// What threads draw segments from.
    var numbers: Int64 = 0
    var total: Partial
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    var nonzeroTensors: UInt64 = 0

    mutating func finish() -> ClipResult {
        var result = ClipResult()
        let norm = type.power == 0 ? NormValue.count(nonzeroTensors) : total.norm(omitsNonfinite: true)
        result.totalNorm = norm.divided(by: options.gradScale).double
        result.factor = 1 / options.gradScale
        result.nonfiniteCount = total.nonfinite
        result.nanCount = total.nan
        result.firstTensor = firstTensor
        result.firstElement = firstElement
        return result
    }
}

/// What one thread does of a report: whole tensors, since a mean depends on the order
/// of its blocks.
private struct InspectShare {
    let pass: UnsafeMutablePointer<InspectPass>
    let workspace: UnsafeMutableRawPointer
    let isShared: Bool
    let type: NormType
    let options: ClipOptions
    var partial: Partial
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    var nonzeroTensors: UInt64 = 0

    init(_ pass: UnsafeMutablePointer<InspectPass>, _ workspace: UnsafeMutableRawPointer, isShared: Bool) {
        self.pass = pass
        self.workspace = workspace
        self.isShared = isShared
        type = pass.pointee.type
        options = pass.pointee.options
        if type.term == .power { preparePowerTables(workspace, power: type.power) }
        partial = Partial(type, scratch: workspace, wide: options.exactFloat64 ? wideLimbs(workspace, 0) : nil)
    }

    mutating func run() {
        var draw = SegmentDraw(pass.pointee.grads, &pass.pointee.numbers)
        while let segment = draw.next() {
            // Of a tensor in several parts, who draws the first does all.
            if segment.start > 0 { continue }
            for i in segment.tensors { report(on: i) }
        }
        ThreadPool.lock(ifShared: isShared)
        pass.pointee.total.merge(&partial)
        if (firstTensor, firstElement) < (pass.pointee.firstTensor, pass.pointee.firstElement) {
            pass.pointee.firstTensor = firstTensor
            pass.pointee.firstElement = firstElement
        }
        pass.pointee.nonzeroTensors &+= nonzeroTensors
        ThreadPool.unlock(ifShared: isShared)
    }

    private mutating func report(on index: Int) {
        let tensor = pass.pointee.grads[index]
        var own = Partial(type, scratch: workspace, wide: options.exactFloat64 ? wideLimbs(workspace, 1) : nil)
        own.guess = partial.guess
        var report = look(at: tensor, &own)
        if tensor.isCounted && tensor.length > 0 {
            if own.first != GK_NOWHERE && firstTensor == .max {
                firstTensor = UInt64(index)
                firstElement = own.first
            }
            partial.merge(&own)
        }
        partial.guess = own.guess
        let norm = own.norm(omitsNonfinite: true)
        if tensor.isCounted && !norm.isZero { nonzeroTensors &+= 1 }
        report.norm = norm.divided(by: options.gradScale).double
        let place = pass.pointee.reports.unsafelyUnwrapped + index &* pass.pointee.stride
        place.copyMemory(from: &report, byteCount: pass.pointee.size)
    }

    /// Block by block, so that the second look at a block finds it in the cache.
    private func look(at tensor: Tensor, _ own: inout Partial) -> TensorReport {
        var statistics = gk_statistics()
        statistics.scratch = workspace
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
        var report = TensorReport()
        report.length = UInt64(tensor.length)
        report.nanCount = own.nan
        report.positiveInfinityCount = statistics.positive_infinity
        report.negativeInfinityCount = statistics.negative_infinity
        report.zeroCount = statistics.zero
        report.subnormalCount = statistics.subnormal
        report.firstNonfinite = own.first
        report.maxAbs = NormValue(Double(bitPattern: statistics.largest)).divided(by: options.gradScale).double
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
