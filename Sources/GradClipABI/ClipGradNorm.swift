// gradclip_clip_grad_norm and gradclip_clip_grad_norm_to.
import CGradClip
import CGradClipKernels
import GradClip

@_cdecl("gradclip_clip_grad_norm_f32") @implementation
public func gradclip_clip_grad_norm_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(
        { () throws(ArgumentError) in try typedList(grads, lengths, count, .float32, "grads") },
        max_norm, norm_type, options, result)
}

@_cdecl("gradclip_clip_grad_norm_f64") @implementation
public func gradclip_clip_grad_norm_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(
        { () throws(ArgumentError) in try typedList(grads, lengths, count, .float64, "grads") },
        max_norm, norm_type, options, result)
}

@_cdecl("gradclip_clip_grad_norm") @implementation
public func gradclip_clip_grad_norm(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip({ () throws(ArgumentError) in try tensorList(grads, count, "grads") }, max_norm, norm_type, options, result)
}

@_cdecl("gradclip_clip_grad_norm_to_f32") @implementation
public func gradclip_clip_grad_norm_to_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ outputs: UnsafePointer<UnsafeMutablePointer<Float>?>!,
    _ lengths: UnsafePointer<Int>!, _ count: Int, _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(
        { () throws(ArgumentError) in try typedList(grads, lengths, count, .float32, "grads") },
        to: { _ throws(ArgumentError) in try typedList(outputs, lengths, count, .float32, "outputs") },
        max_norm, norm_type, options, result)
}

@_cdecl("gradclip_clip_grad_norm_to_f64") @implementation
public func gradclip_clip_grad_norm_to_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ outputs: UnsafePointer<UnsafeMutablePointer<Double>?>!,
    _ lengths: UnsafePointer<Int>!, _ count: Int, _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(
        { () throws(ArgumentError) in try typedList(grads, lengths, count, .float64, "grads") },
        to: { _ throws(ArgumentError) in try typedList(outputs, lengths, count, .float64, "outputs") },
        max_norm, norm_type, options, result)
}

@_cdecl("gradclip_clip_grad_norm_to") @implementation
public func gradclip_clip_grad_norm_to(
    _ grads: UnsafePointer<gradclip_tensor>!, _ outputs: UnsafePointer<gradclip_tensor>!, _ count: Int,
    _ max_norm: Double, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    clip(
        { () throws(ArgumentError) in try tensorList(grads, count, "grads") },
        to: { list throws(ArgumentError) in try outputList(outputs, for: list) },
        max_norm, norm_type, options, result)
}
