// The report on every gradient, for Swift callers.
#if !hasFeature(Embedded)
import CGradClip

/// What ``inspect(_:normType:options:)-([Gradient],_,_)`` tells of one gradient.
///
/// Norm, magnitude and mean are of its finite elements, and of gradient / gradScale.
public struct GradientReport: Sendable, Equatable {
    public let norm: Double
    /// The largest magnitude; 0 if there is none.
    public let maxAbs: Double
    /// 0 if there is no element.
    public let mean: Double
    /// How many elements there are.
    public let count: Int
    public let nanCount: Int
    public let positiveInfinityCount: Int
    public let negativeInfinityCount: Int
    /// Elements that are +0 or -0.
    public let zeroCount: Int
    /// Elements below the smallest normal number of the type, 0 left out.
    public let subnormalCount: Int
    /// The index of the first NaN or infinity.
    public let firstNonfinite: Int?

    init(_ report: gradclip_report) {
        norm = report.norm
        maxAbs = report.max_abs
        mean = report.mean
        count = Int(report.length)
        nanCount = Int(report.nan_count)
        positiveInfinityCount = Int(report.positive_infinity_count)
        negativeInfinityCount = Int(report.negative_infinity_count)
        zeroCount = Int(report.zero_count)
        subnormalCount = Int(report.subnormal_count)
        firstNonfinite = report.first_nonfinite == .max ? nil : Int(report.first_nonfinite)
    }
}

/// Looks at every gradient: who is large, who is NaN. Nothing is written.
///
/// - Parameters:
///   - grads: the gradients; those that are not counted are reported too, but left out
///     of the total.
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults; the policy does not matter.
/// - Returns: A report on each gradient, and the norm and the counts over all of them.
/// - Throws: ``ArgumentError`` for an argument out of range.
public func inspect(
    _ grads: [Gradient], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> (reports: [GradientReport], total: ClipResult) {
    let total = ClipResult()
    let blank = [gradclip_report](repeating: gradclip_report(), count: grads.count)
    var found = (reports: blank, total: total)
    try withList(grads, writes: false) { list throws(ArgumentError) in
        try options.check()
        try check(normType: normType)
        let stride = MemoryLayout<gradclip_report>.stride
        found.total = found.reports.withUnsafeMutableBytes { reports in
            inspect(
                list, normType: normType, options: options, reports: reports.baseAddress, stride: stride,
                size: MemoryLayout<gradclip_report>.size)
        }
    }
    return (found.reports.map(GradientReport.init), found.total)
}

/// Looks for two gradients that share memory, which would be counted and scaled twice.
///
/// - Returns: Their places in the list, in order; nil if no two do.
/// - Throws: ``ArgumentError`` without memory.
public func overlap(in grads: [Gradient]) throws(ArgumentError) -> (first: Int, second: Int)? {
    try withList(grads, writes: false) { list throws(ArgumentError) in
        guard let found = overlap(in: list) else {
            throw ArgumentError("grads", "are too many for memory", .integer(grads.count), reason: .outOfMemory())
        }
        return found.first == found.second ? nil : (found.first, found.second)
    }
}
#endif
