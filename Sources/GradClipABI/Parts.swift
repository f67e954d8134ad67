// Clipping in parts: by tensor, by group, by root mean square.
import CGradClip
import GradClip

enum PartKind { case norm, group, rootMeanSquare }

/// All three, so that what they share exists once.
@inline(never)
private func clip(
    _ kind: PartKind, _ grads: UnsafePointer<gradclip_tensor>?, _ count: Int, _ groups: UnsafePointer<UInt32>?,
    _ maxNorms: UnsafePointer<Double>?, _ maxNormCount: Int, _ normType: Double,
    _ options: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?,
    _ partNorms: UnsafeMutablePointer<Double>?, _ clipCoefs: UnsafeMutablePointer<Double>?
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try Given(grads, count, options, result).checked()
        try check(normType: normType)
        if kind == .norm && maxNormCount != 1 && maxNormCount != count {
            throw ArgumentError("max_norm_count", "must be 1 or count", .size(maxNormCount))
        }
        try check(
            count: maxNormCount, size: 4096, isNull: maxNorms == nil, "max_norms",
            counted: kind == .group ? "group_count" : "max_norm_count")
        if kind == .group && count > 0 && groups == nil { throw .null("groups") }
        // (Without tensors groups may be NULL, and is some address instead.)
        let parts = Parts(
            groups: kind == .group ? groups ?? UnsafePointer(bitPattern: 4) : nil,
            count: kind == .group ? maxNormCount : count, maxNorms: maxNorms, stride: maxNormCount == 1 ? 0 : 1,
            isRootMeanSquare: kind == .rootMeanSquare)
        try parts.check(tensors: count)
        return given.slot.store(
            try clip(
                given.grads, in: parts, normType: normType, options: given.options,
                tensorNorms: given.slot.tensorNorms, partNorms: partNorms, clipCoefs: clipCoefs))
    }
}

@_cdecl("gradclip_clip_by_norm") @implementation
public func gradclip_clip_by_norm(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ max_norms: UnsafePointer<Double>!,
    _ max_norm_count: Int, _ norm_type: Double, _ options: UnsafePointer<gradclip_options>!,
    _ result: UnsafeMutablePointer<gradclip_result>!, _ clip_coefs: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    clip(.norm, grads, count, nil, max_norms, max_norm_count, norm_type, options, result, nil, clip_coefs)
}

@_cdecl("gradclip_clip_by_group") @implementation
public func gradclip_clip_by_group(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ groups: UnsafePointer<UInt32>!,
    _ max_norms: UnsafePointer<Double>!, _ group_count: Int, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!,
    _ group_norms: UnsafeMutablePointer<Double>!, _ clip_coefs: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    clip(.group, grads, count, groups, max_norms, group_count, norm_type, options, result, group_norms, clip_coefs)
}

@_cdecl("gradclip_clip_by_block_rms") @implementation
public func gradclip_clip_by_block_rms(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ threshold: Double,
    _ options: UnsafePointer<gradclip_options>!, _ result: UnsafeMutablePointer<gradclip_result>!,
    _ clip_coefs: UnsafeMutablePointer<Double>!
) -> gradclip_status {
    withUnsafePointer(to: threshold) {
        clip(.rootMeanSquare, grads, count, nil, $0, 1, 2, options, result, nil, clip_coefs)
    }
}
