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
        let given = try Given(
            .tensors(grads, count), others: sums == nil ? nil : .tensors(sums, count), named: "sums", options, nil
        ).checked()
        try ExampleClip.check(
            grads: given.grads, sums: given.others, examples: examples, maxNorms: max_norms, layers: max_norm_count)
        if rule > 2 { throw ArgumentError("rule", "must be a GRADCLIP_EXAMPLE_ rule", .unsigned(UInt64(rule))) }
        guard let result else { throw .null("result") }
        let stated = UnsafeRawPointer(result).loadUnaligned(as: UInt64.self)
        let size = try sharedSize(stated, own: MemoryLayout<gradclip_per_example_result>.size, "result")
        let places = examples.multipliedReportingOverflow(by: max(1, max_norm_count))
        let bytes =
            places.overflow
            ? Int.max : (min(places.partialValue, Int.max / 64) &+ 1) &* 2 &* MemoryLayout<Double>.stride
        guard let memory = gk_allocate(bytes) else { throw .noMemory("examples", bytes: bytes) }
        defer { gk_release(memory) }
        let scratch = memory.assumingMemoryBound(to: Double.self)
        var clip = ExampleClip(
            grads: given.grads, sums: given.others, examples: examples, maxNorms: max_norms,
            layers: max_norm_count, rule: rule, options: given.options, norms: norms ?? scratch,
            factors: factors ?? scratch + places.partialValue)
        clip.run()
        var known = gradclip_per_example_result(
            struct_size: stated, clipped: clip.counts.clipped, nonfinite: clip.counts.nonfinite,
            first_nonfinite: clip.counts.firstNonfinite, sensitivity: clip.sensitivity, rounding_bound: clip.rounding)
        UnsafeMutableRawPointer(result).copyMemory(from: &known, byteCount: size)
        return 0
    }
}

@_cdecl("gradclip_adapt_max_norm") @implementation
public func gradclip_adapt_max_norm(
    _ max_norm: Double, _ unclipped: Double, _ examples: Double, _ quantile: Double, _ rate: Double,
    _ adapted: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        try checkAdapted(
            maxNorm: max_norm, unclipped: unclipped, examples: examples, quantile: quantile, rate: rate)
        guard let adapted else { throw .null("adapted") }
        adapted.pointee = GradClip.adapted(
            maxNorm: max_norm, unclipped: unclipped, examples: examples, quantile: quantile, rate: rate)
        return 0
    }
}
