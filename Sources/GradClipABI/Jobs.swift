// What the C functions of each group have in common: check the numbers, call the
// engine, hand the result over.
import CGradClip
import GradClip

/// The lists of one call, made by the caller of these functions.
typealias MakeList = () throws(ArgumentError) -> TensorList

@inline(__always)
func clip(
    _ grads: MakeList, to outputs: ((TensorList) throws(ArgumentError) -> TensorList)? = nil,
    _ maxNorm: Double, _ normType: Double,
    _ given: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let grads = try grads()
        var destinations: TensorList?
        if let outputs { destinations = try outputs(grads) }
        return try clip(grads, destinations, maxNorm, normType, given, result)
    }
}

@inline(never) @_optimize(size)
private func clip(
    _ grads: TensorList, _ outputs: TensorList?, _ maxNorm: Double, _ normType: Double,
    _ given: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
) throws(ArgumentError) -> gradclip_status {
    try check(maxNorm: maxNorm)
    try check(normType: normType)
    let options = try options(given)
    let slot = try ResultSlot(result)
    return slot.store(
        GradClip.clip(
            grads, to: outputs, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: slot.tensorNorms))
}

@inline(__always)
func totalNorm(
    _ grads: MakeList, _ normType: Double,
    _ given: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
) -> gradclip_status {
    call { () throws(ArgumentError) in try measure(try grads(), nil, normType, given, result) }
}

@inline(__always)
func deferClip(
    _ grads: MakeList, _ maxNorm: Double, _ normType: Double,
    _ given: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
) -> gradclip_status {
    call { () throws(ArgumentError) in try measure(try grads(), maxNorm, normType, given, result) }
}

/// `maxNorm` nil: only the norm.
@inline(never)
private func measure(
    _ grads: TensorList, _ maxNorm: Double?, _ normType: Double,
    _ given: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
) throws(ArgumentError) -> gradclip_status {
    if let maxNorm { try check(maxNorm: maxNorm) }
    try check(normType: normType)
    let options = try options(given)
    guard let result else { throw .null("result") }
    let slot = try ResultSlot(result)
    if let maxNorm {
        return slot.store(
            GradClip.deferClip(
                grads, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: slot.tensorNorms))
    }
    var (found, _) = GradClip.totalNorm(
        grads, maxNorm: .infinity, normType: normType, options: options, tensorNorms: slot.tensorNorms)
    found.factor = 1 / options.gradScale
    return slot.store(found)
}

@inline(__always)
func clipWithNorm(
    _ grads: MakeList, _ maxNorm: Double, _ totalNorm: Double,
    _ given: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
) -> gradclip_status {
    call { () throws(ArgumentError) in try clipWithNorm(try grads(), maxNorm, totalNorm, given, result) }
}

@inline(never) @_optimize(size)
private func clipWithNorm(
    _ grads: TensorList, _ maxNorm: Double, _ totalNorm: Double,
    _ given: UnsafePointer<gradclip_options>?, _ result: UnsafeMutablePointer<gradclip_result>?
) throws(ArgumentError) -> gradclip_status {
    try check(maxNorm: maxNorm)
    try check(totalNorm: totalNorm)
    let options = try options(given)
    let slot = try ResultSlot(result)
    if slot.tensorNorms != nil {
        throw ArgumentError("result", "must be NULL: the gradients are not measured", .pointer, field: ".tensor_norms")
    }
    return slot.store(GradClip.clip(grads, maxNorm: maxNorm, totalNorm: totalNorm, options: options))
}

@inline(__always)
func clipValue(_ grads: MakeList, _ limit: Double, _ given: UnsafePointer<gradclip_options>?) -> gradclip_status {
    call { () throws(ArgumentError) in try clipValue(try grads(), limit, given) }
}

@inline(never) @_optimize(size)
private func clipValue(
    _ grads: TensorList, _ limit: Double, _ given: UnsafePointer<gradclip_options>?
) throws(ArgumentError) -> gradclip_status {
    try check(clipValue: limit)
    let options = try options(given)
    GradClip.clamp(grads, to: limit, threads: options.threads)
    return 0
}
