// gradclip_clip_grad_norm and gradclip_clip_grad_norm_to.
import CGradClip
import GradClip

@_cdecl("gradclip_clip_grad_norm_f32") @implementation
public func gradclip_clip_grad_norm_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, lengths, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_clip_grad_norm_f64") @implementation
public func gradclip_clip_grad_norm_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, lengths, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_clip_grad_norm") @implementation
public func gradclip_clip_grad_norm(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_clip_grad_norm_to_f32") @implementation
public func gradclip_clip_grad_norm_to_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ outputs: UnsafePointer<UnsafeMutablePointer<Float>?>!,
    _ lengths: UnsafePointer<Int>!, _ count: Int, _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, to: outputs, lengths, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_clip_grad_norm_to_f64") @implementation
public func gradclip_clip_grad_norm_to_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ outputs: UnsafePointer<UnsafeMutablePointer<Double>?>!,
    _ lengths: UnsafePointer<Int>!, _ count: Int, _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(Given(grads, to: outputs, lengths, count, options, result), max_norm, norm_type)
}

@_cdecl("gradclip_clip_grad_norm_to") @implementation
public func gradclip_clip_grad_norm_to(
    _ grads: UnsafePointer<gradclip_tensor>!, _ outputs: UnsafePointer<gradclip_tensor>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(
        Given(.tensors(grads, count), others: .tensors(outputs, count), named: "outputs", options, result), max_norm,
        norm_type)
}
