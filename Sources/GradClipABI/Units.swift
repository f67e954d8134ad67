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
        let given = try Given(
            .tensors(grads, count), others: .tensors(weights, count), named: "weights", options, result
        ).checked()
        let weights = given.others.unsafelyUnwrapped
        let unitCount = try UnitPass.check(
            grads: given.grads, weights: weights, shapes: units, clipFactor: clip_factor, eps: eps,
            normType: norm_type)
        try given.slot.checkNoTensorNorms("must be NULL: units are measured")
        let bytes = UnitPass.size &+ min(unitCount, Int.max / 64) &* MemoryLayout<Double>.stride
        guard let memory = gk_allocate(bytes) else { throw .noMemory("units", bytes: bytes) }
        defer { gk_release(memory) }
        var found = ClipResult()
        guard let units else { return given.slot.store(found) }
        var pass = UnitPass(
            grads: given.grads, weights: weights, shapes: units, clipFactor: clip_factor, eps: eps,
            normType: norm_type, options: given.options, memory: memory)
        try pass.run(unitCount, &found)
        clip_coefs?.update(from: pass.coefs, count: unitCount)
        return given.slot.store(found)
    }
}
