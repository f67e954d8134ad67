// From objects of another library, through DLPack, to a list of gradclip_tensor.
import CGradClip
import GradClip

/// DLPack's DLTensor, field by field.
private struct DLTensor {
    var data: UInt64 = 0
    var deviceType: Int32 = 0
    var deviceID: Int32 = 0
    var ndim: Int32 = 0
    var dtype = DLDataType()
    var shape: UnsafePointer<Int>?
    var strides: UnsafePointer<Int>?
    var byteOffset: UInt64 = 0
}

private struct DLDataType {
    var code: UInt8 = 0
    var bits: UInt8 = 0
    var lanes: UInt16 = 0

    static var float: UInt8 { 2 }
    static var bfloat: UInt8 { 4 }

    var number: Int { Int(code) | Int(bits) << 8 | Int(lanes) << 16 }
}

@_cdecl("gradclip_tensors_from_dlpack") @implementation
public func gradclip_tensors_from_dlpack(
    _ objects: UnsafePointer<UnsafeMutableRawPointer?>!, _ count: Int, _ read: gradclip_dlpack_reader!,
    _ tensors: UnsafeMutablePointer<gradclip_tensor>!
) -> gradclip_status {
    // (Not in the library's floating point environment: read() is the host's.)
    do throws(ArgumentError) {
        try check(count: count, size: 32, isNull: objects == nil, "objects")
        if count == 0 { return 0 }
        guard let read else { throw .null("read") }
        guard let tensors else { throw .null("tensors") }
        for i in 0..<count { tensors[i] = try row(objects.unsafelyUnwrapped[i], i, read) }
        return 0
    } catch {
        return record(error)
    }
}

/// What an object that read() knows is as a tensor.
private func row(
    _ object: UnsafeMutableRawPointer?, _ i: Int, _ read: gradclip_dlpack_reader
) throws(ArgumentError) -> gradclip_tensor {
    var given = DLTensor()
    let failure = Int(read(object, &given))
    if failure != 0 { throw unsupported("must be readable: read() must return 0", .integer(failure), i) }
    if given.deviceType != 1 {
        throw unsupported("must be 1 (CPU memory)", .integer(Int(given.deviceType)), i, ".device_type")
    }
    let dtype: Int
    switch (given.dtype.code, given.dtype.bits, given.dtype.lanes) {
    case (DLDataType.float, 32, 1): dtype = GRADCLIP_F32
    case (DLDataType.float, 64, 1): dtype = GRADCLIP_F64
    case (DLDataType.float, 16, 1): dtype = GRADCLIP_F16
    case (DLDataType.bfloat, 16, 1): dtype = GRADCLIP_BF16
    default: throw unsupported("must be one of gradclip's", .integer(given.dtype.number), i, ".dtype")
    }
    var length = 1
    var stride = 1
    var k = Int(given.ndim)
    var isDense = given.data != 0
    if k < 0 { throw unsupported("must be >= 0", .integer(k), i, ".ndim") }
    while k > 0 {
        k &-= 1
        let extent = given.shape?[k] ?? -1
        let (product, overflows) = length.multipliedReportingOverflow(by: extent)
        if extent < 0 || overflows {
            throw unsupported("must be extents >= 0 of less than 2^63 elements", .integer(extent), i, ".shape")
        }
        if let strides = given.strides, extent != 1, strides[k] != length {
            stride = strides[k]
            isDense = false
        }
        length = product
    }
    if length == 0 {
        given.data = 0
        given.byteOffset = 0
    } else if !isDense {
        throw unsupported("must be row-major, and data not NULL", .integer(stride), i, ".strides")
    }
    return gradclip_tensor(
        data: UnsafeMutableRawPointer(bitPattern: UInt(given.data &+ given.byteOffset)),
        length: UInt64(bitPattern: Int64(length)), dtype: UInt32(dtype), flags: 0, device_type: 1, device_id: 0)
}

private func unsupported(
    _ rule: StaticString, _ value: ArgumentError.Value, _ index: Int, _ field: StaticString = ""
) -> ArgumentError {
    ArgumentError("objects", rule, value, index: index, field: field, reason: .unsupported())
}
