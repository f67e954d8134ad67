// The passes that write: scaling and clamping, over all threads.
import CGradClipKernels

/// Multiplies all tensors as a result says, or `each` by its own factor, of which the result's is the smallest
/// coefficient's.
func scale(
    _ grads: TensorList, to outputs: TensorList?, as result: ClipResult, each factors: UnsafePointer<Double>? = nil,
    _ options: ClipOptions
) {
    if outputs == nil && !result.writes(options) { return }
    scale(
        grads, to: outputs, by: result.factor, each: factors, zeroNonfinite: result.zeroes(options),
        threads: options.threads)
}

/// Multiplies all tensors by a factor. In place, a factor of 1 writes nothing but zeros over non-finite elements,
/// if asked to.
@inline(never)
package func scale(
    _ grads: TensorList, to outputs: TensorList?, by factor: Double, each factors: UnsafePointer<Double>? = nil,
    zeroNonfinite: Bool, threads: Int
) {
    if factors == nil && factor == 1 && outputs == nil && !zeroNonfinite { return }
    let pass = WritePass(grads: grads, outputs: outputs, factor: factor, factors: factors, zeroNonfinite: zeroNonfinite)
    pass.run(threads)
}

/// Clamps every element to [-limit, limit].
@inline(never)
package func clamp(_ grads: TensorList, to limit: Double, threads: Int) {
    let pass = WritePass(grads: grads, limit: limit)
    pass.run(threads)
}

private struct WritePass: Pass {
    let grads: TensorList
    var outputs: TensorList?
    var factor = 1.0
    var factors: UnsafePointer<Double>?
    var zeroNonfinite = false
    /// Clamp to this instead, if it is not negative.
    var limit = -1.0
    let kernels = gk_process_kernels().unsafelyUnwrapped

    var pieces: Segments { Segments(grads) }

    func run(_ threads: Int) {
        run(threads: grads.threadCount(allowed: threads)) { WriteShare.run($0, $1, isShared: $2) }
    }
}

private struct WriteShare: Share {
    let pass: UnsafePointer<WritePass>

    init(_ pass: UnsafePointer<WritePass>, _ workspace: Workspace, isShared: Bool) { self.pass = pass }

    func work(on segment: Segment) {
        for i in segment.tensors { pass.pointee.write(segment, i) }
    }
}

extension WritePass {
    fileprivate func write(_ segment: Segment, _ index: Int) {
        let tensor = grads[index]
        let length = segment.isCut ? segment.length : tensor.length
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
