// What a report says of a tensor, while it is found stretch by stretch.
import CGradClip
import CGradClipKernels
import GradClipKernels

/// What one thread found of a tensor: all but the mean, which depends on the order of its stretches.
struct Examined {
    var own: Partial
    private var statistics = gk_statistics()

    /// - Parameter limbs: which of the workspace's the exact sum of float64 terms may have.
    init(_ type: NormType, _ options: ClipOptions, _ workspace: Workspace, limbs index: Int) {
        own = Partial(
            type, scratch: workspace.start, wide: options.exactFloat64 ? workspace.wideLimbs(index) : nil)
        statistics.scratch = workspace.start
    }

    /// Without memory to work in: to be merged into.
    init(_ type: NormType, wide: UnsafeMutablePointer<gk_wide_limbs>?) {
        own = Partial(
            type, scratch: nil, wide: UnsafeMutableRawPointer(wide)?.assumingMemoryBound(to: Int64.self))
    }

    /// Looks at a stretch block by block, so that the second look at a block finds it in the cache. Returns the
    /// sum of its elements.
    mutating func look(at tensor: Tensor, from start: Int, _ length: Int, _ kernels: Kernels) -> BlockSums {
        var sum = BlockSums()
        let size = tensor.dtype.size
        own.offset = UInt64(start)
        var start = start
        let end = start &+ length
        while start < end {
            let count = min(Int(GK_BLOCK), end &- start)
            let data = UnsafeRawPointer(tensor.data.unsafelyUnwrapped) + start &* size
            own.add(kernels, tensor.dtype, data, count)
            kernels.pointee.inspect(tensor.dtype, data, Int64(count), &statistics)
            sum.add(statistics.sum + statistics.correction)
            statistics.sum = 0
            statistics.correction = 0
            start &+= count
        }
        own.count(length)
        return sum
    }

    mutating func merge(_ other: inout Examined) {
        own.merge(&other.own)
        own.first = min(own.first, other.own.first)
        statistics.largest = max(statistics.largest, other.statistics.largest)
        statistics.zero &+= other.statistics.zero
        statistics.subnormal &+= other.statistics.subnormal
        statistics.positive_infinity &+= other.statistics.positive_infinity
        statistics.negative_infinity &+= other.statistics.negative_infinity
    }

    /// All but the norm.
    func report(sum: BlockSums, gradScale: Double) -> gradclip_report {
        var report = gradclip_report()
        report.length = UInt64(own.elements)
        report.nan_count = own.nan
        report.positive_infinity_count = statistics.positive_infinity
        report.negative_infinity_count = statistics.negative_infinity
        report.zero_count = statistics.zero
        report.subnormal_count = statistics.subnormal
        report.first_nonfinite = own.first
        report.max_abs = NormValue(Double(bitPattern: statistics.largest)).double(dividedBy: gradScale)
        let finite = report.length &- own.nonfinite
        if finite > 0 { report.mean = sum.mean(of: finite, gradScale: gradScale) }
        return report
    }
}

/// The sum of what blocks of x / GK_BLOCK came to, to twice the precision of a float64.
/// Large blocks are summed in units of 2^64, so that no number of them overflows.
struct BlockSums {
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

    mutating func add(_ other: BlockSums) {
        Self.add(other.ordinary, to: &ordinary, &ordinaryRest)
        Self.add(other.large, to: &large, &largeRest)
        ordinaryRest += other.ordinaryRest
        largeRest += other.largeRest
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
