// Choosers: opaque handles over the engine's.
import CGradClip
import CGradClipKernels
import GradClip

private typealias Handle = UnsafeMutablePointer<Chooser>

@_cdecl("gradclip_chooser_options_init") @implementation @_optimize(size)
public func gradclip_chooser_options_init(
    _ options: UnsafeMutablePointer<gradclip_chooser_options>!, _ struct_size: Int, _ kind: UInt32
) -> gradclip_status {
    var fresh = ChooserOptions(kind: kind)
    let refusal = ChooserOptions.refusal(&fresh)
    if refusal.outcome.number != 0 { return refusal.outcome.status(refusal.value) }
    return initialise(options, struct_size, own: MemoryLayout<ChooserOptions>.size, &fresh, "options")
}

@_cdecl("gradclip_decision_init") @implementation @_optimize(size)
public func gradclip_decision_init(_ decision: UnsafeMutablePointer<gradclip_decision>!, _ struct_size: Int)
    -> gradclip_status
{
    var fresh = gradclip_decision()
    return initialise(decision, struct_size, own: MemoryLayout<gradclip_decision>.size, &fresh, "decision")
}

@_cdecl("gradclip_chooser_create") @implementation @_optimize(size)
public func gradclip_chooser_create(
    _ options: UnsafePointer<gradclip_chooser_options>!, _ chooser: UnsafeMutablePointer<OpaquePointer?>!
) -> gradclip_status {
    guard let chooser else { return ChooserOutcome.noChooser.status() }
    chooser.pointee = nil
    guard let options else { return ChooserOutcome.noOptions.status() }
    // What an older program does not know has its default.
    let own = MemoryLayout<ChooserOptions>.size
    let bytes = UnsafeRawPointer(options)
    var known = ChooserOptions(kind: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    do throws(ArgumentError) { try take(bytes, &known, own: own, "options") } catch { return record(error) }
    known.structSize = UInt64(own)
    let refusal = ChooserOptions.refusal(&known)
    if refusal.outcome.number != 0 { return refusal.outcome.status(refusal.value) }
    guard let made = Chooser.create(known) else { return ChooserOutcome.outOfMemory.status() }
    chooser.pointee = OpaquePointer(made)
    return 0
}

@_cdecl("gradclip_chooser_free") @implementation @_optimize(size)
public func gradclip_chooser_free(_ chooser: OpaquePointer!) {
    if let chooser { Chooser.destroy(Handle(chooser)) }
}

@_cdecl("gradclip_chooser_reset") @implementation @_optimize(size)
public func gradclip_chooser_reset(_ chooser: OpaquePointer!) -> gradclip_status {
    guard let chooser else { return ChooserOutcome.noChooser.status() }
    Handle(chooser).pointee.reset()
    return 0
}

/// The caller's decision, checked before anything is done.
private struct DecisionSlot {
    private let destination: UnsafeMutableRawPointer?
    private let size: Int
    var decision = ChooserDecision()

    /// Nil if struct_size is none.
    @inline(never) @_optimize(size)
    init?(_ given: UnsafeMutablePointer<gradclip_decision>?) {
        destination = UnsafeMutableRawPointer(given)
        guard let destination else {
            size = 0
            return
        }
        let stated = destination.loadUnaligned(as: UInt64.self)
        let own = MemoryLayout<ChooserDecision>.size
        if stated < 8 || stated > 4096 { return nil }
        size = min(own, Int(stated))
        decision.structSize = stated
        if size == own {
            let room = (destination + own - 16).assumingMemoryBound(to: UnsafeMutablePointer<Double>?.self)
            decision.tensorThresholds = room[0]
            decision.tensorCoefs = room[1]
        }
    }

    mutating func store() { destination?.copyMemory(from: &decision, byteCount: size) }
}

@inline(never) @_optimize(size)
private func feed(
    _ chooser: OpaquePointer?, _ norms: UnsafePointer<Double>?, _ count: Int, _ loss: UnsafePointer<Double>?,
    _ decision: UnsafeMutablePointer<gradclip_decision>?, isTotal: Bool
) -> gradclip_status {
    guard let chooser else { return ChooserOutcome.noChooser.status() }
    guard let norms else { return ChooserOutcome.noNorms.status() }
    if decision == nil { return ChooserOutcome.noDecision.status() }
    guard var slot = DecisionSlot(decision) else { return ChooserOutcome.decisionSize.status() }
    let isPerTensor = Handle(chooser).pointee.isPerTensor
    if count < 1 || count > 1 && !isPerTensor { return ChooserOutcome.wrongCount.status(Double(count)) }
    for i in 0..<count where norms[i] < 0 && (isTotal || norms[i] != -1) {
        return (isTotal ? ChooserOutcome.negativeNorm : .negativeNorms).status(norms[i], index: i)
    }
    let environment = gk_float_environment_enter()
    let outcome = Handle(chooser).pointee.feed(norms, count: count, loss: loss?.pointee, into: &slot.decision)
    gk_float_environment_leave(environment)
    if outcome.number >= 0 { slot.store() }
    return outcome.status(Double(count))
}

@_cdecl("gradclip_chooser_feed") @implementation @_optimize(size)
public func gradclip_chooser_feed(
    _ chooser: OpaquePointer!, _ total_norm: Double, _ loss: UnsafePointer<Double>!,
    _ decision: UnsafeMutablePointer<gradclip_decision>!
) -> gradclip_status {
    var norm = total_norm
    return feed(chooser, &norm, 1, loss, decision, isTotal: true)
}

@_cdecl("gradclip_chooser_feed_tensors") @implementation @_optimize(size)
public func gradclip_chooser_feed_tensors(
    _ chooser: OpaquePointer!, _ tensor_norms: UnsafePointer<Double>!, _ count: Int,
    _ decision: UnsafeMutablePointer<gradclip_decision>!
) -> gradclip_status {
    feed(chooser, tensor_norms, count, nil, decision, isTotal: false)
}

@_cdecl("gradclip_chooser_clip") @implementation @_optimize(size)
public func gradclip_chooser_clip(
    _ chooser: OpaquePointer!, _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ norm_type: Double,
    _ loss: UnsafePointer<Double>!, _ options: UnsafePointer<gradclip_options>!,
    _ result: UnsafeMutablePointer<gradclip_result>!, _ decision: UnsafeMutablePointer<gradclip_decision>!
) -> gradclip_status {
    guard let chooser else { return ChooserOutcome.noChooser.status() }
    guard var decided = DecisionSlot(decision) else { return ChooserOutcome.decisionSize.status() }
    return call { () throws(ArgumentError) in
        let list = try tensorList(grads, count, "grads")
        if Handle(chooser).pointee.isPerTensor {
            for i in 0..<count where grads[i].flags != 0 { return ChooserOutcome.uncounted.status(index: i) }
        }
        try check(normType: norm_type)
        let options = try GradClipABI.options(options)
        let slot = try ResultSlot(result)
        var found = ClipResult()
        let outcome = Handle(chooser).pointee.clip(
            list, normType: norm_type, loss: loss?.pointee, options: options, tensorNorms: slot.tensorNorms,
            into: &decided.decision, result: &found)
        if outcome.number >= 0 {
            _ = slot.store(found)
            decided.store()
        }
        return outcome.status(Double(count))
    }
}

@_cdecl("gradclip_chooser_export") @implementation @_optimize(size)
public func gradclip_chooser_export(
    _ chooser: OpaquePointer!, _ bytes: UnsafeMutableRawPointer!, _ size: UnsafeMutablePointer<Int>!
) -> gradclip_status {
    guard let chooser else { return ChooserOutcome.noChooser.status() }
    let outcome = room(bytes, size, Handle(chooser).pointee.byteCount)
    if outcome == 0 && bytes != nil { Handle(chooser).pointee.write(to: bytes) }
    return outcome
}

@_cdecl("gradclip_chooser_import") @implementation @_optimize(size)
public func gradclip_chooser_import(_ chooser: OpaquePointer!, _ bytes: UnsafeRawPointer!, _ size: Int)
    -> gradclip_status
{
    guard let chooser else { return ChooserOutcome.noChooser.status() }
    guard let bytes else { return ChooserOutcome.noBytes.status() }
    return Handle(chooser).pointee.read(bytes, count: size).status()
}
