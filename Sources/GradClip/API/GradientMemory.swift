// What gradients may lie in: arrays, slices, spans, memory of the caller's own.
#if !hasFeature(Embedded)

/// Memory with the elements of one gradient: an `Array`, an `ArraySlice`, a `ContiguousArray`, a
/// `Span`, a `MutableSpan`, an unsafe buffer pointer, of `Float`, `Double` or `Float16`.
public protocol GradientMemory: ~Copyable, ~Escapable {
    /// Runs the body on the gradient, which is only read and lasts as long as the call.
    borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R
}

/// The same, that may be written.
public protocol MutableGradientMemory: GradientMemory, ~Copyable, ~Escapable {
    /// Runs the body on the gradient, which may be written and lasts as long as the call.
    mutating func withMutableGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R
}

extension Array: GradientMemory where Element: GradientElement {
    public borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeBufferPointer { memory throws(Failure) in try body(Gradient(reading: memory)) }
    }
}

extension ArraySlice: GradientMemory where Element: GradientElement {
    public borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeBufferPointer { memory throws(Failure) in try body(Gradient(reading: memory)) }
    }
}

extension ContiguousArray: GradientMemory where Element: GradientElement {
    public borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeBufferPointer { memory throws(Failure) in try body(Gradient(reading: memory)) }
    }
}

extension Span: GradientMemory where Element: GradientElement {
    public borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeBufferPointer { memory throws(Failure) in try body(Gradient(reading: memory)) }
    }
}

extension MutableSpan: GradientMemory where Element: GradientElement {
    public borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeBufferPointer { memory throws(Failure) in try body(Gradient(reading: memory)) }
    }
}

extension Array: MutableGradientMemory where Element: GradientElement {
    public mutating func withMutableGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeMutableBufferPointer { memory throws(Failure) in try body(Gradient(memory)) }
    }
}

extension ArraySlice: MutableGradientMemory where Element: GradientElement {
    public mutating func withMutableGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeMutableBufferPointer { memory throws(Failure) in try body(Gradient(memory)) }
    }
}

extension ContiguousArray: MutableGradientMemory where Element: GradientElement {
    public mutating func withMutableGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeMutableBufferPointer { memory throws(Failure) in try body(Gradient(memory)) }
    }
}

extension MutableSpan: MutableGradientMemory where Element: GradientElement {
    public mutating func withMutableGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R {
        try withUnsafeMutableBufferPointer { memory throws(Failure) in try body(Gradient(memory)) }
    }
}

extension UnsafeBufferPointer: GradientMemory where Element: GradientElement {
    public borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R { try body(Gradient(reading: copy self)) }
}

extension UnsafeMutableBufferPointer: GradientMemory where Element: GradientElement {
    public borrowing func withGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R { try body(Gradient(reading: UnsafeBufferPointer(copy self))) }
}

extension UnsafeMutableBufferPointer: MutableGradientMemory where Element: GradientElement {
    public mutating func withMutableGradient<R, Failure: Error>(
        _ body: (Gradient) throws(Failure) -> R
    ) throws(Failure) -> R { try body(Gradient(self)) }
}

/// Runs the body on a gradient that may be written, as a list: for every function that takes one.
///
/// ```swift
/// let parts = try withGradients(&grad) { try clipByBlockRMS($0, threshold: 1) }
/// ```
public func withGradients<Memory: MutableGradientMemory & ~Copyable & ~Escapable, R>(
    _ grad: inout Memory, _ body: ([Gradient]) throws -> R
) rethrows -> R {
    try grad.withMutableGradient { gradient in try body([gradient]) }
}

/// The same for gradients in several arrays or slices.
///
/// - Throws: what the body throws; ``ArgumentError`` for more than 1024 arrays: an array gives its
///   pointer only for the time of a call, so that n of them take n calls within each other. Keep
///   that many in one array, and pass slices of it as ``Gradient``s.
public func withGradients<Memory: MutableGradientMemory, R>(
    _ grads: inout [Memory], _ body: ([Gradient]) throws -> R
) throws -> R {
    if grads.count > mostPinned { throw ArgumentError("grads", "must be at most 1024 arrays", .integer(grads.count)) }
    return try grads.withUnsafeMutableBufferPointer { memory in
        try pin(memory, [], body)
    }
}

/// Runs the body on a gradient that is only read, as a list.
public func withGradients<Memory: GradientMemory & ~Copyable & ~Escapable, R>(
    reading grad: borrowing Memory, _ body: ([Gradient]) throws -> R
) rethrows -> R {
    try grad.withGradient { gradient in try body([gradient]) }
}

/// The same for gradients in several arrays or slices.
///
/// - Throws: what the body throws; ``ArgumentError`` for more than 1024 arrays.
public func withGradients<Memory: GradientMemory, R>(
    reading grads: [Memory], _ body: ([Gradient]) throws -> R
) throws -> R {
    if grads.count > mostPinned { throw ArgumentError("grads", "must be at most 1024 arrays", .integer(grads.count)) }
    return try pin(reading: grads, [], body)
}

private let mostPinned = 1024

/// Runs the body on gradients of which each lasts for the time of a call.
private func pin<Memory: MutableGradientMemory, R>(
    _ grads: UnsafeMutableBufferPointer<Memory>, _ pinned: [Gradient], _ body: ([Gradient]) throws -> R
) throws -> R {
    if pinned.count == grads.count { return try body(pinned) }
    return try grads[pinned.count].withMutableGradient { gradient in try pin(grads, pinned + [gradient], body) }
}

private func pin<Memory: GradientMemory, R>(
    reading grads: [Memory], _ pinned: [Gradient], _ body: ([Gradient]) throws -> R
) throws -> R {
    if pinned.count == grads.count { return try body(pinned) }
    return try grads[pinned.count].withGradient { gradient in try pin(reading: grads, pinned + [gradient], body) }
}
#endif
