// Choosers: opaque handles over the engine's.
import CGradClip
import GradClip

private func state(_ handle: OpaquePointer?) throws(ArgumentError) -> UnsafeMutablePointer<Chooser> {
    guard let handle else { throw .null("chooser") }
    return UnsafeMutablePointer(handle)
}

@_cdecl("gradclip_chooser_options_init") @implementation
public func gradclip_chooser_options_init(
    _ options: UnsafeMutablePointer<gradclip_chooser_options>!, _ struct_size: Int, _ kind: UInt32
) -> gradclip_status {
    call { () throws(ArgumentError) in
        var fresh = ChooserOptions(kind: kind)
        try fresh.check()
        return initialise(options, struct_size, own: MemoryLayout<ChooserOptions>.size, &fresh, "options")
    }
}

@_cdecl("gradclip_decision_init") @implementation
public func gradclip_decision_init(_ decision: UnsafeMutablePointer<gradclip_decision>!, _ struct_size: Int)
    -> gradclip_status
{
    var fresh = gradclip_decision()
    return initialise(decision, struct_size, own: MemoryLayout<gradclip_decision>.size, &fresh, "decision")
}

@_cdecl("gradclip_chooser_create") @implementation
public func gradclip_chooser_create(
    _ options: UnsafePointer<gradclip_chooser_options>!, _ chooser: UnsafeMutablePointer<OpaquePointer?>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        guard let chooser else { throw .null("chooser") }
        chooser.pointee = nil
        guard let options else { throw .null("options") }
        // What an older program does not know has its kind's default.
        let own = MemoryLayout<ChooserOptions>.size
        var first = ChooserOptions(kind: 0)
        try read(options, &first, own: own, "options")
        var known = ChooserOptions(kind: first.kind)
        try overlay(&known, by: options, own: own, "options")
        known.struct_size = UInt64(own)
        try known.check()
        guard let made = Chooser.create(known) else {
            throw .noMemory("chooser", bytes: MemoryLayout<Chooser>.size)
        }
        chooser.pointee = OpaquePointer(made)
        return 0
    }
}

@_cdecl("gradclip_chooser_free") @implementation
public func gradclip_chooser_free(_ chooser: OpaquePointer!) {
    if let chooser { Chooser.destroy(UnsafeMutablePointer(chooser)) }
}

@_cdecl("gradclip_chooser_reset") @implementation
public func gradclip_chooser_reset(_ chooser: OpaquePointer!) -> gradclip_status {
    call { () throws(ArgumentError) in
        try state(chooser).pointee.reset()
        return 0
    }
}

/// The caller's decision, checked before anything is done.
private struct DecisionSlot {
    private let destination: UnsafeMutableRawPointer?
    private let size: Int
    var decision = ChooserDecision.pass

    init(_ given: UnsafeMutablePointer<gradclip_decision>?) throws(ArgumentError) {
        destination = UnsafeMutableRawPointer(given)
        guard let given else {
            size = 0
            return
        }
        let own = MemoryLayout<gradclip_decision>.size
        var known = gradclip_decision()
        try read(given, &known, own: own, "decision")
        size = min(own, Int(known.struct_size))
        decision.struct_size = known.struct_size
        decision.tensor_thresholds = known.tensor_thresholds
        decision.tensor_coefs = known.tensor_coefs
    }

    mutating func store() { destination?.copyMemory(from: &decision, byteCount: size) }
}

private func feed(
    _ chooser: OpaquePointer?, _ norms: UnsafePointer<Double>?, _ count: Int, _ loss: UnsafePointer<Double>?,
    _ decision: UnsafeMutablePointer<gradclip_decision>?, isTotal: Bool
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let chooser = try state(chooser)
        guard let norms else { throw .null("tensor_norms") }
        if decision == nil { throw .null("decision") }
        var slot = try DecisionSlot(decision)
        if count < 1 || count > 1 && !chooser.pointee.isPerTensor {
            throw ArgumentError("count", "must be 1, or for ADAGC the number of tensors", .size(count))
        }
        for i in 0..<count where norms[i] < 0 && (isTotal || norms[i] != -1) {
            if isTotal { throw ArgumentError("total_norm", "must be >= 0", .number(norms[i])) }
            throw ArgumentError("tensor_norms", "must be >= 0, or -1 for none", .number(norms[i]), index: i)
        }
        let verdict = try chooser.pointee.feed(norms, count: count, loss: loss?.pointee, into: &slot.decision)
        slot.store()
        return verdict.rawValue
    }
}

@_cdecl("gradclip_chooser_feed") @implementation
public func gradclip_chooser_feed(
    _ chooser: OpaquePointer!, _ total_norm: Double, _ loss: UnsafePointer<Double>!,
    _ decision: UnsafeMutablePointer<gradclip_decision>!
) -> gradclip_status {
    var norm = total_norm
    return feed(chooser, &norm, 1, loss, decision, isTotal: true)
}

@_cdecl("gradclip_chooser_feed_tensors") @implementation
public func gradclip_chooser_feed_tensors(
    _ chooser: OpaquePointer!, _ tensor_norms: UnsafePointer<Double>!, _ count: Int,
    _ decision: UnsafeMutablePointer<gradclip_decision>!
) -> gradclip_status {
    feed(chooser, tensor_norms, count, nil, decision, isTotal: false)
}

@_cdecl("gradclip_chooser_feed_tensor") @implementation
public func gradclip_chooser_feed_tensor(
    _ chooser: OpaquePointer!, _ index: Int, _ grad: UnsafePointer<gradclip_tensor>!, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let chooser = try state(chooser)
        guard let grad else { throw .null("grad") }
        let grads = try GivenList.tensors(grad, 1).checked("grad")
        if !grads[0].isCounted {
            throw ArgumentError("grad", "must be 0: ADAGC measures all", .integer(1), field: ".flags")
        }
        try check(normType: norm_type)
        let options = try GradClipABI.options(options)
        let slot = try ResultSlot(result)
        try slot.checkIsThere()
        try slot.checkNoTensorNorms("must be NULL: there is one tensor")
        var found = ClipResult()
        let verdict = try Chooser.feed(
            chooser, tensor: index, grads, normType: norm_type, options: options, into: &found)
        _ = slot.store(found)
        return verdict.rawValue
    }
}

@_cdecl("gradclip_chooser_clip") @implementation
public func gradclip_chooser_clip(
    _ chooser: OpaquePointer!, _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ norm_type: Double,
    _ loss: UnsafePointer<Double>!, _ options: UnsafePointer<gradclip_options>!,
    _ result: UnsafeMutablePointer<gradclip_result>!, _ decision: UnsafeMutablePointer<gradclip_decision>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let chooser = try state(chooser)
        let given = try Given(grads, count, options, result).checked()
        if chooser.pointee.isPerTensor {
            for i in 0..<count where !given.grads[i].isCounted {
                throw ArgumentError(
                    "grads", "must be 0: ADAGC measures all", .unsigned(UInt64(GRADCLIP_UNCOUNTED)), index: i,
                    field: ".flags")
            }
        }
        try check(normType: norm_type)
        var decided = try DecisionSlot(decision)
        var found = ClipResult()
        let verdict = try chooser.pointee.clip(
            given.grads, normType: norm_type, loss: loss?.pointee, options: given.options,
            tensorNorms: given.slot.tensorNorms, into: &decided.decision, result: &found)
        _ = given.slot.store(found)
        decided.store()
        return verdict.rawValue
    }
}

@_cdecl("gradclip_chooser_export") @implementation
public func gradclip_chooser_export(
    _ chooser: OpaquePointer!, _ bytes: UnsafeMutableRawPointer!, _ size: UnsafeMutablePointer<Int>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let chooser = try state(chooser)
        try room(bytes, size, chooser.pointee.byteCount)
        if let bytes { chooser.pointee.write(to: bytes) }
        return 0
    }
}

@_cdecl("gradclip_chooser_import") @implementation
public func gradclip_chooser_import(_ chooser: OpaquePointer!, _ bytes: UnsafeRawPointer!, _ size: Int)
    -> gradclip_status
{
    call { () throws(ArgumentError) in
        let chooser = try state(chooser)
        guard let bytes else { throw .null("bytes") }
        try chooser.pointee.read(bytes, count: size)
        return 0
    }
}
