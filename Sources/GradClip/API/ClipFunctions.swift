// The whole jobs and the separate steps, on lists of gradients.
#if !hasFeature(Embedded)
import CGradClipKernels

/// Clips gradients in place so that their norm is at most `maxNorm`.
///
/// The norm is `(Σ|x|^p)^(1/p)` over all elements, and every element is multiplied
/// by `min(1, maxNorm / (norm + eps)) / gradScale`, as
/// `torch.nn.utils.clip_grad_norm_` does. If that is 1, nothing is written. With
/// the policy ``NonfinitePolicy/leave``, gradients with a NaN or an infinity are left
/// alone, which is an error.
///
/// - Parameters:
///   - grads: the gradients, which must not overlap.
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite (measure only).
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Returns: The norm from before clipping, and what else was found.
/// - Throws: ``ArgumentError`` for an argument out of range, ``NonfiniteError`` for gradients that
///   are left alone; nothing is written then.
public func clipGradNorm(
    _ grads: [Gradient], maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withList(grads, writes: true) { list throws(ArgumentError) in
        try options.check()
        try check(maxNorm: maxNorm)
        try check(normType: normType)
        return clip(list, to: nil, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: nil)
    }.checked()
}

/// Clips gradients out of place: `outputs[i]` receives `grads[i]`, clipped.
///
/// The outputs are always written, unless the call throws or leaves non-finite
/// gradients alone.
///
/// - Parameters:
///   - grads: the gradients; read only.
///   - outputs: as many, each with the length and the type of its gradient, and either
///     the same memory or overlapping nothing.
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite (copy only).
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Returns: The norm from before clipping, and what else was found.
/// - Throws: ``ArgumentError`` for an argument out of range, ``NonfiniteError`` for gradients that
///   are left alone; nothing is written then.
public func clipGradNorm(
    _ grads: [Gradient], into outputs: [Gradient], maxNorm: Double, normType: Double = 2,
    options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withList(grads, writes: false) { list throws(ArgumentError) in
        try options.check()
        try check(maxNorm: maxNorm)
        try check(normType: normType)
        if outputs.count != grads.count {
            throw ArgumentError("outputs", "must be as many as the gradients", .integer(outputs.count))
        }
        return try withList(outputs, "outputs", writes: true) { destinations throws(ArgumentError) in
            for i in outputs.indices
            where outputs[i].length != grads[i].length || outputs[i].dtype != grads[i].dtype {
                throw ArgumentError("outputs", "must have the length and the type of the gradient", .none, index: i)
            }
            return clip(
                list, to: destinations, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: nil)
        }
    }.checked()
}

/// Measures the norm of all gradients; nothing is written.
///
/// The result's ``ClipResult/clipCoef`` is 1: nothing is clipped.
///
/// - Throws: ``ArgumentError`` for an argument out of range; ``NonfiniteError`` unless a policy is
///   named.
public func totalNorm(
    of grads: [Gradient], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try measured(grads, maxNorm: nil, normType: normType, options: options, tensorNorms: nil).checkedNorm(options)
}

/// Measures the norm of each gradient; 0 for one that is empty or not counted.
///
/// - Throws: ``ArgumentError`` for an argument out of range; ``NonfiniteError`` unless a policy is
///   named.
public func norms(
    of grads: [Gradient], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> [Double] {
    var result = [Double](repeating: 0, count: grads.count)
    _ = try result.withUnsafeMutableBufferPointer { norms in
        try measured(grads, maxNorm: nil, normType: normType, options: options, tensorNorms: norms.baseAddress)
            .checkedNorm(options)
    }
    return result
}

/// Everything but the write: for an optimizer that multiplies by ``ClipResult/factor``
/// itself, which saves a pass over the gradients.
///
/// - Parameters:
///   - grads: the gradients; read only.
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite.
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Returns: The norm, the coefficient and the factor that clipping would use.
/// - Throws: ``ArgumentError`` for an argument out of range; ``NonfiniteError`` unless the policy
///   is ``NonfinitePolicy/propagate``, since nothing replaces what the optimizer reads.
public func deferredClip(
    of grads: [Gradient], maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try measured(grads, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: nil)
        .checkedDeferred(options)
}

private func measured(
    _ grads: [Gradient], maxNorm: Double?, normType: Double, options: ClipOptions,
    tensorNorms: UnsafeMutablePointer<Double>?
) throws(ArgumentError) -> ClipResult {
    try withList(grads, writes: false) { list throws(ArgumentError) in
        try options.check()
        if let maxNorm { try check(maxNorm: maxNorm) }
        try check(normType: normType)
        if let maxNorm {
            return deferClip(
                list, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: tensorNorms)
        }
        return totalNorm(list, normType: normType, options: options, tensorNorms: tensorNorms)
    }
}

/// The coefficient that belongs to a norm: `min(1, maxNorm / (totalNorm + eps))`.
///
/// - Parameters:
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite.
///   - totalNorm: the norm; `>= 0`.
///   - eps: see ``ClipOptions/eps``.
/// - Throws: ``ArgumentError`` for an argument out of range.
public func clipCoef(maxNorm: Double, totalNorm: Double, eps: Double = 1e-6) throws(ArgumentError) -> Double {
    try check(maxNorm: maxNorm)
    try check(totalNorm: totalNorm)
    try check(eps: eps)
    return clipCoefficient(maxNorm: maxNorm, totalNorm: totalNorm, eps: eps)
}

/// Clips in place by a norm that is known already, of the same gradients or of more
/// than these.
///
/// The gradients are not measured. An infinite norm is treated by the policy.
///
/// - Parameters:
///   - grads: the gradients, which must not overlap.
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite.
///   - totalNorm: the norm of gradient / gradScale; `>= 0`.
///   - options: what differs from the defaults.
/// - Throws: ``ArgumentError`` for an argument out of range, ``NonfiniteError`` for gradients that
///   are left alone; nothing is written then.
public func clipGrads(
    _ grads: [Gradient], maxNorm: Double, totalNorm: Double, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withList(grads, writes: true) { list throws(ArgumentError) in
        try options.check()
        try check(maxNorm: maxNorm)
        try check(totalNorm: totalNorm)
        return clip(list, maxNorm: maxNorm, totalNorm: totalNorm, options: options)
    }.checked()
}

/// Multiplies all gradients by a finite factor, in place. A factor of 1 writes nothing.
///
/// - Throws: ``ArgumentError`` for a factor that is not finite; nothing is written then.
public func scale(_ grads: [Gradient], by factor: Double, threads: Int = 0) throws(ArgumentError) {
    try withList(grads, writes: true) { list throws(ArgumentError) in
        try check(factor: factor)
        try check(threads: threads)
        scale(list, to: nil, by: factor, zeroNonfinite: false, threads: threads)
    }
}

/// Clamps every element to `-clipValue ... clipValue`, in place, as
/// `torch.nn.utils.clip_grad_value_` does.
///
/// NaN stays NaN, infinities become the limit. Memory in which nothing lies beyond it
/// is not written.
///
/// - Parameters:
///   - grads: the gradients, which must not overlap.
///   - clipValue: the limit, `>= 0`; rounded to each gradient's own type.
///   - threads: see ``ClipOptions/threads``.
/// - Throws: ``ArgumentError`` for an argument out of range; nothing is written then.
public func clipGradValue(_ grads: [Gradient], clipValue: Double, threads: Int = 0) throws(ArgumentError) {
    try withList(grads, writes: true) { list throws(ArgumentError) in
        try check(clipValue: clipValue)
        try check(threads: threads)
        clamp(list, to: clipValue, threads: threads)
    }
}

/// How many threads a call uses at most, the caller's included; the results have the
/// same bits for any number.
///
/// Without a choice it is the environment variable `GRADCLIP_NUM_THREADS` if that is a
/// number above 0, and otherwise as many as the process may run on. 0 (or less) returns
/// to that. ``ClipOptions/threads`` overrides it for one call.
public var maximumThreadCount: Int {
    get { ThreadPool.count }
    set { ThreadPool.count = max(0, newValue) }
}
#endif
