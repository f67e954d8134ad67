// The whole jobs: measure, decide, write.
//
// Arguments have been checked by the caller (Arguments.swift). Every function here
// is called with the library's own floating point environment and is not inlined,
// so that no arithmetic moves out of it.
import CGradClipKernels

/// Clips to `outputs`, or in place if that is nil.
@inline(never)
package func clip(
    _ grads: TensorList, to outputs: TensorList?, maxNorm: Double, normType: Double, options: ClipOptions,
    tensorNorms: UnsafeMutablePointer<Double>?
) -> ClipResult {
    var (result, coefficient) = totalNorm(
        grads, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: tensorNorms)
    if result.isNonfinite { return result }
    result.clipCoef = coefficient
    result.factor = coefficient / options.gradScale
    let zeroes = options.nonfinite == .zero && result.nonfiniteCount > 0
    scale(grads, to: outputs, by: result.factor, zeroNonfinite: zeroes, threads: options.threads)
    return result
}

/// The norm and the coefficient that belongs to it; writes nothing but `tensorNorms`.
///
/// `coefficient` is what clipping by maxNorm would multiply by (times 1 / gradScale).
@inline(never)
package func totalNorm(
    _ grads: TensorList, maxNorm: Double, normType: Double, options: ClipOptions,
    tensorNorms: UnsafeMutablePointer<Double>?, parts: UnsafeMutableRawPointer? = nil
) -> (ClipResult, coefficient: Double) {
    let found = measure(
        grads, normType: normType, options: options, tensorNorms: tensorNorms,
        parts: parts?.assumingMemoryBound(to: Parts.self))
    return (found.result(options), clipCoefficient(maxNorm: maxNorm, norm: found.norm, options: options))
}

/// Everything but the write, for whoever multiplies by `factor` later.
@inline(never)
package func deferClip(
    _ grads: TensorList, maxNorm: Double, normType: Double, options: ClipOptions,
    tensorNorms: UnsafeMutablePointer<Double>?
) -> ClipResult {
    var (result, coefficient) = totalNorm(
        grads, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: tensorNorms)
    if result.isNonfinite { return result }
    result.clipCoef = coefficient
    result.factor = coefficient / options.gradScale
    return result.deferred(options)
}

extension ClipResult {
    /// The result where nothing is written: what the policy `zero` would replace is still
    /// there, and the optimizer would read it.
    func deferred(_ options: ClipOptions) -> ClipResult {
        var result = self
        if options.nonfinite == .zero && nonfiniteCount > 0 { result.isNonfinite = true }
        return result
    }
}

/// Clips in place by a norm that is known already.
@inline(never)
package func clip(_ grads: TensorList, maxNorm: Double, totalNorm: Double, options: ClipOptions) -> ClipResult {
    var result = ClipResult()
    result.totalNorm = totalNorm
    if totalNorm == .infinity && options.nonfinite == .leave {
        result.isNonfinite = true
        return result
    }
    result.clipCoef = clipCoefficient(maxNorm: maxNorm, totalNorm: totalNorm, eps: options.eps)
    result.factor = result.clipCoef / options.gradScale
    scale(
        grads, to: nil, by: result.factor, zeroNonfinite: options.nonfinite == .zero, threads: options.threads)
    return result
}
