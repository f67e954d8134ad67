// Clipping by value.
import CGradClip
import CGradClipKernels
import GradClip

@_cdecl("gradclip_clip_grad_value_f32") @implementation
public func gradclip_clip_grad_value_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ clip_value: Double, _ options: UnsafePointer<gradclip_options>!
) -> gradclip_status {
    clipValue(
        { () throws(ArgumentError) in try typedList(grads, lengths, count, .float32, "grads") }, clip_value, options
    )
}

@_cdecl("gradclip_clip_grad_value_f64") @implementation
public func gradclip_clip_grad_value_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ clip_value: Double, _ options: UnsafePointer<gradclip_options>!
) -> gradclip_status {
    clipValue(
        { () throws(ArgumentError) in try typedList(grads, lengths, count, .float64, "grads") }, clip_value, options
    )
}

@_cdecl("gradclip_clip_grad_value") @implementation
public func gradclip_clip_grad_value(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ clip_value: Double,
    _ options: UnsafePointer<gradclip_options>!
) -> gradclip_status {
    clipValue({ () throws(ArgumentError) in try tensorList(grads, count, "grads") }, clip_value, options)
}
