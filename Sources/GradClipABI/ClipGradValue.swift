// Clipping by value.
import CGradClip
import GradClip

@_cdecl("gradclip_clip_grad_value_f32") @implementation
public func gradclip_clip_grad_value_f32(
    _ grads: UnsafePointer<UnsafeMutablePointer<Float>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ clip_value: Double,
    _ options: UnsafePointer<gradclip_options>!
) -> gradclip_status {
    clip(Given(grads, lengths, count, options), byValue: clip_value)
}

@_cdecl("gradclip_clip_grad_value_f64") @implementation
public func gradclip_clip_grad_value_f64(
    _ grads: UnsafePointer<UnsafeMutablePointer<Double>?>!, _ lengths: UnsafePointer<Int>!, _ count: Int,
    _ clip_value: Double,
    _ options: UnsafePointer<gradclip_options>!
) -> gradclip_status {
    clip(Given(grads, lengths, count, options), byValue: clip_value)
}

@_cdecl("gradclip_clip_grad_value") @implementation
public func gradclip_clip_grad_value(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ clip_value: Double,
    _ options: UnsafePointer<gradclip_options>!
) -> gradclip_status {
    clip(Given(grads, count, options), byValue: clip_value)
}
