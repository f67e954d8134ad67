// Why calls of choosers and monitors are refused: a number each, and one text for all.
// (Throwing an error from each place would take several times the room.)
import CGradClip
import CGradClipSystem
import GradClip

/// Parts that end with "|", for the outcomes -1, -2, ...: "[" stands for an index, "#" for
/// the value.
private let texts: StaticString =
    """
    chooser could not get memory|\
    bytes are damaged, or not those of such a chooser|\
    count must be the number of tensors of the first step#|\
    kind is out of range#|\
    mode is out of range#|\
    window is out of range#|\
    percentile is out of range#|\
    decay is out of range#|\
    z_threshold is out of range#|\
    max_norm is out of range#|\
    lambda_rel is out of range#|\
    clip_factor is out of range#|\
    eps is out of range#|\
    skip_update_on_spike must be 0 or 1, and reserved 0#|\
    chooser must not be NULL|\
    options must not be NULL|\
    decision must not be NULL|\
    tensor_norms must not be NULL|\
    bytes must not be NULL|\
    decision must be initialised: struct_size is out of range|\
    total_norm must be >= 0#|\
    tensor_norms[ must be >= 0, or -1 for none#|\
    count must be 1, or for ADAGC the number of tensors#|\
    grads[ must not be uncounted: ADAGC measures all|\
    monitor must not be NULL|\
    monitor must be initialised: struct_size is out of range|\
    callback must not be NULL|\
    result must not be NULL|\
    result must be initialised: struct_size is out of range|
    """

extension ChooserOutcome {
    static var noChooser: ChooserOutcome { ChooserOutcome(-15) }
    static var noOptions: ChooserOutcome { ChooserOutcome(-16) }
    static var noDecision: ChooserOutcome { ChooserOutcome(-17) }
    static var noNorms: ChooserOutcome { ChooserOutcome(-18) }
    static var noBytes: ChooserOutcome { ChooserOutcome(-19) }
    static var decisionSize: ChooserOutcome { ChooserOutcome(-20) }
    static var negativeNorm: ChooserOutcome { ChooserOutcome(-21) }
    static var negativeNorms: ChooserOutcome { ChooserOutcome(-22) }
    static var wrongCount: ChooserOutcome { ChooserOutcome(-23) }
    static var uncounted: ChooserOutcome { ChooserOutcome(-24) }
    static var noMonitor: ChooserOutcome { ChooserOutcome(-25) }
    static var monitorSize: ChooserOutcome { ChooserOutcome(-26) }
    static var noCallback: ChooserOutcome { ChooserOutcome(-27) }
    static var noResult: ChooserOutcome { ChooserOutcome(-28) }
    static var resultSize: ChooserOutcome { ChooserOutcome(-29) }

    /// The status; with a message if the call is refused.
    @inline(never) @_optimize(size)
    func status(_ value: Double = 0, index: Int = 0) -> gradclip_status {
        if number >= 0 { return number }
        var message = MessageWriter(gk_thread_message())
        var part: Int32 = -1
        for i in 0..<texts.utf8CodeUnitCount {
            let byte = texts.utf8Start[i]
            if byte == 0x7c { part &-= 1 }
            if part != number || byte == 0x7c { continue }
            if byte == 0x23 { message.append(" (got ") }
            if byte == 0x23 { message.append(number: value) } else { message.append(byte: byte) }
            if byte == 0x23 { message.append(")") }
            if byte == 0x5b {
                message.append(integer: Int64(index))
                message.append("]")
            }
        }
        return gradclip_status(
            number == -1
                ? GRADCLIP_ERROR_OUT_OF_MEMORY
                : number == -2 ? GRADCLIP_ERROR_BAD_DATA : GRADCLIP_ERROR_INVALID_ARGUMENT)
    }
}
