// Clipping by example, for Swift callers.
#if !hasFeature(Embedded)

/// How an example's coefficient follows from the norm n of its gradient.
public enum ExampleRule: UInt32, Sendable, Codable {
    /// `min(1, maxNorm / (n + eps))`: Abadi et al., arXiv 1607.00133.
    case clip = 0
    /// `maxNorm / (n + eps)`, also above 1: automatic clipping, Bu et al., arXiv 2206.07136.
    case automatic = 1
    /// 1 if `n <= maxNorm`, otherwise 0.
    case threshold = 2
}

/// What ``clipPerExample(_:into:examples:maxNorms:rule:options:)-([Gradient],_,_,_,_,_)`` found.
public struct PerExampleResult: Sendable, Equatable {
    /// Examples with a norm above their limit; the dropped are not among them.
    public var clippedCount = 0
    /// Examples that were dropped for a NaN or an infinity.
    public var nonfiniteCount = 0
    /// The first of them.
    public var firstNonfinite: Int?
    /// What the norm of no contribution exceeds.
    public var sensitivity = 0.0
    /// What the norm of the sums' rounding error does not exceed.
    public var roundingBound = 0.0
    /// The norms and the factors of the examples, `maxNorms.count` of each together.
    public var norms: [Double] = []
    public var factors: [Double] = []
}

/// For differentially private training: clips the gradient of every example by its own norm over
/// all tensors, and adds the clipped gradients up. The gradients are not written.
///
/// An example that is not finite is dropped; that is told, and no error.
///
/// - Parameters:
///   - grads: tensors of the shape [examples, ...].
///   - sums: what receives the sums, float32 or float64, or empty to measure only.
///   - examples: how many; of 0, which Poisson sampling may draw, the gradients are empty and the sums 0.
///   - maxNorms: one limit over all tensors, or one a tensor; 0, or finite and normal.
///   - rule: how coefficients follow from norms.
///   - options: what differs from the defaults; the policy is not used.
/// - Throws: ``ArgumentError`` for an argument out of range; nothing is written then.
public func clipPerExample(
    _ grads: [Gradient], into sums: [Gradient] = [], examples: Int, maxNorms: [Double], rule: ExampleRule = .clip,
    options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> PerExampleResult {
    if examples < 0 { throw ArgumentError("examples", "must be >= 0", .integer(examples)) }
    if !sums.isEmpty && sums.count != grads.count {
        throw ArgumentError("sums", "must be as many as the gradients, or none", .integer(sums.count))
    }
    for i in grads.indices where !grads[i].isCounted {
        throw ArgumentError("grads", "must be counted", .none, index: i)
    }
    try withList(grads, writes: false) { list throws(ArgumentError) in
        try options.check()
        try withList(sums, "sums", writes: true) { outputs throws(ArgumentError) in
            try maxNorms.withUnsafeBufferPointer { limits throws(ArgumentError) in
                try ExampleClip.check(
                    grads: list, sums: sums.isEmpty ? nil : outputs, examples: examples, maxNorms: limits.baseAddress,
                    layers: limits.count)
            }
        }
    }
    let (room, overflows) = examples.multipliedReportingOverflow(by: max(1, maxNorms.count))
    if overflows || room > 1 << 48 {
        throw ArgumentError("examples", "are more than memory can hold", .integer(examples))
    }
    var made = PerExampleResult()
    // (One more, so that there is an address.)
    made.norms = [Double](repeating: 0, count: room + 1)
    made.factors = made.norms
    try withList(grads, writes: false) { list throws(ArgumentError) in
        try withList(sums, "sums", writes: true) { outputs in
            maxNorms.withUnsafeBufferPointer { limits in
                made.norms.withUnsafeMutableBufferPointer { norms in
                    made.factors.withUnsafeMutableBufferPointer { factors in
                        var clip = ExampleClip(
                            grads: list, sums: sums.isEmpty ? nil : outputs, examples: examples,
                            maxNorms: limits.baseAddress, layers: maxNorms.count, rule: rule.rawValue,
                            options: options, norms: norms.baseAddress.unsafelyUnwrapped,
                            factors: factors.baseAddress.unsafelyUnwrapped)
                        clip.run()
                        made.clippedCount = Int(clip.counts.clipped)
                        made.nonfiniteCount = Int(clip.counts.nonfinite)
                        made.firstNonfinite = clip.counts.firstNonfinite == .max ? nil : Int(clip.counts.firstNonfinite)
                        made.sensitivity = clip.sensitivity
                        made.roundingBound = clip.rounding
                    }
                }
            }
        }
    }
    made.norms.removeLast()
    made.factors.removeLast()
    return made
}

/// The limit for the next step, if a share `quantile` of the examples is to stay unclipped
/// (Andrew et al., arXiv 1905.03871): `maxNorm * exp(-rate * (unclipped / examples - quantile))`.
///
/// - Throws: ``ArgumentError`` for an argument out of range.
public func adaptedMaxNorm(
    _ maxNorm: Double, unclipped: Double, examples: Double, quantile: Double = 0.5, rate: Double = 0.2
) throws(ArgumentError) -> Double {
    try checkAdapted(maxNorm: maxNorm, unclipped: unclipped, examples: examples, quantile: quantile, rate: rate)
    return try withList([], writes: false) { _ in
        adapted(maxNorm: maxNorm, unclipped: unclipped, examples: examples, quantile: quantile, rate: rate)
    }
}
#endif
