// From the caller's arrays to the engine's list, every pointer and length checked.
import CGradClip
import CGradClipKernels
import GradClip

/// A list as it was given, in one of the forms that C callers hold it in; nothing of it has been looked at.
enum GivenList {
    /// Pointers beside lengths, of one dtype.
    case pointers(UnsafeRawPointer?, UnsafePointer<Int>?, Int, DType)
    case tensors(UnsafePointer<gradclip_tensor>?, Int)

    /// The same as the engine takes it.
    func checked(_ name: StaticString) throws(ArgumentError) -> TensorList {
        switch self {
        case .pointers(let pointers, let lengths, let count, let dtype):
            try check(count: count, size: MemoryLayout<UnsafeRawPointer>.size, isNull: pointers == nil, name)
            try check(count: count, size: MemoryLayout<Int>.size, isNull: lengths == nil, "lengths")
            let list = TensorList(pointers: pointers, lengths: lengths, count: count, dtype: dtype)
            for i in 0..<count { try check(list[i], at: i, name, lengths: "lengths") }
            return list
        case .tensors(let tensors, let count):
            let stride = MemoryLayout<gradclip_tensor>.stride
            try check(count: count, size: stride, isNull: tensors == nil, name)
            let list = TensorList(records: tensors, stride: stride, count: count)
            for i in 0..<count {
                let given = UnsafeRawPointer(tensors.unsafelyUnwrapped)
                    .loadUnaligned(fromByteOffset: i &* stride, as: gradclip_tensor.self)
                try check(given, at: i, name)
                try check(list[i], at: i, name, lengths: name, lengthField: ".length", dataField: ".data")
            }
            return list
        }
    }
}

/// What a gradclip_tensor has besides memory.
private func check(_ given: gradclip_tensor, at i: Int, _ name: StaticString) throws(ArgumentError) {
    if DType(given.dtype) == nil {
        throw ArgumentError(
            name, "must be GRADCLIP_F32, F64, F16 or BF16", .unsigned(UInt64(given.dtype)), index: i, field: ".dtype")
    }
    if given.flags & ~UInt32(GRADCLIP_UNCOUNTED) != 0 {
        throw ArgumentError(
            name, "has a flag this library does not know", .unsigned(UInt64(given.flags)), index: i, field: ".flags")
    }
    if given.device_type != 0 && given.device_type != 1 {
        throw ArgumentError(
            name, "must be 0 or 1 (CPU memory)", .integer(Int(given.device_type)), index: i, field: ".device_type",
            reason: .unsupported())
    }
}

/// One tensor that is an argument of its own.
func singleTensor(
    _ tensor: UnsafePointer<gradclip_tensor>, _ name: StaticString, _ length: StaticString
) throws(ArgumentError) -> TensorList {
    let list = TensorList(records: tensor, stride: MemoryLayout<gradclip_tensor>.stride, count: 1)
    try check(list[0], at: -1, name, lengths: length)
    return list
}

/// Destinations match the gradients. (Those beside one array of lengths do.)
func check(outputs: TensorList, for grads: TensorList) throws(ArgumentError) {
    for i in 0..<grads.count {
        let (source, destination) = (grads[i], outputs[i])
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
}
