// The same for gradients in arrays, slices and spans. (Whatever is not here goes through
// withGradients(_:_:).)
#if !hasFeature(Embedded)

/// Clips a gradient in an array, a slice, a span ... in place; see ``clipGradNorm(_:maxNorm:normType:options:)-([Gradient],_,_,_)``.
///
/// - Throws: ``ArgumentError`` for an argument out of range, ``NonfiniteError`` for gradients that are not
///   finite if no policy takes care of them; nothing is written then.
public func clipGradNorm<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withGradients(&grad) { try clipGradNorm($0, maxNorm: maxNorm, normType: normType, options: options) }
}

/// Clips gradients in arrays or slices in place: one tensor each, one norm over all.
///
/// - Throws: ``ArgumentError`` for an argument out of range, ``NonfiniteError`` for gradients that are not
///   finite if no policy takes care of them; nothing is written then.
public func clipGradNorm<Memory: MutableGradientMemory>(
    _ grads: inout [Memory], maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    if grads.count <= mostAtOnce {
        return try withGradients(&grads) {
            try clipGradNorm($0, maxNorm: maxNorm, normType: normType, options: options)
        }
    }
    // An array gives its pointer only for the time of a call, and calls within each other have
    // an end: many arrays are added up and clipped one by one.
    let sum = try NormAccumulator(normType: normType, options: options)
    for grad in grads { sum.add(grad) }
    let result = try sum.clip([], maxNorm: maxNorm)
    for i in grads.indices {
        _ = try grads[i].withMutableGradient { gradient in try sum.clip([gradient], maxNorm: maxNorm) }
    }
    return result
}

private let mostAtOnce = 128

/// Measures the norm of a gradient in an array, a slice, a span ...
///
/// - Throws: ``ArgumentError`` for an argument out of range; ``NonfiniteError`` unless a policy is named.
public func totalNorm<Memory: GradientMemory & ~Copyable & ~Escapable>(
    of grad: borrowing Memory, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withGradients(reading: grad) { try totalNorm(of: $0, normType: normType, options: options) }
}

/// Measures the norm of all gradients in arrays or slices.
///
/// - Throws: ``ArgumentError`` for an argument out of range; ``NonfiniteError`` unless a policy is named.
public func totalNorm<Memory: GradientMemory>(
    of grads: [Memory], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    let sum = try NormAccumulator(normType: normType, options: options)
    for grad in grads { sum.add(grad) }
    return try sum.totalNorm()
}

/// What clipping a gradient in an array, a slice, a span ... would multiply by; see ``deferredClip(of:maxNorm:normType:options:)-([Gradient],_,_,_)``.
public func deferredClip<Memory: GradientMemory & ~Copyable & ~Escapable>(
    of grad: borrowing Memory, maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withGradients(reading: grad) {
        try deferredClip(of: $0, maxNorm: maxNorm, normType: normType, options: options)
    }
}

/// What clipping gradients in several arrays or slices would multiply by; see ``deferredClip(of:maxNorm:normType:options:)-([Gradient],_,_,_)``.
public func deferredClip<Memory: GradientMemory>(
    of grads: [Memory], maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withGradients(reading: grads) {
        try deferredClip(of: $0, maxNorm: maxNorm, normType: normType, options: options)
    }
}

/// Multiplies a gradient in an array, a slice, a span ... by a finite factor, in place.
public func scale<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, by factor: Double, threads: Int = 0
) throws {
    try withGradients(&grad) { try scale($0, by: factor, threads: threads) }
}

/// Multiplies gradients in several arrays or slices by a finite factor, in place.
public func scale<Memory: MutableGradientMemory>(
    _ grads: inout [Memory], by factor: Double, threads: Int = 0
) throws {
    try withGradients(&grads) { try scale($0, by: factor, threads: threads) }
}

/// Clamps every element of a gradient in an array, a slice, a span ... to `-clipValue ... clipValue`, in place.
public func clipGradValue<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, clipValue: Double, threads: Int = 0
) throws {
    try withGradients(&grad) { try clipGradValue($0, clipValue: clipValue, threads: threads) }
}

/// Clamps every element of gradients in several arrays or slices to `-clipValue ... clipValue`, in place.
public func clipGradValue<Memory: MutableGradientMemory>(
    _ grads: inout [Memory], clipValue: Double, threads: Int = 0
) throws {
    try withGradients(&grads) { try clipGradValue($0, clipValue: clipValue, threads: threads) }
}

/// Looks at a gradient in an array, a slice, a span ...; see ``inspect(_:normType:options:)-([Gradient],_,_)``.
public func inspect<Memory: GradientMemory & ~Copyable & ~Escapable>(
    _ grad: borrowing Memory, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> (reports: [GradientReport], total: ClipResult) {
    try withGradients(reading: grad) { try inspect($0, normType: normType, options: options) }
}

/// Looks at gradients in several arrays or slices; see ``inspect(_:normType:options:)-([Gradient],_,_)``.
public func inspect<Memory: GradientMemory>(
    _ grads: [Memory], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> (reports: [GradientReport], total: ClipResult) {
    try withGradients(reading: grads) { try inspect($0, normType: normType, options: options) }
}
#endif
