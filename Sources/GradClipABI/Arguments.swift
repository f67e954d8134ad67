// What most functions are given besides their own arguments.
import CGradClip
import GradClip

/// Lists, options and the place for the result, all of them checked.
struct CallArguments {
    let grads: TensorList
    /// Weights or sums; empty if there are none.
    let others: TensorList
    let options: ClipOptions
    let slot: ResultSlot

    @inline(never)
    init(
        _ tensors: UnsafePointer<gradclip_tensor>?, _ count: Int, others: UnsafePointer<gradclip_tensor>? = nil,
        named name: StaticString? = nil, _ given: UnsafePointer<gradclip_options>?,
        _ result: UnsafeMutablePointer<gradclip_result>?
    ) throws(ArgumentError) {
        grads = try tensorList(tensors, count, "grads")
        if let name {
            self.others = try tensorList(others, count, name)
        } else {
            self.others = TensorList(records: nil, stride: 0, count: 0)
        }
        options = try GradClipABI.options(given)
        slot = try ResultSlot(result)
    }
}
