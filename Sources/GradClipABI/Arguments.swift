// Checking arguments without throwing, for the functions that have many of them.
import CGradClip
import CGradClipSystem
import GradClip

/// Refuses a call. The text has the argument's name, with the index to be put after a "[",
/// and the rule; the value is put behind it.
@inline(never)
func refuse(_ text: StaticString, _ value: Double, _ index: Int) -> gradclip_status {
    var message = MessageWriter(gk_thread_message())
    for i in 0..<text.utf8CodeUnitCount {
        let byte = text.utf8Start[i]
        message.append(byte: byte)
        if byte == 0x5b { message.append(integer: Int64(index)) }
    }
    message.append(" (got ")
    message.append(number: value)
    message.append(")")
    return gradclip_status(GRADCLIP_ERROR_INVALID_ARGUMENT)
}

@inline(never)
func outOfMemory(_ bytes: Int) -> gradclip_status {
    _ = refuse("scratch memory, in bytes, could not be had", Double(bytes), 0)
    return gradclip_status(GRADCLIP_ERROR_OUT_OF_MEMORY)
}

/// A finite number >= 0.
@inline(never)
func isProper(_ value: Double) -> Bool { value.bitPattern < Double.infinity.bitPattern || value == 0 }

/// What most functions are given.
struct CallArguments {
    var grads = TensorList(records: nil, stride: 0, count: 0)
    /// Weights or sums.
    var others = TensorList(records: nil, stride: 0, count: 0)
    var options = ClipOptions()
    var slot = ResultSlot()

    /// A status below 0 if they are refused.
    @inline(never)
    mutating func take(
        _ tensors: UnsafePointer<gradclip_tensor>?, _ count: Int, _ others: UnsafePointer<gradclip_tensor>?,
        _ name: StaticString, _ given: UnsafePointer<gradclip_options>?,
        _ result: UnsafeMutablePointer<gradclip_result>?
    ) -> gradclip_status {
        do throws(ArgumentError) {
            grads = try tensorList(tensors, count, "grads")
            if name.utf8CodeUnitCount > 0 { self.others = try tensorList(others, count, name) }
            options = try GradClipABI.options(given)
            slot = try ResultSlot(result)
            return 0
        } catch {
            return record(error)
        }
    }
}
