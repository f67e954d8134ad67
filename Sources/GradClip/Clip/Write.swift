// The passes that write: scaling and clamping, over all threads.
import CGradClipKernels

/// Multiplies all tensors, or `each` by its own factor. In place, a factor of 1 writes
/// nothing but zeros over non-finite elements, if asked to.
@inline(never)
package func scale(
    _ grads: TensorList, to outputs: TensorList?, by factor: Double, each factors: UnsafePointer<Double>? = nil,
    zeroNonfinite: Bool, threads: Int
) {
    if factor == 1 && outputs == nil && !zeroNonfinite { return }
    var pass = WritePass(
        grads: grads, outputs: outputs, factor: factor, factors: factors, zeroNonfinite: zeroNonfinite)
    pass.run(threads)
}

/// Clamps every element to [-limit, limit].
@inline(never)
package func clamp(_ grads: TensorList, to limit: Double, threads: Int) {
    var pass = WritePass(grads: grads, limit: limit)
    pass.run(threads)
}

private struct WritePass {
    let grads: TensorList
    var outputs: TensorList?
    var factor = 1.0
    var factors: UnsafePointer<Double>?
    var zeroNonfinite = false
    /// Clamp to this instead, if it is not negative.
    var limit = -1.0
    let kernels = gk_process_kernels().unsafelyUnwrapped
    var numbers: Int64 = 0

    mutating func run(_ threads: Int) {
        ThreadPool.run(grads.threadCount(allowed: threads), &self) { context, _, _ in
            let pass = context.unsafelyUnwrapped.assumingMemoryBound(to: WritePass.self)
            var draw = SegmentDraw(pass.pointee.grads, &pass.pointee.numbers)
            while let segment = draw.next() {
                for i in segment.tensors { pass.pointee.write(segment, i) }
            }
        }
    }

    private func write(_ segment: Segment, _ index: Int) {
        let tensor = grads[index]
        let length = segment.isPart ? segment.length : tensor.length
        if length == 0 { return }
        let offset = segment.start &* tensor.dtype.size
        let source = tensor.data.unsafelyUnwrapped + offset
        if limit >= 0 {
            kernels.pointee.clamp(tensor.dtype, source, Int64(length), limit)
            return
        }
        let destination = outputs.map { $0[index].data.unsafelyUnwrapped + offset } ?? source
        let factor = factors?[index] ?? factor
        if factors != nil && factor == 1 && !zeroNonfinite { return }
        var scaling = gk_scaling(factor: factor, zero_nonfinite: zeroNonfinite && tensor.isCounted)
        kernels.pointee.scale(tensor.dtype, source, destination, Int64(length), &scaling)
    }
}
