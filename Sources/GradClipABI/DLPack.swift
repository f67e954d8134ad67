// From objects of another library, through DLPack, to a list of gradclip_tensor.
import CGradClip
import GradClip

/// DLPack's DLTensor, 48 bytes, in words: (data), (device_type, device_id), (ndim, dtype),
/// (shape), (strides), (byte_offset). All machines it runs on are little-endian.
private typealias DLTensor = (
    data: UInt64, device: UInt64, kind: UInt64, shape: UnsafePointer<Int>?, strides: UnsafePointer<Int>?,
    offset: UInt64
)

@_optimize(size)
@_cdecl("gradclip_tensors_from_dlpack") @implementation
public func gradclip_tensors_from_dlpack(
    _ objects: UnsafePointer<UnsafeMutableRawPointer?>!, _ count: Int, _ read: gradclip_dlpack_reader!,
    _ tensors: UnsafeMutablePointer<gradclip_tensor>!
) -> gradclip_status {
    if count < 0 || count > Int.max / 32 { return refuse("count is no length of an array", Double(count), 0) }
    if count == 0 { return 0 }
    guard let objects, let read, let tensors else {
        return refuse("objects, read and tensors must not be NULL where count is this", Double(count), 0)
    }
    var i = 0
    while i < count {
        var given: DLTensor = (0, 0, 0, nil, nil, 0)
        let failure = Int(read(objects[i], &given))
        if failure != 0 { return unsupported("read() of objects[] must give 0", failure, i) }
        let device = Int(Int32(truncatingIfNeeded: given.device))
        if device != 1 { return unsupported("objects[].device_type must be 1 (CPU memory)", device, i) }
        let kind = Int(given.kind >> 32)
        let dtype: Int
        switch kind {
        case 0x12002: dtype = GRADCLIP_F32
        case 0x14002: dtype = GRADCLIP_F64
        case 0x11002: dtype = GRADCLIP_F16
        case 0x11004: dtype = GRADCLIP_BF16
        default: return unsupported("objects[].dtype must be one of gradclip's", kind, i)
        }
        var length = 1
        var stride = 1
        var k = Int(Int32(truncatingIfNeeded: given.kind))
        var isDense = given.data != 0
        if k < 0 { return unsupported("objects[].ndim must be >= 0", k, i) }
        while k > 0 {
            k &-= 1
            let extent = given.shape?[k] ?? -1
            let (product, overflows) = length.multipliedReportingOverflow(by: extent)
            if extent < 0 || overflows {
                return unsupported("objects[].shape must be extents >= 0 of less than 2^63 elements", extent, i)
            }
            if let strides = given.strides, extent != 1, strides[k] != length {
                stride = strides[k]
                isDense = false
            }
            length = product
        }
        if length == 0 {
            given.data = 0
            given.offset = 0
        } else if !isDense {
            return unsupported("objects[].strides must be row-major, and data not NULL", stride, i)
        }
        tensors[i] = gradclip_tensor(
            data: UnsafeMutableRawPointer(bitPattern: UInt(given.data &+ given.offset)),
            length: UInt64(bitPattern: Int64(length)), dtype: UInt32(dtype), flags: 0, device_type: 1, device_id: 0)
        i &+= 1
    }
    return 0
}

@inline(never)
private func unsupported(_ text: StaticString, _ value: Int, _ index: Int) -> gradclip_status {
    _ = refuse(text, Double(value), index)
    return gradclip_status(GRADCLIP_ERROR_UNSUPPORTED)
}
