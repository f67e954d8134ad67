// How the work of a call is divided: into segments of about half a megabyte, each
// a part of one large tensor or a run of small ones. Every thread walks the list
// in the same way and does the segments whose numbers it drew.
import CGradClipKernels
import CGradClipSystem

/// Bytes of a segment, and of the least work that a second thread is woken for.
private var segmentBytes: Int { 512 * 1024 }
private var leastParallelBytes: Int { 2 * 1024 * 1024 }

/// A part of one tensor, or whole tensors.
struct Segment {
    var tensors: Range<Int>
    /// Elements of the first tensor where it is the only one and not whole.
    var start = 0
    var length = 0
    var isPart = false
}

/// Yields the segments of a list in order.
struct SegmentWalker {
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
                let part = Segment(
                    tensors: tensor..<tensor &+ 1, start: start, length: min(most, length &- start), isPart: true)
                start &+= part.length
                if start >= length {
                    tensor &+= 1
                    start = 0
                }
                return part
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

/// The segments that one thread draws from the numbers that all share.
struct SegmentDraw {
    private var walker: SegmentWalker
    private let numbers: UnsafeMutablePointer<Int64>
    private var position: Int64 = 0

    init(_ grads: TensorList, _ numbers: UnsafeMutablePointer<Int64>) {
        walker = SegmentWalker(grads)
        self.numbers = numbers
    }

    mutating func next() -> Segment? {
        let drawn = gk_take_number(numbers)
        while let segment = walker.next() {
            position &+= 1
            if position &- 1 == drawn { return segment }
        }
        return nil
    }
}
