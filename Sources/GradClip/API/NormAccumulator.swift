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
public final class NormAccumulator: Codable {
    private let state: UnsafeMutablePointer<Accumulator>
    /// The order p of the norm.
    public let normType: Double
    /// What holds for all that is done with it.
    public let options: ClipOptions

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
        self.normType = normType
        self.options = options
    }

    private enum CodingKeys: CodingKey { case normType, options, bytes }

    /// An accumulator as it was encoded.
    public convenience init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            normType: try container.decode(Double.self, forKey: .normType),
            options: try container.decode(ClipOptions.self, forKey: .options))
        try merge(bytes: try container.decode([UInt8].self, forKey: .bytes))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(normType, forKey: .normType)
        try container.encode(options, forKey: .options)
        try container.encode(bytes, forKey: .bytes)
    }

    deinit { Accumulator.destroy(state) }

    /// Gives the next gradient that is added this number, those after it the following ones: what
    /// ``ClipResult/firstNonfinite`` names. A backward pass adds them in the reverse order.
    public func setNextGradient(_ number: Int) throws(ArgumentError) {
        if number < 0 { throw ArgumentError("number", "must be >= 0", .integer(number)) }
        state.pointee.setNextTensor(UInt64(number))
    }

    /// Adds gradients, which are numbered in the order in which they are added.
    public func add(_ grads: [Gradient]) {
        let environment = gk_float_environment_enter()
        defer { gk_float_environment_leave(environment) }
        grads.withUnsafeBytes { bytes in
            state.pointee.add(
                TensorList(records: bytes.baseAddress, stride: MemoryLayout<Gradient>.stride, count: grads.count))
        }
    }

    /// Adds the elements of an array, a slice, a span ... as one gradient.
    public func add<Memory: GradientMemory & ~Copyable & ~Escapable>(_ grad: borrowing Memory) {
        grad.withGradient { add([$0]) }
    }

    /// Adds the differences `gradients[i] - others[i]`, as elements of `Double`, without a copy of them: how far
    /// weights went. With ``ClipOptions/exactFloat64`` their sum is exact.
    ///
    /// - Throws: ``ArgumentError`` unless there are as many others, each as long as its partner and counted.
    public func addDifference(_ grads: [Gradient], minus others: [Gradient]) throws(ArgumentError) {
        if grads.count != others.count {
            throw ArgumentError("minus", "must be as many as the gradients", .integer(others.count))
        }
        try withList(grads, writes: false) { list throws(ArgumentError) in
            try withList(others, "minus", writes: false) { minus throws(ArgumentError) in
                try check(minus: minus, of: list)
                state.pointee.add(list, minus: minus)
            }
        }
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
    /// - Throws: ``ArgumentError`` for an argument out of range; ``NonfiniteError`` unless the
    ///   policy is ``NonfinitePolicy/propagate``, since nothing replaces what the optimizer reads.
    public func finish(maxNorm: Double = .infinity) throws -> ClipResult {
        let environment = gk_float_environment_enter()
        defer { gk_float_environment_leave(environment) }
        try check(maxNorm: maxNorm)
        return try state.pointee.deferClip(maxNorm: maxNorm).checkedDeferred(options)
    }

    /// The norm of all that was added, under the policy of the options: measured only.
    func totalNorm() throws -> ClipResult {
        let environment = gk_float_environment_enter()
        defer { gk_float_environment_leave(environment) }
        return try state.pointee.finish(maxNorm: .infinity).checkedNorm(options)
    }

    /// Clips gradients in place by the norm of all that was added, with the accumulator's
    /// options. As a rule they are those that were added; they are not measured again.
    ///
    /// - Throws: ``ArgumentError`` for an argument out of range; nothing is written then.
    public func clip(_ grads: [Gradient], maxNorm: Double) throws -> ClipResult {
        try withList(grads, writes: true) { list throws(ArgumentError) in
            try check(maxNorm: maxNorm)
            return state.pointee.clip(list, maxNorm: maxNorm)
        }.checked()
    }

    /// The accumulator as integers that ranks of a parallel program add up, word by word, with
    /// any all-reduce that sums `Int64`; `gradclip.h` says what the sums need besides for other
    /// orders than 0, 1 and 2, and for float64.
    public func words(maxNorm: Double) throws(ArgumentError) -> [Int64] {
        try check(maxNorm: maxNorm)
        return try Self.exchange(state, maxNorm, [Int64](repeating: 0, count: AccumulatorWords.count), isRead: false)
    }

    /// The words of a rank whose call cannot go on: with them every rank's ``read(words:maxNorm:)``
    /// throws, where the others would wait.
    public static func refusalWords() -> [Int64] {
        let blank = [Int64](repeating: 0, count: AccumulatorWords.count)
        return (try? exchange(nil, 0, blank, isRead: false)) ?? blank
    }

    /// Replaces what the accumulator holds by what all ranks' words add up to.
    ///
    /// - Throws: ``ArgumentError`` for words that are no such sum, or of ranks that do not agree;
    ///   the accumulator is as it was then.
    public func read(words: [Int64], maxNorm: Double) throws(ArgumentError) {
        try check(maxNorm: maxNorm)
        if words.count != AccumulatorWords.count {
            throw ArgumentError("words", "must be 24", .integer(words.count))
        }
        _ = try Self.exchange(state, maxNorm, words, isRead: true)
    }

    private static func exchange(
        _ state: UnsafeMutablePointer<Accumulator>?, _ maxNorm: Double, _ words: [Int64], isRead: Bool
    ) throws(ArgumentError) -> [Int64] {
        var words = words
        let failure = words.withUnsafeMutableBufferPointer { memory -> ArgumentError? in
            do throws(ArgumentError) {
                try AccumulatorWords.exchange(
                    state, maxNorm: maxNorm, memory.baseAddress.unsafelyUnwrapped, isRead: isRead)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
        return words
    }
}
#endif
