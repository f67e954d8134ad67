// Gradients as Swift values. (The Swift API is left out of the embedded library,
// which has C callers only.)
#if !hasFeature(Embedded)
import CGradClip
import CGradClipKernels

/// A type that gradients may have as elements: `Float`, `Double` or `Float16`.
///
/// bfloat16, for which Swift has no type, goes through ``Gradient/init(bfloat16:isCounted:)``.
public protocol GradientElement: BitwiseCopyable {
    /// The library's number for the type.
    static var _dtype: UInt32 { get }
}

extension Float: GradientElement {
    public static var _dtype: UInt32 { DType.float32.rawValue }
}
extension Double: GradientElement {
    public static var _dtype: UInt32 { DType.float64.rawValue }
}
extension Float16: GradientElement {
    public static var _dtype: UInt32 { DType.float16.rawValue }
}

/// One gradient in memory that the caller owns: a pointer, a length, a type.
///
/// The memory must stay valid during the call that the gradient is passed to; nothing
/// is kept afterwards. Gradients of one list must not overlap. They may differ in type.
///
/// For gradients in arrays see the functions that take arrays, such as
/// ``clipGradNorm(_:maxNorm:normType:options:)-(Memory,_,_,_)``.
public struct Gradient {
    // (First: a list of gradients is one of gradclip_tensor, with something between.)
    private let tensor: gradclip_tensor
    let isWritable: Bool

    var length: Int { Int(tensor.length) }
    var dtype: UInt32 { tensor.dtype }
    var isCounted: Bool { tensor.flags & UInt32(GRADCLIP_UNCOUNTED) == 0 }

    private init(
        _ data: UnsafeMutableRawPointer?, _ length: Int, _ dtype: UInt32, isCounted: Bool, isWritable: Bool = true
    ) {
        tensor = gradclip_tensor(
            data: data, length: UInt64(length), dtype: dtype, flags: isCounted ? 0 : UInt32(GRADCLIP_UNCOUNTED),
            device_type: 0, device_id: 0)
        self.isWritable = isWritable
    }

    /// A gradient in memory that may be written.
    ///
    /// - Parameters:
    ///   - memory: the elements; any alignment, may be empty.
    ///   - isCounted: false for a duplicate, such as a tied weight, that is scaled with
    ///     the others but left out of the norm and not searched for non-finite elements.
    public init<Element: GradientElement>(_ memory: UnsafeMutableBufferPointer<Element>, isCounted: Bool = true) {
        self.init(memory.baseAddress, memory.count, Element._dtype, isCounted: isCounted)
    }

    /// A gradient that is only read: functions that would write it throw instead.
    public init<Element: GradientElement>(reading memory: UnsafeBufferPointer<Element>, isCounted: Bool = true) {
        self.init(
            UnsafeMutableRawPointer(mutating: memory.baseAddress), memory.count, Element._dtype,
            isCounted: isCounted, isWritable: false)
    }

    /// IEEE half precision, given as its bits.
    public init(float16 memory: UnsafeMutableBufferPointer<UInt16>, isCounted: Bool = true) {
        self.init(memory.baseAddress, memory.count, DType.float16.rawValue, isCounted: isCounted)
    }

    /// bfloat16, the upper half of a `Float`, given as its bits.
    public init(bfloat16 memory: UnsafeMutableBufferPointer<UInt16>, isCounted: Bool = true) {
        self.init(memory.baseAddress, memory.count, DType.bfloat16.rawValue, isCounted: isCounted)
    }
}

/// Runs the body on a list in the library's floating point environment.
func withList<R>(
    _ grads: [Gradient], _ name: StaticString = "grads", writes: Bool,
    _ body: (TensorList) throws(ArgumentError) -> R
) throws(ArgumentError) -> R {
    let environment = gk_float_environment_enter()
    defer { gk_float_environment_leave(environment) }
    if writes {
        for i in grads.indices where !grads[i].isWritable {
            throw ArgumentError(name, "must not be made with init(reading:): it would be written", .none, index: i)
        }
    }
    var outcome: Result<R, ArgumentError>?
    grads.withUnsafeBytes { bytes in
        let list = TensorList(
            records: bytes.baseAddress, stride: MemoryLayout<Gradient>.stride, count: grads.count)
        do throws(ArgumentError) {
            outcome = .success(try body(list))
        } catch {
            outcome = .failure(error)
        }
    }
    return try outcome.unsafelyUnwrapped.get()
}
#endif
