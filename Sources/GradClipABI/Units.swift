// Adaptive gradient clipping.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClip

/// outer * reduced * inner, or -1 if no tensor is so long.
@inline(never)
private func length(_ units: UnitShape) -> Int {
    let (first, overflows) = units.outer.multipliedReportingOverflow(by: units.inner)
    let (all, overflow) = first.multipliedReportingOverflow(by: units.reduced)
    return overflows || overflow || units.outer | units.reduced | units.inner < 0 ? -1 : all
}

@_cdecl("gradclip_adaptive_clip_grad") @implementation
public func gradclip_adaptive_clip_grad(
    _ grads: UnsafePointer<gradclip_tensor>!, _ weights: UnsafePointer<gradclip_tensor>!,
    _ units: UnsafePointer<gradclip_units>!, _ count: Int, _ clip_factor: Double, _ eps: Double,
    _ norm_type: Double, _ options: UnsafePointer<gradclip_options>!,
    _ result: UnsafeMutablePointer<gradclip_result>!, _ clip_coefs: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    let environment = gk_float_environment_enter()
    let status = adaptiveClip(
        grads, weights, units, count, clip_factor, eps, norm_type, options, result, clip_coefs)
    gk_float_environment_leave(environment)
    return status
}

@inline(never)
private func adaptiveClip(
    _ grads: UnsafePointer<gradclip_tensor>!, _ weights: UnsafePointer<gradclip_tensor>!,
    _ units: UnsafePointer<gradclip_units>!, _ count: Int, _ clip_factor: Double, _ eps: Double,
    _ norm_type: Double, _ options: UnsafePointer<gradclip_options>!,
    _ result: UnsafeMutablePointer<gradclip_result>!, _ clip_coefs: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    var given = CallArguments()
    let status = given.take(grads, count, weights, "weights", options, result)
    if status < 0 { return status }
    let shapes = UnsafeRawPointer(units)?.assumingMemoryBound(to: UnitShape.self)
    var unitCount = 0
    for i in 0..<count {
        guard let shapes else { return refuse("units must not be NULL where count is this", Double(count), 0) }
        let expected = given.grads[i].length
        let found = given.others[i].length
        if found != expected { return refuse("weights[].length must be that of the gradient", Double(found), i) }
        if length(shapes[i]) != expected {
            return refuse(
                "units[]: outer * reduced * inner must be the gradient's length", Double(length(shapes[i])), i)
        }
        // (Of empty tensors there may be any number of units.)
        let (sum, overflows) = unitCount.addingReportingOverflow(shapes[i].units)
        unitCount = overflows ? Int.max : sum
    }
    if !isProper(clip_factor) {
        return refuse("clip_factor must be finite and >= 0", clip_factor, 0)
    }
    if !isProper(eps) { return refuse("eps must be finite and >= 0", eps, 0) }
    if !(norm_type > 0) { return refuse("norm_type must be a number > 0", norm_type, 0) }
    if given.slot.tensorNorms != nil { return refuse("tensor_norms must be NULL: units are measured", 1, 0) }
    let bytes = UnitPass.size &+ min(unitCount, Int.max / 64) &* 8
    guard let memory = gk_allocate(bytes) else { return outOfMemory(bytes) }
    defer { gk_release(memory) }
    var found = ClipResult()
    guard let shapes else { return given.slot.store(found) }
    var pass = UnitPass(
        grads: given.grads, weights: given.others, shapes: shapes, clipFactor: clip_factor, eps: eps,
        normType: norm_type, options: given.options, memory: memory)
    let bad = pass.run(unitCount, &found)
    if bad >= 0 { return refuse("weights[] must be finite, and has a NaN or an infinity", .nan, bad) }
    clip_coefs?.update(from: pass.coefs, count: unitCount)
    return given.slot.store(found)
}
