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
    let found = measure(grads, normType: normType, options: options, tensorNorms: tensorNorms)
    let result = ClipResult(found, clippedTo: maxNorm, options)
    if !result.isNonfinite { scale(grads, to: outputs, as: result, options) }
    return result
}

/// The norm; writes nothing but `tensorNorms`.
@inline(never)
package func totalNorm(
    _ grads: TensorList, normType: Double, options: ClipOptions, tensorNorms: UnsafeMutablePointer<Double>?
) -> ClipResult {
    var result = ClipResult(
        measure(grads, normType: normType, options: options, tensorNorms: tensorNorms), options)
    result.clip(by: 1, options)
    return result
}

/// Everything but the write, for whoever multiplies by `factor` later.
@inline(never)
package func deferClip(
    _ grads: TensorList, maxNorm: Double, normType: Double, options: ClipOptions,
    tensorNorms: UnsafeMutablePointer<Double>?
) -> ClipResult {
    let found = measure(grads, normType: normType, options: options, tensorNorms: tensorNorms)
    return ClipResult(found, clippedTo: maxNorm, options).deferred(options)
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
    result.clip(by: clipCoefficient(maxNorm: maxNorm, totalNorm: totalNorm, eps: options.eps), options)
    // (Nothing was looked for, so there may be something to replace.)
    scale(
        grads, to: nil, by: result.factor, zeroNonfinite: options.nonfinite == .zero, threads: options.threads)
    return result
}
