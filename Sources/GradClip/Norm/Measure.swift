// Measuring a list: the pass, the sums combined, the root taken.
import CGradClipKernels

/// Measures all counted tensors. `tensorNorms` receives each tensor's own norm
/// divided by `gradScale`, `parts` what clipping in parts needs.
func measure(
    _ grads: TensorList, normType: Double, options: ClipOptions, tensorNorms: UnsafeMutablePointer<Double>?,
    parts: UnsafeMutablePointer<Parts>? = nil
) -> Finding {
    let type = NormType(normType)
    if parts == nil, let norm = normOfOneBlock(grads, type) {
        tensorNorms?[0] = norm.double(dividedBy: options.gradScale)
        return Finding(norm: norm, nonfiniteCount: 0, nanCount: 0, first: .none)
    }
    var limbs = gk_wide_limbs()
    return withUnsafeMutablePointer(to: &limbs) { limbs in
        var total = Total(type, wide: options.exactFloat64 ? limbs : nil)
        NormPass.run(grads, into: &total, options, tensorNorms: tensorNorms, parts: parts)
        return total.finding(omitsNonfinite: options.nonfinite == .zero)
    }
}

/// Of a list of one small tensor, by one call of a kernel; nil if it takes more.
private func normOfOneBlock(_ grads: TensorList, _ type: NormType) -> NormValue? {
    if grads.count != 1 { return nil }
    let tensor = grads[0]
    if !tensor.isOneBlock(type) { return nil }
    var exponent = Guess().exponent
    return gk_block(
        gk_process_kernels().unsafelyUnwrapped, type.term, tensor.dtype, tensor.data.unsafelyUnwrapped, tensor.length,
        expecting: &exponent)?.norm(type.term)
}
