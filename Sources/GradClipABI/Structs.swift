// The option and result structs, whose size the caller states: a shorter one is an
// older program's, a longer one a newer program's.
import CGradClip
import GradClip

/// The bytes of a struct that both sides know.
@inline(never)
func sharedSize(_ stated: UInt64, own: Int, _ name: StaticString) throws(ArgumentError) -> Int {
    if stated < 8 || stated > 4096 {
        throw ArgumentError(name, "must be initialised: struct_size is out of range", .unsigned(stated))
    }
    return min(Int(stated), own)
}

@inline(never)
func options(_ given: UnsafePointer<gradclip_options>?) throws(ArgumentError) -> ClipOptions {
    var result = ClipOptions()
    guard let given else { return result }
    let own = MemoryLayout<gradclip_options>.size
    let bytes = UnsafeRawPointer(given)
    let stated = bytes.loadUnaligned(as: UInt64.self)
    let size = try sharedSize(stated, own: own, "options")
    var known = defaults()
    withUnsafeMutableBytes(of: &known) { $0.baseAddress.unsafelyUnwrapped.copyMemory(from: bytes, byteCount: size) }
    for i in own..<max(own, Int(stated)) where bytes.load(fromByteOffset: i, as: UInt8.self) != 0 {
        throw ArgumentError(
            "options", "has a field this library does not know: the byte at this offset is not 0", .integer(i))
    }
    try check(eps: known.eps)
    try check(gradScale: known.grad_scale)
    guard let policy = NonfinitePolicy(rawValue: known.nonfinite) else {
        throw ArgumentError("nonfinite", "must be a GRADCLIP_NONFINITE_ policy", .unsigned(UInt64(known.nonfinite)))
    }
    if known.exact_f64 > 1 {
        throw ArgumentError("exact_f64", "must be 0 or 1", .unsigned(UInt64(known.exact_f64)))
    }
    if known.reserved != 0 {
        throw ArgumentError("reserved", "must be 0", .unsigned(UInt64(known.reserved)))
    }
    result.eps = known.eps
    result.gradScale = known.grad_scale
    result.nonfinite = policy
    result.exactFloat64 = known.exact_f64 == 1
    result.threads = Int(known.num_threads)
    return result
}

private func defaults() -> gradclip_options {
    let engine = ClipOptions()
    return gradclip_options(
        struct_size: UInt64(MemoryLayout<gradclip_options>.size), eps: engine.eps, grad_scale: engine.gradScale,
        nonfinite: engine.nonfinite.rawValue, exact_f64: 0, num_threads: 0, reserved: 0)
}

@_cdecl("gradclip_options_init") @implementation
public func gradclip_options_init(_ options: UnsafeMutablePointer<gradclip_options>!, _ struct_size: Int)
    -> gradclip_status
{
    call { () throws(ArgumentError) in
        guard let options else { throw ArgumentError("options", "must not be NULL", .null) }
        let own = MemoryLayout<gradclip_options>.size
        let size = try sharedSize(UInt64(bitPattern: Int64(struct_size)), own: own, "struct_size")
        var fresh = defaults()
        fresh.struct_size = UInt64(struct_size)
        initialise(UnsafeMutableRawPointer(options), struct_size, size, &fresh)
        return 0
    }
}

@_cdecl("gradclip_result_init") @implementation
public func gradclip_result_init(_ result: UnsafeMutablePointer<gradclip_result>!, _ struct_size: Int)
    -> gradclip_status
{
    call { () throws(ArgumentError) in
        guard let result else { throw ArgumentError("result", "must not be NULL", .null) }
        let own = MemoryLayout<gradclip_result>.size
        let size = try sharedSize(UInt64(bitPattern: Int64(struct_size)), own: own, "struct_size")
        var fresh = gradclip_result()
        fresh.struct_size = UInt64(struct_size)
        initialise(UnsafeMutableRawPointer(result), struct_size, size, &fresh)
        return 0
    }
}

/// Copies what is known and clears the rest.
private func initialise(
    _ to: UnsafeMutableRawPointer, _ whole: Int, _ known: Int, _ from: UnsafeRawPointer
) {
    to.copyMemory(from: from, byteCount: known)
    for i in known..<max(known, whole) { to.storeBytes(of: 0, toByteOffset: i, as: UInt8.self) }
}

/// Where a call's result goes, checked before the call does anything.
struct ResultSlot {
    private let destination: UnsafeMutableRawPointer?
    private let size: Int
    let tensorNorms: UnsafeMutablePointer<Double>?

    init(_ given: UnsafeMutablePointer<gradclip_result>?) throws(ArgumentError) {
        guard let given else {
            (destination, size, tensorNorms) = (nil, 0, nil)
            return
        }
        let own = MemoryLayout<gradclip_result>.size
        let bytes = UnsafeMutableRawPointer(given)
        size = try sharedSize(bytes.loadUnaligned(as: UInt64.self), own: own, "result")
        destination = bytes
        let offset = 64
        tensorNorms =
            size >= offset &+ 8
            ? bytes.loadUnaligned(fromByteOffset: offset, as: UnsafeMutablePointer<Double>?.self) : nil
    }

    @inline(never)
    func store(_ found: ClipResult) -> gradclip_status {
        if let destination {
            let stated = destination.loadUnaligned(as: UInt64.self)
            var known = gradclip_result(
                struct_size: stated, total_norm: found.totalNorm, clip_coef: found.clipCoef, factor: found.factor,
                nonfinite_count: found.nonfiniteCount, nan_count: found.nanCount,
                first_tensor: found.firstTensor, first_element: found.firstElement, tensor_norms: tensorNorms)
            destination.copyMemory(from: &known, byteCount: size)
        }
        return gradclip_status(found.isNonfinite ? GRADCLIP_NON_FINITE : GRADCLIP_OK)
    }
}
