// The accumulator: an opaque handle over the engine's.
import CGradClip
import CGradClipKernels
import GradClip

private func state(
    _ handle: OpaquePointer?, _ name: StaticString = "accumulator"
) throws(ArgumentError) -> UnsafeMutablePointer<Accumulator> {
    guard let handle else { throw .null(name) }
    return UnsafeMutablePointer(handle)
}

@_cdecl("gradclip_accumulator_create") @implementation
public func gradclip_accumulator_create(
    _ norm_type: Double, _ options: UnsafePointer<gradclip_options>!,
    _ accumulator: UnsafeMutablePointer<OpaquePointer?>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        guard let accumulator else { throw .null("accumulator") }
        accumulator.pointee = nil
        try check(normType: norm_type)
        let options = try GradClipABI.options(options)
        guard let made = Accumulator.create(normType: norm_type, options: options) else {
            throw .noMemory("accumulator", bytes: Accumulator.byteCount)
        }
        accumulator.pointee = OpaquePointer(made)
        return 0
    }
}

@_cdecl("gradclip_accumulator_free") @implementation
public func gradclip_accumulator_free(_ accumulator: OpaquePointer!) {
    if let accumulator { Accumulator.destroy(UnsafeMutablePointer(accumulator)) }
}

@_cdecl("gradclip_accumulator_reset") @implementation
public func gradclip_accumulator_reset(_ accumulator: OpaquePointer!) -> gradclip_status {
    call { () throws(ArgumentError) in
        try state(accumulator).pointee.reset()
        return 0
    }
}

@_cdecl("gradclip_accumulator_set_next_tensor") @implementation
public func gradclip_accumulator_set_next_tensor(_ accumulator: OpaquePointer!, _ index: UInt64) -> gradclip_status {
    call { () throws(ArgumentError) in
        let accumulator = try state(accumulator)
        if index > UInt64(Int64.max) {
            throw ArgumentError("index", "must be below 2^63", .unsigned(index))
        }
        accumulator.pointee.setNextTensor(index)
        return 0
    }
}

@_cdecl("gradclip_accumulator_add") @implementation
public func gradclip_accumulator_add(
    _ accumulator: OpaquePointer!, _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let accumulator = try state(accumulator)
        accumulator.pointee.add(try GivenList.tensors(grads, count).checked("grads"))
        return 0
    }
}

@_cdecl("gradclip_accumulator_add_difference") @implementation
public func gradclip_accumulator_add_difference(
    _ accumulator: OpaquePointer!, _ tensors: UnsafePointer<gradclip_tensor>!, _ minus: UnsafePointer<gradclip_tensor>!,
    _ count: Int
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let accumulator = try state(accumulator)
        let tensors = try GivenList.tensors(tensors, count).checked("tensors")
        let minus = try GivenList.tensors(minus, count).checked("minus")
        try check(minus: minus, of: tensors)
        accumulator.pointee.add(tensors, minus: minus)
        return 0
    }
}

private func add(
    _ accumulator: OpaquePointer?, _ grad: UnsafeRawPointer?, _ length: Int, _ dtype: DType
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let accumulator = try state(accumulator)
        var tensor = gradclip_tensor(
            data: UnsafeMutableRawPointer(mutating: grad), length: UInt64(bitPattern: Int64(length)),
            dtype: dtype.rawValue, flags: 0, device_type: 0, device_id: 0)
        accumulator.pointee.add(try singleTensor(&tensor, "grad", "length"))
        return 0
    }
}

@_cdecl("gradclip_accumulator_add_f32") @implementation
public func gradclip_accumulator_add_f32(
    _ accumulator: OpaquePointer!, _ grad: UnsafePointer<Float>!, _ length: Int
) -> gradclip_status {
    add(accumulator, grad, length, .float32)
}

@_cdecl("gradclip_accumulator_add_f64") @implementation
public func gradclip_accumulator_add_f64(
    _ accumulator: OpaquePointer!, _ grad: UnsafePointer<Double>!, _ length: Int
) -> gradclip_status {
    add(accumulator, grad, length, .float64)
}

@_cdecl("gradclip_accumulator_merge") @implementation
public func gradclip_accumulator_merge(_ accumulator: OpaquePointer!, _ other: OpaquePointer!) -> gradclip_status {
    call { () throws(ArgumentError) in
        let accumulator = try state(accumulator)
        let other = try state(other, "other")
        if !accumulator.pointee.isCompatible(with: other.pointee) {
            throw ArgumentError("other", "must have the norm_type and the exact_f64 of the accumulator", .none)
        }
        accumulator.pointee.merge(other)
        return 0
    }
}

@_cdecl("gradclip_accumulator_export") @implementation
public func gradclip_accumulator_export(
    _ accumulator: OpaquePointer!, _ bytes: UnsafeMutableRawPointer!, _ size: UnsafeMutablePointer<Int>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let accumulator = try state(accumulator)
        try room(bytes, size, AccumulatorBytes.size(accumulator.pointee))
        if let bytes { AccumulatorBytes.write(&accumulator.pointee, to: bytes) }
        return 0
    }
}

@_cdecl("gradclip_accumulator_import") @implementation
public func gradclip_accumulator_import(
    _ accumulator: OpaquePointer!, _ bytes: UnsafeRawPointer!, _ size: Int
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let accumulator = try state(accumulator)
        guard let bytes else { throw .null("bytes") }
        if let message = accumulator.pointee.merge(bytes: bytes, count: size) { throw message }
        return 0
    }
}

@_cdecl("gradclip_accumulator_to_words") @implementation
public func gradclip_accumulator_to_words(
    _ accumulator: OpaquePointer!, _ max_norm: Double, _ words: UnsafeMutablePointer<Int64>!
) -> gradclip_status {
    exchange(accumulator, accumulator == nil ? 0 : max_norm, words, isRead: false)
}

@_cdecl("gradclip_accumulator_from_words") @implementation
public func gradclip_accumulator_from_words(
    _ accumulator: OpaquePointer!, _ max_norm: Double, _ words: UnsafePointer<Int64>!
) -> gradclip_status {
    exchange(accumulator, max_norm, UnsafeMutablePointer(mutating: words), isRead: true)
}

private func exchange(
    _ accumulator: OpaquePointer?, _ maxNorm: Double, _ words: UnsafeMutablePointer<Int64>?, isRead: Bool
) -> gradclip_status {
    call { () throws(ArgumentError) in
        if isRead { _ = try state(accumulator) }
        try check(maxNorm: maxNorm)
        guard let words else { throw .null("words") }
        try AccumulatorWords.exchange(UnsafeMutablePointer(accumulator), maxNorm: maxNorm, words, isRead: isRead)
        return 0
    }
}

@_cdecl("gradclip_accumulator_clip") @implementation
public func gradclip_accumulator_clip(
    _ accumulator: OpaquePointer!, _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ max_norm: Double,
    _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        try finish(accumulator, max_norm, result, clipping: try GivenList.tensors(grads, count).checked("grads"))
    }
}

@_cdecl("gradclip_accumulator_finish") @implementation
public func gradclip_accumulator_finish(
    _ accumulator: OpaquePointer!, _ max_norm: Double, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        guard let result else { throw .null("result") }
        return try finish(accumulator, max_norm, result, clipping: nil)
    }
}

private func finish(
    _ accumulator: OpaquePointer?, _ maxNorm: Double, _ result: UnsafeMutablePointer<gradclip_result>?,
    clipping grads: TensorList?
) throws(ArgumentError) -> gradclip_status {
    let accumulator = try state(accumulator)
    try check(maxNorm: maxNorm)
    let slot = try ResultSlot(result)
    try slot.checkNoTensorNorms("must be NULL: an accumulator keeps no tensors apart")
    guard let grads else { return slot.store(accumulator.pointee.deferClip(maxNorm: maxNorm)) }
    return slot.store(accumulator.pointee.clip(grads, maxNorm: maxNorm))
}
