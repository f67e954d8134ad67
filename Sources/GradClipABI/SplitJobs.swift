// The job in separate steps: norm, coefficient, scale.
import CGradClip
import GradClip

@_cdecl("gradclip_get_total_norm_f32") @implementation
public func gradclip_get_total_norm_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    totalNorm(Given(grads, lengths, count, options, result), norm_type)
}

@_cdecl("gradclip_get_total_norm_f64") @implementation
public func gradclip_get_total_norm_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    totalNorm(Given(grads, lengths, count, options, result), norm_type)
}

@_cdecl("gradclip_get_total_norm") @implementation
public func gradclip_get_total_norm(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    totalNorm(Given(grads, count, options, result), norm_type)
}

@_cdecl("gradclip_defer_clip_f32") @implementation
public func gradclip_defer_clip_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    deferClip(Given(grads, lengths, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_defer_clip_f64") @implementation
public func gradclip_defer_clip_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    deferClip(Given(grads, lengths, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_defer_clip") @implementation
public func gradclip_defer_clip(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    deferClip(Given(grads, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_clip_grads_with_norm_f32") @implementation
public func gradclip_clip_grads_with_norm_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ total_norm: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, lengths, count, options, result), max_norm, totalNorm: total_norm)
}

@_cdecl("gradclip_clip_grads_with_norm_f64") @implementation
public func gradclip_clip_grads_with_norm_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ total_norm: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, lengths, count, options, result), max_norm, totalNorm: total_norm)
}

@_cdecl("gradclip_clip_grads_with_norm") @implementation
public func gradclip_clip_grads_with_norm(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ max_norm: Double, _ total_norm: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, count, options, result), max_norm, totalNorm: total_norm)
}

@_cdecl("gradclip_clip_coef") @implementation
public func gradclip_clip_coef(
    _ max_norm: Double, _ total_norm: Double,
    _ options: UnsafePointer<gradclip_options>!, _ clip_coef: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        try check(maxNorm: max_norm)
        try check(totalNorm: total_norm)
        let options = try GradClipABI.options(options)
        guard let clip_coef else { throw .null("clip_coef") }
        clip_coef.pointee = clipCoefficient(maxNorm: max_norm, totalNorm: total_norm, eps: options.eps)
        return 0
    }
}

@_cdecl("gradclip_scale") @implementation
public func gradclip_scale(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ factor: Double,
    _ options: UnsafePointer<gradclip_options>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let list = try GivenList.tensors(grads, count).checked("grads")
        try check(factor: factor)
        let options = try GradClipABI.options(options)
        scale(list, to: nil, by: factor, zeroNonfinite: false, threads: options.threads)
        return 0
    }
}
