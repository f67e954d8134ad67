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
                let most = min(Stretches.elements(ofSize: size), length &- start)
                let segment = Segment(tensors: tensor..<tensor &+ 1, start: start, length: most, isCut: true)
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

/// Some elements of a tensor.
struct Stretch {
    let number: Int
    let start: Int
    let length: Int
}

/// The stretches that a tensor is cut into, in order.
struct Stretches: IteratorProtocol {
    private let length: Int
    private let most: Int
    private var number = 0

    init(_ tensor: Tensor) {
        length = tensor.length
        most = Self.elements(ofSize: tensor.dtype.size)
    }

    /// Elements of a stretch: half a megabyte of them, whole blocks.
    static func elements(ofSize size: Int) -> Int { segmentBytes / size & ~(Int(GK_BLOCK) &- 1) }

    var count: Int { length / most &+ (length % most == 0 ? 0 : 1) }

    mutating func next() -> Stretch? {
        let start = number &* most
        if start >= length { return nil }
        number &+= 1
        return Stretch(number: number &- 1, start: start, length: min(most, length &- start))
    }
}

extension TensorList {
    /// Whether all threads work on a tensor whose own norm is asked for. Before those that are one thread's each,
    /// which then fill the time.
    func isLarge(_ i: Int) -> Bool {
        let (length, size) = extent(of: i)
        return length &* size >= 8 * 1024 * 1024
    }

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
