// Adaptive gradient clipping.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClip

@_cdecl("gradclip_adaptive_clip_grad") @implementation
public func gradclip_adaptive_clip_grad(
    _ grads: UnsafePointer<gradclip_tensor>!, _ weights: UnsafePointer<gradclip_tensor>!,
    _ units: UnsafePointer<gradclip_units>!, _ count: Int, _ clip_factor: Double, _ eps: Double,
    _ norm_type: Double, _ options: UnsafePointer<gradclip_options>!,
    _ result: UnsafeMutablePointer<gradclip_result>!, _ clip_coefs: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try CallArguments(grads, count, others: weights, named: "weights", options, result)
        if count > 0 && units == nil { throw .null("units") }
        let shapes = UnsafeRawPointer(units)?.assumingMemoryBound(to: UnitShape.self)
        var unitCount = 0
        for i in 0..<count {
            let expected = given.grads[i].length
            let found = given.others[i].length
            if found != expected {
                throw ArgumentError(
                    "weights", "must be that of the gradient", .size(found), index: i, field: ".length")
            }
            let shape = shapes.unsafelyUnwrapped[i]
            try check(shape, expected, i)
            // (Of empty tensors there may be any number of units.)
            let (sum, overflows) = unitCount.addingReportingOverflow(shape.units)
            unitCount = overflows ? Int.max : sum
        }
        try check(proper: clip_factor, "clip_factor")
        try check(proper: eps, "eps")
        if !(norm_type > 0) { throw ArgumentError("norm_type", "must be a number > 0", .number(norm_type)) }
        if given.slot.tensorNorms != nil {
            throw ArgumentError("result", "must be NULL: units are measured", .pointer, field: ".tensor_norms")
        }
        let bytes = UnitPass.size &+ min(unitCount, Int.max / 64) &* 8
        guard let memory = gk_allocate(bytes) else { throw .noMemory("units", bytes: bytes) }
        defer { gk_release(memory) }
        var found = ClipResult()
        guard let shapes else { return given.slot.store(found) }
        var pass = UnitPass(
            grads: given.grads, weights: given.others, shapes: shapes, clipFactor: clip_factor, eps: eps,
            normType: norm_type, options: given.options, memory: memory)
        let bad = pass.run(unitCount, &found)
        if bad >= 0 {
            throw ArgumentError("weights", "must be finite, and has a NaN or an infinity", .none, index: bad)
        }
        clip_coefs?.update(from: pass.coefs, count: unitCount)
        return given.slot.store(found)
    }
}

/// outer * reduced * inner must be the length of the gradient.
private func check(_ units: UnitShape, _ length: Int, _ index: Int) throws(ArgumentError) {
    try check(units.outer, ".outer", index)
    try check(units.reduced, ".reduced", index)
    try check(units.inner, ".inner", index)
    let (first, overflows) = units.outer.multipliedReportingOverflow(by: units.inner)
    let (all, overflow) = first.multipliedReportingOverflow(by: units.reduced)
    if overflows || overflow {
        throw ArgumentError(
            "units", "is too many with the others", .size(units.outer), index: index, field: ".outer")
    }
    if all != length {
        throw ArgumentError(
            "units", "must have as product of outer, reduced and inner the gradient's length", .size(all), index: index)
    }
}

private func check(_ extent: Int, _ field: StaticString, _ index: Int) throws(ArgumentError) {
    if extent < 0 {
        throw ArgumentError("units", "is more than memory can hold", .size(extent), index: index, field: field)
    }
}
