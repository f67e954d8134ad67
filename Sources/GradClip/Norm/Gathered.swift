// Small tensors of one dtype, one behind the other, which are summed together.
import CGradClipKernels

struct Gathered {
    let buffer: UnsafeMutableRawPointer
    var bytes = 0
    var dtype = DType.float32
    /// The first and the last of them in the list.
    var first = 0
    var last = 0

    /// What counts as small.
    static var mostBytes: Int { 1024 }

    init(_ workspace: Workspace) { buffer = workspace.gathered }

    /// There is room.
    @inline(__always)
    mutating func append(_ tensor: Tensor, _ index: Int, _ count: Int) {
        if bytes == 0 {
            first = index
            dtype = tensor.dtype
        }
        (buffer + bytes).copyMemory(from: tensor.data.unsafelyUnwrapped, byteCount: count)
        bytes &+= count
        last = index
    }
}
