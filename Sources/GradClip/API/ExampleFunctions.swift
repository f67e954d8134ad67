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
    for i in grads.indices {
        if grads[i].flags != 0 { throw ArgumentError("grads", "must be counted", .none, index: i) }
        if examples == 0 ? grads[i].length != 0 : grads[i].length % examples != 0 {
            throw ArgumentError("grads", "must have a multiple of examples", .integer(grads[i].length), index: i)
        }
        if sums.isEmpty { continue }
        if sums[i].dtype > Double._dtype { throw ArgumentError("sums", "must be float32 or float64", .none, index: i) }
        if examples > 0 && sums[i].length != grads[i].length / examples {
            throw ArgumentError("sums", "must have the length of one example", .integer(sums[i].length), index: i)
        }
    }
    if maxNorms.count != 1 && maxNorms.count != grads.count {
        throw ArgumentError("max_norms", "must be 1 or as many as the gradients", .integer(maxNorms.count))
    }
    for i in maxNorms.indices where !(maxNorms[i] == 0 || maxNorms[i].isNormal && maxNorms[i] > 0) {
        throw ArgumentError("max_norms", "must be 0, or finite and normal", .number(maxNorms[i]), index: i)
    }
    let (room, overflows) = examples.multipliedReportingOverflow(by: max(1, maxNorms.count))
    if overflows || room > 1 << 48 {
        throw ArgumentError("examples", "are more than memory can hold", .integer(examples))
    }
    var made = PerExampleResult()
    made.norms = [Double](repeating: 0, count: room)
    made.factors = made.norms
    try withList(grads, writes: false) { list throws(ArgumentError) in
        try options.check()
        try withList(sums, "sums", writes: true) { outputs in
            maxNorms.withUnsafeBufferPointer { limits in
                made.norms.withUnsafeMutableBufferPointer { norms in
                    made.factors.withUnsafeMutableBufferPointer { factors in
                        var pass = ExamplePass(
                            grads: list, sums: sums.isEmpty ? nil : outputs, examples: examples,
                            maxNorms: limits.baseAddress, layers: maxNorms.count, rule: rule.rawValue,
                            options: options, norms: norms.baseAddress.unsafelyUnwrapped,
                            factors: factors.baseAddress.unsafelyUnwrapped)
                        pass.run()
                        made.clippedCount = Int(pass.clipped)
                        made.nonfiniteCount = Int(pass.nonfinite)
                        made.firstNonfinite = pass.firstNonfinite == .max ? nil : Int(pass.firstNonfinite)
                        made.sensitivity = pass.sensitivity
                        made.roundingBound = pass.rounding
                    }
                }
            }
        }
    }
    return made
}

/// The limit for the next step, if a share `quantile` of the examples is to stay unclipped
/// (Andrew et al., arXiv 1905.03871): `maxNorm * exp(-rate * (unclipped / examples - quantile))`.
///
/// - Throws: ``ArgumentError`` for an argument out of range.
public func adaptedMaxNorm(
    _ maxNorm: Double, unclipped: Double, examples: Double, quantile: Double = 0.5, rate: Double = 0.2
) throws(ArgumentError) -> Double {
    func isProper(_ value: Double) -> Bool { value >= 0 && value < .infinity }
    if !isProper(maxNorm) { throw ArgumentError("max_norm", "must be finite and >= 0", .number(maxNorm)) }
    if !unclipped.isFinite { throw ArgumentError("unclipped", "must be finite", .number(unclipped)) }
    if !isProper(examples) || examples == 0 {
        throw ArgumentError("examples", "must be finite and > 0", .number(examples))
    }
    if !(quantile >= 0 && quantile <= 1) {
        throw ArgumentError("quantile", "must be between 0 and 1", .number(quantile))
    }
    if !isProper(rate) { throw ArgumentError("rate", "must be finite and >= 0", .number(rate)) }
    return try withList([], writes: false) { _ in
        adapted(maxNorm: maxNorm, unclipped: unclipped, examples: examples, quantile: quantile, rate: rate)
    }
}
#endif
