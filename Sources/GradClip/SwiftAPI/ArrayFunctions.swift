// The same for gradients in arrays and spans.
#if !hasFeature(Embedded)

/// Clips the gradients in an array, a flat arena for instance, in place.
///
/// - Parameters:
///   - grad: all gradients, as one tensor.
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite (measure only).
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Returns: The norm from before clipping, and what else was found.
/// - Throws: ``ArgumentError`` for an argument out of range; nothing is written then.
@discardableResult
public func clipGradNorm<Element: GradientElement>(
    _ grad: inout [Element], maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    try grad.withUnsafeMutableBufferPointer { memory throws(ArgumentError) in
        try clipGradNorm([Gradient(memory)], maxNorm: maxNorm, normType: normType, options: options)
    }
}

/// Clips the gradients in a span in place.
///
/// - Parameters:
///   - grad: all gradients, as one tensor.
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite (measure only).
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Returns: The norm from before clipping, and what else was found.
/// - Throws: ``ArgumentError`` for an argument out of range; nothing is written then.
@discardableResult
public func clipGradNorm<Element: GradientElement>(
    _ grad: inout MutableSpan<Element>, maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    try grad.withUnsafeMutableBufferPointer { memory throws(ArgumentError) in
        try clipGradNorm([Gradient(memory)], maxNorm: maxNorm, normType: normType, options: options)
    }
}

/// Clips gradients in arrays in place: one tensor each, one norm over all.
///
/// - Parameters:
///   - grads: the gradients.
///   - maxNorm: the largest norm allowed; `>= 0`, may be infinite (measure only).
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Returns: The norm from before clipping, and what else was found.
/// - Throws: ``ArgumentError`` for an argument out of range; nothing is written then.
@discardableResult
public func clipGradNorm<Element: GradientElement>(
    _ grads: inout [[Element]], maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    if grads.count <= mostPinned {
        return try withGradients(&grads, grads.indices) { list throws(ArgumentError) in
            try clipGradNorm(list, maxNorm: maxNorm, normType: normType, options: options)
        }
    }
    let sum = try NormAccumulator(normType: normType, options: options)
    try check(maxNorm: maxNorm)
    for part in parts(of: grads) {
        withGradients(&grads, part) { list in sum.add(list) }
    }
    var result = ClipResult()
    for part in parts(of: grads) {
        result = try withGradients(&grads, part) { list throws(ArgumentError) in try sum.clip(list, maxNorm: maxNorm) }
    }
    return result
}

/// Measures the norm of an array of gradients.
///
/// - Throws: ``ArgumentError`` for an argument out of range.
public func totalNorm<Element: GradientElement>(
    of grad: [Element], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    let sum = try NormAccumulator(normType: normType, options: options)
    sum.add(grad)
    return try sum.finish()
}

/// Measures the norm of all gradients in arrays.
///
/// - Throws: ``ArgumentError`` for an argument out of range.
public func totalNorm<Element: GradientElement>(
    of grads: [[Element]], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    let sum = try NormAccumulator(normType: normType, options: options)
    for grad in grads { sum.add(grad) }
    return try sum.finish()
}

/// Clamps every element of an array to `-clipValue ... clipValue`, in place.
///
/// - Throws: ``ArgumentError`` for a limit below 0; nothing is written then.
public func clipGradValue<Element: GradientElement>(
    _ grad: inout [Element], clipValue: Double
) throws(ArgumentError) {
    try grad.withUnsafeMutableBufferPointer { memory throws(ArgumentError) in
        try clipGradValue([Gradient(memory)], clipValue: clipValue)
    }
}

// ----------------------------------------------------------- many arrays --

/// An array gives its pointer only for the time of a call, so pinning n of them takes n
/// calls within each other. More than this many are worked on part by part.
private let mostPinned = 128

private func parts<Element>(of grads: [[Element]]) -> [Range<Int>] {
    stride(from: 0, to: grads.count, by: mostPinned).map { $0..<min($0 + mostPinned, grads.count) }
}

/// Runs the body on the arrays of a range.
private func withGradients<Element: GradientElement, R, Failure: Error>(
    _ arrays: inout [[Element]], _ range: Range<Int>, _ body: ([Gradient]) throws(Failure) -> R
) throws(Failure) -> R {
    try arrays.withUnsafeMutableBufferPointer { arrays throws(Failure) in
        try pin(arrays, range, [], body)
    }
}

private func pin<Element: GradientElement, R, Failure: Error>(
    _ arrays: UnsafeMutableBufferPointer<[Element]>, _ range: Range<Int>, _ pinned: [Gradient],
    _ body: ([Gradient]) throws(Failure) -> R
) throws(Failure) -> R {
    if range.isEmpty { return try body(pinned) }
    return try arrays[range.lowerBound].withUnsafeMutableBufferPointer { memory throws(Failure) in
        try pin(arrays, range.dropFirst(), pinned + [Gradient(memory)], body)
    }
}
#endif
