// What a C function was given besides its own numbers: lists, options, the place for the result.
import CGradClip
import CGradClipKernels
import GradClip

/// As it came from the caller: nothing of it has been looked at.
struct Given {
    let grads: GivenList
    /// Outputs, weights or sums, and what the function calls them.
    let others: GivenList?
    let name: StaticString
    let options: UnsafePointer<gradclip_options>?
    let result: UnsafeMutablePointer<gradclip_result>?

    init(
        _ grads: GivenList, others: GivenList? = nil, named name: StaticString = "",
        _ options: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
    ) {
        self.grads = grads
        self.others = others
        self.name = name
        self.options = options
        self.result = result
    }

    /// Pointers beside lengths.
    init<Element: GivenElement>(
        _ grads: UnsafePointer<UnsafeMutablePointer<Element>?>?, _ lengths: UnsafePointer<Int>?, _ count: Int,
        _ options: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>? = nil
    ) {
        self.init(.pointers(grads, lengths, count, Element.dtype), options, result)
    }

    init<Element: GivenElement>(
        _ grads: UnsafePointer<UnsafeMutablePointer<Element>?>?,
        to outputs: UnsafePointer<UnsafeMutablePointer<Element>?>?, _ lengths: UnsafePointer<Int>?, _ count: Int,
        _ options: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
    ) {
        self.init(
            .pointers(grads, lengths, count, Element.dtype),
            others: .pointers(outputs, lengths, count, Element.dtype), named: "outputs", options, result)
    }

    /// Tensors of any dtype.
    init(
        _ grads: UnsafePointer<gradclip_tensor>?, _ count: Int, _ options: UnsafePointer<gradclip_options>?,
        _ result: UnsafeMutablePointer<gradclip_result>? = nil
    ) {
        self.init(.tensors(grads, count), options, result)
    }

    /// The same as the engine takes it.
    func checked() throws(ArgumentError) -> Checked {
        Checked(
            grads: try grads.checked("grads"), others: try others?.checked(name),
            options: try GradClipABI.options(options), slot: try ResultSlot(result))
    }
}

struct Checked {
    let grads: TensorList
    let others: TensorList?
    let options: ClipOptions
    let slot: ResultSlot
}

/// An element type that C functions are named for.
protocol GivenElement {
    static var dtype: DType { get }
}

extension Float: GivenElement {
    static var dtype: DType { .float32 }
}
extension Double: GivenElement {
    static var dtype: DType { .float64 }
}
