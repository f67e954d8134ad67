// Differences of two tensors, a piece at a time, as elements of float64.
import CGradClipKernels

extension Partial {
    /// Adds x - y, each rounded to float64. Of both, `start` elements come before.
    mutating func addDifference(_ kernels: Kernels, _ x: Tensor, _ y: Tensor, from start: Int, _ length: Int) {
        let room = Workspace(scratch).differences
        let values = room.assumingMemoryBound(to: Double.self)
        let tail = room + Int(GK_DIFFERENCES) &* MemoryLayout<Double>.size
        var i = start
        while i < start &+ length {
            let count = min(Int(GK_DIFFERENCES), start &+ length &- i)
            values.update(repeating: 0, count: Int(GK_DIFFERENCES))
            let (from, minus) = (x.data.unsafelyUnwrapped, y.data.unsafelyUnwrapped)
            kernels.pointee.add(x.dtype, from + i &* x.dtype.size, Int64(count), 1, values, tail)
            kernels.pointee.add(y.dtype, minus + i &* y.dtype.size, Int64(count), -1, values, tail)
            add(kernels, .float64, room, count)
            i &+= count
        }
    }
}
