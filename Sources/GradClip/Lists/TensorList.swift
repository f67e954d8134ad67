// The tensors of a call, in whichever form the caller holds them.
import CGradClip
import CGradClipKernels

/// One gradient: memory, elements, element type.
package struct Tensor {
    package var data: UnsafeMutableRawPointer?
    package var length: Int
    package var dtype: DType
    /// Scaled with the others, but left out of the norm.
    package var isCounted: Bool

    /// Whether it counts, and is one block whose terms are exact and its elements narrow.
    @inline(__always)
    func isOneBlock(_ type: NormType) -> Bool {
        type.hasExactSum && dtype.isNarrow && isCounted && length > 0 && length <= Int(GK_BLOCK)
    }
}

/// A list read in place, without a copy: an array of pointers beside an array of lengths, all of one dtype, or an
/// array of records.
package struct TensorList {
    package var count: Int
    private var pointers: UnsafePointer<UnsafeMutableRawPointer?>?
    private var lengths: UnsafePointer<Int>?
    private let dtype: DType
    /// Each begins with a gradclip_tensor, and they lie `stride` bytes apart; nil: pointers and lengths.
    private var records: UnsafeRawPointer?
    private let stride: Int

    package init(pointers: UnsafeRawPointer?, lengths: UnsafePointer<Int>?, count: Int, dtype: DType) {
        self.count = count
        self.pointers = pointers?.assumingMemoryBound(to: UnsafeMutableRawPointer?.self)
        self.lengths = lengths
        self.dtype = dtype
        records = nil
        stride = 0
    }

    package init(records: UnsafeRawPointer?, stride: Int, count: Int) {
        self.count = count
        pointers = nil
        lengths = nil
        dtype = .float32
        self.records = records
        self.stride = stride
    }

    /// Whether there is no element in any tensor.
    var isEmpty: Bool {
        for i in 0..<count where self[i].length > 0 { return false }
        return true
    }

    package subscript(i: Int) -> Tensor {
        guard let records else {
            return Tensor(
                data: pointers.unsafelyUnwrapped[i], length: lengths.unsafelyUnwrapped[i], dtype: dtype,
                isCounted: true)
        }
        let record = records.load(fromByteOffset: i &* stride, as: gradclip_tensor.self)
        return Tensor(
            data: record.data, length: Int(truncatingIfNeeded: record.length),
            dtype: DType(rawValue: record.dtype).unsafelyUnwrapped,
            isCounted: record.flags & UInt32(GRADCLIP_UNCOUNTED) == 0)
    }

    /// The list of one of its tensors.
    func only(_ i: Int) -> TensorList {
        var one = self
        one.count = 1
        one.pointers = pointers.map { $0 + i }
        one.lengths = lengths.map { $0 + i }
        one.records = records.map { $0 + i &* stride }
        return one
    }
}
