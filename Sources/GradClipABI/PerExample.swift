// Clipping by example.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClip

@_cdecl("gradclip_clip_per_example") @implementation
public func gradclip_clip_per_example(
    _ grads: UnsafePointer<gradclip_tensor>!, _ sums: UnsafePointer<gradclip_tensor>!, _ count: Int,
    _ examples: Int, _ max_norms: UnsafePointer<Double>!, _ max_norm_count: Int, _ rule: UInt32,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_per_example_result>!,
    _ norms: UnsafeMutablePointer<Double>!, _ factors: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    let environment = gk_float_environment_enter()
    let status = clipPerExample(
        grads, sums, count, examples, max_norms, max_norm_count, rule, options, result, norms, factors)
    gk_float_environment_leave(environment)
    return status
}

@inline(never)
private func clipPerExample(
    _ grads: UnsafePointer<gradclip_tensor>!, _ sums: UnsafePointer<gradclip_tensor>!, _ count: Int,
    _ examples: Int, _ max_norms: UnsafePointer<Double>!, _ max_norm_count: Int, _ rule: UInt32,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_per_example_result>!,
    _ norms: UnsafeMutablePointer<Double>!, _ factors: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    var given = CallArguments()
    let status = given.take(grads, count, sums, sums == nil ? "" : "sums", options, nil)
    if status < 0 { return status }
    if examples < 1 { return refuse("examples must be at least 1", Double(examples), 0) }
    for i in 0..<count {
        let length = given.grads[i].length
        if length % examples != 0 {
            return refuse("grads[].length must be a multiple of examples", Double(length), i)
        }
        if sums == nil { continue }
        let sum = given.others[i]
        if sum.dtype > GRADCLIP_F64 {
            return refuse("sums[].dtype must be GRADCLIP_F32 or F64", Double(sum.dtype), i)
        }
        if sum.length != length / examples {
            return refuse("sums[].length must be that of one example", Double(sum.length), i)
        }
    }
    if max_norm_count != 1 && max_norm_count != count {
        return refuse("max_norm_count must be 1 or count", Double(max_norm_count), 0)
    }
    for i in 0..<max_norm_count {
        guard let max_norms else { return refuse("max_norms must not be NULL", .nan, 0) }
        let limit = max_norms[i]
        // (A subnormal one is below what norms are rounded up to.)
        if !isProper(limit) || limit > 0 && limit < .leastNormalMagnitude {
            return refuse("max_norms[] must be 0, or finite and no smaller than DBL_MIN", limit, i)
        }
    }
    if rule > 2 { return refuse("rule must be a GRADCLIP_EXAMPLE_ rule", Double(rule), 0) }
    guard let result else { return refuse("result must not be NULL", .nan, 0) }
    let stated = result.pointee.struct_size
    if stated < 8 || stated > 4096 { return refuse("result must have its struct_size set", Double(stated), 0) }
    let places = examples.multipliedReportingOverflow(by: max(1, max_norm_count))
    let bytes = places.overflow ? Int.max : min(places.partialValue, Int.max / 64) &* 16
    guard let memory = gk_allocate(bytes) else { return outOfMemory(bytes) }
    defer { gk_release(memory) }
    let scratch = memory.assumingMemoryBound(to: Double.self)
    var pass = ExamplePass(
        grads: given.grads, sums: sums == nil ? nil : given.others, examples: examples, maxNorms: max_norms,
        layers: max_norm_count, rule: rule, options: given.options, norms: norms ?? scratch,
        factors: factors ?? scratch + places.partialValue)
    pass.run()
    var known = gradclip_per_example_result(
        struct_size: stated, clipped: pass.clipped, nonfinite: pass.nonfinite, first_nonfinite: pass.firstNonfinite,
        sensitivity: pass.sensitivity, rounding_bound: pass.rounding)
    UnsafeMutableRawPointer(result).copyMemory(
        from: &known, byteCount: min(Int(stated), MemoryLayout<gradclip_per_example_result>.size))
    return 0
}

@_cdecl("gradclip_adapt_max_norm") @implementation
public func gradclip_adapt_max_norm(
    _ max_norm: Double, _ unclipped: Double, _ examples: Double, _ quantile: Double, _ rate: Double,
    _ adapted: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    if !isProper(max_norm) { return refuse("max_norm must be finite and >= 0", max_norm, 0) }
    if !isProper(unclipped.magnitude) { return refuse("unclipped must be finite", unclipped, 0) }
    if !isProper(examples) || examples == 0 { return refuse("examples must be finite and > 0", examples, 0) }
    if !isProper(quantile) || quantile > 1 { return refuse("quantile must be between 0 and 1", quantile, 0) }
    if !isProper(rate) { return refuse("rate must be finite and >= 0", rate, 0) }
    guard let adapted else { return refuse("adapted must not be NULL", .nan, 0) }
    let environment = gk_float_environment_enter()
    adapted.pointee = GradClip.adapted(
        maxNorm: max_norm, unclipped: unclipped, examples: examples, quantile: quantile, rate: rate)
    gk_float_environment_leave(environment)
    return 0
}
