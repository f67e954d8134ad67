// How the work of a call is divided: into segments of about half a megabyte, each
// a stretch of one large tensor or a run of small ones. Every thread walks the list
// in the same way and does the segments whose numbers it drew (Pass.swift).
import CGradClipKernels

/// Bytes of a segment, and of the least work that a second thread is woken for.
private var segmentBytes: Int { 512 * 1024 }
private var leastParallelBytes: Int { 2 * 1024 * 1024 }

/// A stretch of one tensor, or whole tensors.
struct Segment {
    var tensors: Range<Int>
    /// Elements of the first tensor where it is the only one and not whole.
    var start = 0
    var length = 0
    var isCut = false
}

/// The segments of a list in order.
struct Segments: IteratorProtocol {
    let grads: TensorList
    private var tensor = 0
    private var start = 0

    init(_ grads: TensorList) { self.grads = grads }

    mutating func next() -> Segment? {
        let first = tensor
        var bytes = 0
        while tensor < grads.count {
            let (length, size) = grads.extent(of: tensor)
            // Large tensors are cut at multiples of a block.
            if length &* size > segmentBytes {
                if tensor > first { break }
                let most = segmentBytes / size & ~(Int(GK_BLOCK) &- 1)
                let segment = Segment(
                    tensors: tensor..<tensor &+ 1, start: start, length: min(most, length &- start), isCut: true)
                start &+= segment.length
                if start >= length {
                    tensor &+= 1
                    start = 0
                }
                return segment
            }
            bytes &+= length &* size &+ 64
            tensor &+= 1
            if bytes >= segmentBytes { break }
        }
        return tensor > first ? Segment(tensors: first..<tensor) : nil
    }
}

extension TensorList {
    /// Length and element size of a tensor.
    @inline(__always) func extent(of i: Int) -> (length: Int, size: Int) {
        let tensor = self[i]
        return (tensor.length, tensor.dtype.size)
    }

    /// How many threads to use, of those allowed (0: the pool's).
    func threadCount(allowed: Int) -> Int {
        var bytes = 0
        for i in 0..<count {
            let (length, size) = extent(of: i)
            bytes &+= length &* size
            if bytes >= leastParallelBytes || bytes < 0 { break }
        }
        if bytes >= 0 && bytes < leastParallelBytes { return 1 }
        return allowed > 0 ? allowed : ThreadPool.count
    }
}
