// From the caller's arrays to the engine's list, every pointer and length checked.
import CGradClip
import CGradClipKernels
import GradClip

/// Pointers beside lengths, one dtype.
@inline(never) @_optimize(size)
func typedList(
    _ pointers: UnsafeRawPointer?, _ lengths: UnsafePointer<Int>?, _ count: Int, _ dtype: DType, _ name: StaticString
) throws(ArgumentError) -> TensorList {
    try check(count: count, size: 8, isNull: pointers == nil, name)
    try check(count: count, size: 8, isNull: lengths == nil, "lengths")
    let list = TensorList(pointers: pointers, lengths: lengths, count: count, dtype: dtype)
    for i in 0..<count { try check(list[i], at: i, name, lengths: "lengths") }
    return list
}

/// A list of gradclip_tensor.
@inline(never) @_optimize(size)
func tensorList(
    _ tensors: UnsafePointer<gradclip_tensor>?, _ count: Int, _ name: StaticString
) throws(ArgumentError) -> TensorList {
    let stride = MemoryLayout<gradclip_tensor>.stride
    try check(count: count, size: stride, isNull: tensors == nil, name)
    let list = TensorList(records: tensors, stride: stride, count: count)
    for i in 0..<count {
        let given = UnsafeRawPointer(tensors.unsafelyUnwrapped)
            .loadUnaligned(fromByteOffset: i &* stride, as: gradclip_tensor.self)
        if DType(given.dtype) == nil {
            throw ArgumentError(
                name, "must be GRADCLIP_F32, F64, F16 or BF16", .unsigned(UInt64(given.dtype)), index: i,
                field: ".dtype")
        }
        if given.flags & ~UInt32(GRADCLIP_UNCOUNTED) != 0 {
            throw ArgumentError(
                name, "has a flag this library does not know", .unsigned(UInt64(given.flags)), index: i, field: ".flags"
            )
        }
        if given.device_type != 0 && given.device_type != 1 {
            throw ArgumentError(
                name, "must be 0 or 1 (CPU memory)", .integer(Int(given.device_type)), index: i,
                field: ".device_type", reason: .unsupported())
        }
        try check(list[i], at: i, name, lengths: name, lengthField: ".length", dataField: ".data")
    }
    return list
}

/// One tensor that is an argument of its own.
@inline(never) @_optimize(size)
func singleTensor(
    _ tensor: UnsafePointer<gradclip_tensor>, _ name: StaticString, _ length: StaticString
) throws(ArgumentError) -> TensorList {
    let list = TensorList(records: tensor, stride: MemoryLayout<gradclip_tensor>.stride, count: 1)
    try check(list[0], at: -1, name, lengths: length)
    return list
}

/// Destinations as a list of gradclip_tensor that matches the gradients.
@inline(never) @_optimize(size)
func outputList(
    _ outputs: UnsafePointer<gradclip_tensor>?, for grads: TensorList
) throws(ArgumentError) -> TensorList {
    let list = try tensorList(outputs, grads.count, "outputs")
    for i in 0..<grads.count {
        let (source, destination) = (grads[i], list[i])
        if destination.dtype != source.dtype {
            throw ArgumentError(
                "outputs", "must be that of the gradient", .unsigned(UInt64(destination.dtype.rawValue)), index: i,
                field: ".dtype")
        }
        if destination.length != source.length {
            throw ArgumentError(
                "outputs", "must be that of the gradient", .integer(destination.length), index: i, field: ".length")
        }
        if !destination.isCounted {
            throw ArgumentError("outputs", "must be 0", .integer(1), index: i, field: ".flags")
        }
    }
    return list
}
