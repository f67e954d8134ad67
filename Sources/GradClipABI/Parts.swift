// Clipping in parts: by tensor, by group, by root mean square.
import CGradClip
import CGradClipKernels
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
    let environment = gk_float_environment_enter()
    let status = clipParts(
        kind, grads, count, groups, maxNorms, maxNormCount, normType, options, result, partNorms, clipCoefs)
    gk_float_environment_leave(environment)
    return status
}

@inline(never)
private func clipParts(
    _ kind: PartKind, _ grads: UnsafePointer<gradclip_tensor>?, _ count: Int, _ groups: UnsafePointer<UInt32>?,
    _ maxNorms: UnsafePointer<Double>?, _ maxNormCount: Int, _ normType: Double,
    _ options: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?,
    _ partNorms: UnsafeMutablePointer<Double>?, _ clipCoefs: UnsafeMutablePointer<Double>?
) -> gradclip_status {
    var given = CallArguments()
    let status = given.take(grads, count, nil, "", options, result)
    if status < 0 { return status }
    if normType != normType { return refuse("norm_type must be a number", normType, 0) }
    if kind == .norm && maxNormCount != 1 && maxNormCount != count {
        return refuse("max_norm_count must be 1 or count", Double(maxNormCount), 0)
    }
    if maxNormCount < 0 || maxNormCount > Int.max / 4096 {
        return refuse("max_norm_count is no length of an array", Double(maxNormCount), 0)
    }
    if maxNormCount > 0 && maxNorms == nil {
        return refuse("max_norms must not be NULL where its count is this", Double(maxNormCount), 0)
    }
    for i in 0..<maxNormCount {
        let limit = maxNorms.unsafelyUnwrapped[i]
        if limit >= 0 { continue }
        if kind == .rootMeanSquare { return refuse("threshold must be a number >= 0", limit, 0) }
        return refuse("max_norms[] must be a number >= 0", limit, i)
    }
    if kind == .group {
        for i in 0..<count {
            guard let groups else { return refuse("groups must not be NULL where count is this", Double(count), 0) }
            if Int(groups[i]) >= maxNormCount {
                return refuse("groups[] must be below group_count", Double(groups[i]), i)
            }
        }
    }
    // (Without tensors groups may be NULL, and is some address instead.)
    let parts = Parts(
        groups: kind == .group ? groups ?? UnsafePointer(bitPattern: 4) : nil,
        count: kind == .group ? maxNormCount : count, maxNorms: maxNorms, stride: maxNormCount == 1 ? 0 : 1,
        isRootMeanSquare: kind == .rootMeanSquare)
    guard
        let found = clip(
            given.grads, in: parts, normType: normType, options: given.options, tensorNorms: given.slot.tensorNorms,
            partNorms: partNorms, clipCoefs: clipCoefs)
    else { return outOfMemory(maxNormCount) }
    return given.slot.store(found)
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
