// The accumulator for Swift callers.
#if !hasFeature(Embedded)
import CGradClipKernels

/// A norm that is added up piece by piece.
///
/// Add gradients as the backward pass makes them, while they are still in cache; parts
/// of them in several threads, each with an accumulator of its own that is merged
/// afterwards; or shards in several processes, which exchange accumulators as bytes.
///
/// For `normType` 1 and 2 over float32, float16 and bfloat16 (over float64 with
/// ``ClipOptions/exactFloat64``) and for ±infinity the result has the bits of one call on
/// the whole list, however it was cut and merged. For other orders that holds if tensors
/// are cut at multiples of 4096 elements only. For `normType` 0 every tensor that is added
/// counts as one tensor.
///
/// One accumulator must not be used by two threads at a time.
public final class NormAccumulator {
    private let state: UnsafeMutablePointer<Accumulator>

    /// - Parameters:
    ///   - normType: the order p; any number but NaN.
    ///   - options: what holds for all that is done with the accumulator.
    /// - Throws: ``ArgumentError`` for an argument out of range, or without memory.
    public init(normType: Double = 2, options: ClipOptions = ClipOptions()) throws(ArgumentError) {
        try options.check()
        try check(normType: normType)
        guard let made = Accumulator.create(normType: normType, options: options) else {
            throw ArgumentError("accumulator", "could not be allocated", .none, reason: .outOfMemory())
        }
        state = made
    }

    deinit { Accumulator.destroy(state) }

    /// Adds gradients, which are numbered in the order in which they are added.
    public func add(_ grads: [Gradient]) {
        let environment = gk_float_environment_enter()
        defer { gk_float_environment_leave(environment) }
        grads.withUnsafeBytes { bytes in
            state.pointee.add(
                TensorList(records: bytes.baseAddress, stride: MemoryLayout<Gradient>.stride, count: grads.count))
        }
    }

    /// Adds the elements of an array as one gradient.
    public func add<Element: GradientElement>(_ grad: [Element]) {
        grad.withUnsafeBufferPointer { add([Gradient(reading: $0)]) }
    }

    /// Adds the elements of a span as one gradient.
    public func add<Element: GradientElement>(_ grad: borrowing Span<Element>) {
        grad.withUnsafeBufferPointer { add([Gradient(reading: $0)]) }
    }

    /// Adds what another accumulator holds, as if its gradients came after these.
    ///
    /// - Parameter other: unchanged; may be this one.
    /// - Throws: ``ArgumentError`` if norm type or ``ClipOptions/exactFloat64`` differ.
    public func merge(_ other: NormAccumulator) throws(ArgumentError) {
        if !state.pointee.isCompatible(with: other.state.pointee) {
            throw ArgumentError("other", "must have the norm type and exactFloat64 of the accumulator", .none)
        }
        state.pointee.merge(other.state)
    }

    /// Adds what the bytes of another accumulator hold.
    ///
    /// - Throws: ``ArgumentError`` with ``ArgumentError/Reason/badData(_:)`` for bytes that
    ///   are damaged, foreign, or of another kind of accumulator; nothing is added then.
    public func merge(bytes: [UInt8]) throws(ArgumentError) {
        let failure = bytes.withUnsafeBytes { memory -> ArgumentError? in
            guard let start = memory.baseAddress else {
                return ArgumentError("bytes", "must not be empty", .none, reason: .badData())
            }
            return state.pointee.merge(bytes: start, count: memory.count)
        }
        if let failure { throw failure }
    }

    /// The state as bytes for ``merge(bytes:)`` in another process: the same on every
    /// machine, at most 192 of them for `normType` 1 and 2 over float32, float16 and
    /// bfloat16, otherwise at most 1024.
    public var bytes: [UInt8] {
        let count = AccumulatorBytes.size(state.pointee)
        return [UInt8](unsafeUninitializedCapacity: count) { memory, initialized in
            AccumulatorBytes.write(&state.pointee, to: UnsafeMutableRawPointer(memory.baseAddress.unsafelyUnwrapped))
            initialized = count
        }
    }

    /// Forgets all that was added.
    public func reset() { state.pointee.reset() }

    /// The norm of all that was added, and the coefficient and factor that belong to
    /// `maxNorm`. More may be added afterwards.
    ///
    /// - Parameter maxNorm: the largest norm allowed; `>= 0`; infinite: measure only.
    /// - Throws: ``ArgumentError`` for an argument out of range.
    public func finish(maxNorm: Double = .infinity) throws(ArgumentError) -> ClipResult {
        let environment = gk_float_environment_enter()
        defer { gk_float_environment_leave(environment) }
        try check(maxNorm: maxNorm)
        return state.pointee.deferClip(maxNorm: maxNorm)
    }

    /// Clips gradients in place by the norm of all that was added, with the accumulator's
    /// options. As a rule they are those that were added; they are not measured again.
    ///
    /// - Throws: ``ArgumentError`` for an argument out of range; nothing is written then.
    @discardableResult
    public func clip(_ grads: [Gradient], maxNorm: Double) throws(ArgumentError) -> ClipResult {
        try withList(grads, writes: true) { list throws(ArgumentError) in
            try check(maxNorm: maxNorm)
            return state.pointee.clip(list, maxNorm: maxNorm)
        }
    }
}
#endif
