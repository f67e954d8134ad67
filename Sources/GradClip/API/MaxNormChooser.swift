// Choosers of max_norm for Swift callers.
#if !hasFeature(Embedded)
import CGradClip

/// Picks the limit of every step from the norms of the steps before.
///
/// ``clip(_:normType:loss:options:)-([Gradient],_,_,_)`` measures, decides and clips. Or the chooser is told the norm
/// of a step that ``deferredClip(of:maxNorm:normType:options:)-([Gradient],_,_,_)`` or
/// ``NormAccumulator/finish(maxNorm:)`` measured, and the optimizer multiplies by
/// `decision.clipCoef * result.factor`. When a step is to be skipped, that is an error.
///
/// It encodes rule and history, and decides alike when it was decoded. One chooser must not be
/// used by two threads at a time.
public final class MaxNormChooser: Codable {
    private let state: UnsafeMutablePointer<Chooser>

    /// - Throws: ``ArgumentError`` for a rule that is out of range, or without memory.
    public init(_ rule: MaxNormRule) throws(ArgumentError) {
        try rule.options.check()
        guard let made = Chooser.create(rule.options) else {
            throw .noMemory("chooser", bytes: MemoryLayout<Chooser>.size)
        }
        state = made
    }

    deinit { Chooser.destroy(state) }

    /// Forgets all norms.
    public func reset() { state.pointee.reset() }

    /// Tells the norm of a step, and its loss, which only SkipStep looks at.
    ///
    /// - Throws: ``SkipStepError``; ``NonfiniteError`` for a norm or a loss that is not finite;
    ///   ``ArgumentError`` for a negative norm.
    public func decide(totalNorm: Double, loss: Double? = nil) throws -> MaxNormDecision {
        if totalNorm < 0 { throw ArgumentError("total_norm", "must be >= 0", .number(totalNorm)) }
        return try feed([totalNorm], loss)
    }

    /// Tells AdaGC the norm of each gradient; -1 for one that is not there in this step. Their
    /// number is that of the first call.
    ///
    /// - Throws: as ``decide(totalNorm:loss:)``.
    public func decide(tensorNorms: [Double]) throws -> MaxNormDecision {
        for i in tensorNorms.indices where tensorNorms[i] < 0 && tensorNorms[i] != -1 {
            throw ArgumentError("tensor_norms", "must be >= 0, or -1 for none", .number(tensorNorms[i]), index: i)
        }
        if tensorNorms.isEmpty || tensorNorms.count > 1 && !state.pointee.isPerTensor {
            throw ArgumentError("tensor_norms", "must be 1, or for AdaGC one a gradient", .integer(tensorNorms.count))
        }
        return try feed(tensorNorms, nil)
    }

    /// Measures one gradient of AdaGC's, and says what to multiply it by, for an optimizer that steps inside the
    /// backward pass: ``ClipResult/factor``.
    ///
    /// Until `warmupSteps` each gradient is clipped by its own norm, for no global norm is known. Any number of
    /// threads may call this at a time, but no other function of the chooser meanwhile. Of the options gradScale,
    /// exactFloat64 and threads are used.
    ///
    /// - Throws: ``NonfiniteError`` for a gradient that is not finite, ``SkipStepError`` for one whose norm exceeds
    ///   the largest `Double`: leave this gradient's step out. ``ArgumentError`` for another rule than AdaGC.
    public func decide(
        index: Int, _ grad: Gradient, normType: Double = 2, options: ClipOptions = ClipOptions()
    ) throws -> ClipResult {
        if !grad.isCounted { throw ArgumentError("grad", "must be counted: AdaGC measures all", .none) }
        var result = ClipResult()
        let verdict = try withList([grad], writes: false) { list throws(ArgumentError) in
            try check(normType: normType)
            try options.check()
            return try Chooser.feed(
                state, tensor: index, list, normType: normType, options: options, into: &result)
        }
        var decision = ChooserDecision.pass
        if verdict != .done { decision.action = ChooserDecision.skip }
        return try settle(verdict, result, made(decision)).result
    }

    private func feed(_ norms: [Double], _ loss: Double?) throws -> MaxNormDecision {
        let (decision, verdict) = try withRoom(norms.count) { decision throws(ArgumentError) in
            try norms.withUnsafeBufferPointer { norms throws(ArgumentError) in
                try state.pointee.feed(
                    norms.baseAddress.unsafelyUnwrapped, count: norms.count, loss: loss, into: &decision)
            }
        }
        var result = ClipResult()
        result.totalNorm = norms.max() ?? 0
        for norm in norms where !norm.isFinite { result.totalNorm = norm }
        result.isNonfinite = verdict == .nonfinite
        result.clipCoef = decision.clipCoef
        result.factor = decision.clipCoef
        return try settle(verdict, result, decision).decision
    }

    /// Measures gradients, decides, and clips them in place.
    ///
    /// - Throws: ``SkipStepError``; ``NonfiniteError`` for a loss or gradients that are not finite;
    ///   ``ArgumentError`` for an argument out of range. Nothing is written then.
    public func clip(
        _ grads: [Gradient], normType: Double = 2, loss: Double? = nil, options: ClipOptions = ClipOptions()
    ) throws -> (result: ClipResult, decision: MaxNormDecision) {
        if state.pointee.isPerTensor {
            for i in grads.indices where !grads[i].isCounted {
                throw ArgumentError("grads", "must be counted: AdaGC measures all", .none, index: i)
            }
        }
        var result = ClipResult()
        let (decision, verdict) = try withRoom(grads.count) { decision throws(ArgumentError) in
            try withList(grads, writes: true) { list throws(ArgumentError) in
                try check(normType: normType)
                try options.check()
                return try state.pointee.clip(
                    list, normType: normType, loss: loss, options: options, tensorNorms: nil, into: &decision,
                    result: &result)
            }
        }
        return try settle(verdict, result, decision)
    }

    /// The same for a gradient in an array, a slice, a span ...
    public func clip<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
        _ grad: inout Memory, normType: Double = 2, loss: Double? = nil, options: ClipOptions = ClipOptions()
    ) throws -> (result: ClipResult, decision: MaxNormDecision) {
        try withGradients(&grad) { try clip($0, normType: normType, loss: loss, options: options) }
    }

    /// The same for gradients in several arrays or slices.
    public func clip<Memory: MutableGradientMemory>(
        _ grads: inout [Memory], normType: Double = 2, loss: Double? = nil, options: ClipOptions = ClipOptions()
    ) throws -> (result: ClipResult, decision: MaxNormDecision) {
        try withGradients(&grads) { try clip($0, normType: normType, loss: loss, options: options) }
    }

    // ----------------------------------------------------------------- state

    /// Rule and history as bytes, the same on every machine.
    public var bytes: [UInt8] {
        let count = state.pointee.byteCount
        return [UInt8](unsafeUninitializedCapacity: count) { memory, initialized in
            state.pointee.write(to: UnsafeMutableRawPointer(memory.baseAddress.unsafelyUnwrapped))
            initialized = count
        }
    }

    /// Replaces rule and history by those in ``bytes`` of another chooser of the kind.
    ///
    /// - Throws: ``ArgumentError`` for bytes that are damaged, foreign or of another kind; the
    ///   chooser is as it was then.
    public func restore(bytes: [UInt8]) throws(ArgumentError) {
        try bytes.withUnsafeBufferPointer { memory throws(ArgumentError) in
            guard let start = memory.baseAddress else { throw .null("bytes") }
            try state.pointee.read(start, count: memory.count)
        }
    }

    private enum CodingKeys: CodingKey { case kind, bytes }

    public convenience init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        var rule = MaxNormRule.autoClip()
        rule.options = ChooserOptions(kind: try container.decode(UInt32.self, forKey: .kind))
        try self.init(rule)
        try restore(bytes: try container.decode([UInt8].self, forKey: .bytes))
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(state.pointee.options.kind, forKey: .kind)
        try container.encode(bytes, forKey: .bytes)
    }

    // ---------------------------------------------------------------- helpers

    /// Runs the body on a decision that has room for AdaGC's thresholds and coefficients.
    private func withRoom(
        _ count: Int, _ body: (inout ChooserDecision) throws(ArgumentError) -> ChooserVerdict
    ) throws(ArgumentError) -> (MaxNormDecision, ChooserVerdict) {
        let tensors = state.pointee.isPerTensor ? count : 0
        let room = UnsafeMutableBufferPointer<Double>.allocate(capacity: 2 * tensors)
        room.initialize(repeating: 1)
        defer { room.deallocate() }
        var decision = ChooserDecision.pass
        if tensors > 0 {
            decision.tensor_thresholds = room.baseAddress
            decision.tensor_coefs = room.baseAddress.unsafelyUnwrapped + tensors
        }
        let verdict = try body(&decision)
        return (made(decision, room[..<tensors], room[tensors...]), verdict)
    }

    private func made(
        _ decision: ChooserDecision, _ thresholds: Slice<UnsafeMutableBufferPointer<Double>>? = nil,
        _ coefs: Slice<UnsafeMutableBufferPointer<Double>>? = nil
    ) -> MaxNormDecision {
        MaxNormDecision(
            action: MaxNormDecision.Action(rawValue: decision.action) ?? .skip, threshold: decision.threshold,
            clipCoef: decision.clip_coef, mean: decision.mean, deviation: decision.deviation,
            steps: Int(clamping: decision.steps), isRecorded: decision.recorded != 0,
            tensorThresholds: thresholds.map(Array.init) ?? [], tensorCoefs: coefs.map(Array.init) ?? [])
    }

    private func settle(
        _ verdict: ChooserVerdict, _ result: ClipResult, _ decision: MaxNormDecision
    ) throws -> (result: ClipResult, decision: MaxNormDecision) {
        switch verdict {
        case .done: return (result, decision)
        case .nonfinite: throw NonfiniteError(result: result)
        case .skip: throw SkipStepError(result: result, decision: decision)
        }
    }
}
#endif
