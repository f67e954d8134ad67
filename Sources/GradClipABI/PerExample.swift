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
    call { () throws(ArgumentError) in
        let given = try CallArguments(grads, count, others: sums, named: sums == nil ? nil : "sums", options, nil)
        try checkExamples(given, examples, hasSums: sums != nil)
        if max_norm_count != 1 && max_norm_count != count {
            throw ArgumentError("max_norm_count", "must be 1 or count", .size(max_norm_count))
        }
        if max_norm_count > 0 && max_norms == nil { throw .null("max_norms") }
        for i in 0..<max_norm_count {
            let limit = max_norms.unsafelyUnwrapped[i]
            try check(proper: limit, "max_norms", index: i)
            // (A subnormal one is below what norms are rounded up to.)
            if limit > 0 && limit < .leastNormalMagnitude {
                throw ArgumentError("max_norms", "must be 0 or at least DBL_MIN", .number(limit), index: i)
            }
        }
        if rule > 2 { throw ArgumentError("rule", "must be a GRADCLIP_EXAMPLE_ rule", .unsigned(UInt64(rule))) }
        guard let result else { throw .null("result") }
        let stated = UnsafeRawPointer(result).loadUnaligned(as: UInt64.self)
        let size = try sharedSize(stated, own: MemoryLayout<gradclip_per_example_result>.size, "result")
        let places = examples.multipliedReportingOverflow(by: max(1, max_norm_count))
        let bytes = places.overflow ? Int.max : (min(places.partialValue, Int.max / 64) &+ 1) &* 16
        guard let memory = gk_allocate(bytes) else { throw .noMemory("examples", bytes: bytes) }
        defer { gk_release(memory) }
        let scratch = memory.assumingMemoryBound(to: Double.self)
        var pass = ExamplePass(
            grads: given.grads, sums: sums == nil ? nil : given.others, examples: examples, maxNorms: max_norms,
            layers: max_norm_count, rule: rule, options: given.options, norms: norms ?? scratch,
            factors: factors ?? scratch + places.partialValue)
        pass.run()
        var known = gradclip_per_example_result(
            struct_size: stated, clipped: pass.clipped, nonfinite: pass.nonfinite,
            first_nonfinite: pass.firstNonfinite, sensitivity: pass.sensitivity, rounding_bound: pass.rounding)
        UnsafeMutableRawPointer(result).copyMemory(from: &known, byteCount: size)
        return 0
    }
}

/// Of no examples, as Poisson sampling may draw them, gradients have no elements, and sums any length.
private func checkExamples(
    _ given: CallArguments, _ examples: Int, hasSums: Bool
) throws(ArgumentError) {
    if examples < 0 { throw ArgumentError("examples", "is more than memory can hold", .size(examples)) }
    for i in 0..<given.grads.count {
        let length = given.grads[i].length
        if examples == 0 ? length != 0 : length % examples != 0 {
            throw ArgumentError(
                "grads", "must be a multiple of examples", .size(length), index: i, field: ".length")
        }
        if !hasSums { continue }
        let sum = given.others[i]
        if sum.dtype != .float32 && sum.dtype != .float64 {
            throw ArgumentError(
                "sums", "must be GRADCLIP_F32 or F64", .unsigned(UInt64(sum.dtype.rawValue)), index: i, field: ".dtype")
        }
        if examples > 0 && sum.length != length / examples {
            throw ArgumentError("sums", "must be that of one example", .size(sum.length), index: i, field: ".length")
        }
    }
}

@_cdecl("gradclip_adapt_max_norm") @implementation
public func gradclip_adapt_max_norm(
    _ max_norm: Double, _ unclipped: Double, _ examples: Double, _ quantile: Double, _ rate: Double,
    _ adapted: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        try check(proper: max_norm, "max_norm")
        if !unclipped.isFinite { throw ArgumentError("unclipped", "must be finite", .number(unclipped)) }
        if !(examples > 0 && examples < .infinity) {
            throw ArgumentError("examples", "must be finite and > 0", .number(examples))
        }
        if !(quantile >= 0 && quantile <= 1) {
            throw ArgumentError("quantile", "must be between 0 and 1", .number(quantile))
        }
        try check(proper: rate, "rate")
        guard let adapted else { throw .null("adapted") }
        adapted.pointee = GradClip.adapted(
            maxNorm: max_norm, unclipped: unclipped, examples: examples, quantile: quantile, rate: rate)
        return 0
    }
}
