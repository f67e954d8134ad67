// The tensors of a call, in whichever form the caller holds them.
import CGradClipKernels

/// One gradient: memory, elements, element type.
package struct Tensor {
    package var data: UnsafeMutableRawPointer?
    package var length: Int
    package var dtype: DType
    /// Scaled with the others, but left out of the norm.
    package var isCounted: Bool
}

/// A list read in place: each property of tensor i lies at a base address plus i
/// times a stride. This covers an array of pointers beside an array of lengths as
/// well as an array of records, without a copy.
package struct TensorList {
    package var count: Int
    var data: UnsafeRawPointer?
    var dataStride: Int
    var lengths: UnsafeRawPointer?
    var lengthStride: Int
    /// Dtype and flags as two UInt32; nil: `dtype` for all, no flags.
    var types: UnsafeRawPointer?
    var typeStride: Int
    var dtype: DType

    /// Pointers and lengths, one dtype.
    package init(pointers: UnsafeRawPointer?, lengths: UnsafePointer<Int>?, count: Int, dtype: DType) {
        self.count = count
        data = pointers
        dataStride = 8
        self.lengths = UnsafeRawPointer(lengths)
        lengthStride = 8
        types = nil
        typeStride = 0
        self.dtype = dtype
    }

    /// Records of `stride` bytes that hold, from the start, the data pointer, the
    /// length, the dtype and the flags, the last two as UInt32.
    package init(records: UnsafeRawPointer?, stride: Int, count: Int) {
        self.count = count
        data = records
        dataStride = stride
        lengths = records.map { $0 + 8 }
        lengthStride = stride
        types = records.map { $0 + 16 }
        typeStride = stride
        dtype = .float32
    }

    /// Whether there is no element in any tensor.
    @inline(never) @_optimize(size)
    var isEmpty: Bool {
        for i in 0..<count where self[i].length > 0 { return false }
        return true
    }

    package subscript(i: Int) -> Tensor {
        let data = data.unsafelyUnwrapped.load(fromByteOffset: i &* dataStride, as: UnsafeMutableRawPointer?.self)
        let length = lengths.unsafelyUnwrapped.load(fromByteOffset: i &* lengthStride, as: Int.self)
        guard let types else { return Tensor(data: data, length: length, dtype: dtype, isCounted: true) }
        let type = types.load(fromByteOffset: i &* typeStride, as: UInt32.self)
        let flags = types.load(fromByteOffset: i &* typeStride &+ 4, as: UInt32.self)
        return Tensor(
            data: data, length: length, dtype: DType(rawValue: type).unsafelyUnwrapped, isCounted: flags & 1 == 0)
    }

    /// The list of one of its tensors.
    func only(_ i: Int) -> TensorList {
        var one = self
        one.count = 1
        one.data = data.map { $0 + i &* dataStride }
        one.lengths = lengths.map { $0 + i &* lengthStride }
        one.types = types.map { $0 + i &* typeStride }
        return one
    }
}
