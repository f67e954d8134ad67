// The option and result structs, whose size the caller states: a shorter one is an
// older program's, a longer one a newer program's.
import CGradClip
import GradClip

/// The bytes of a struct that both sides know. `field` is where the size stands in an argument.
func sharedSize(
    _ stated: UInt64, own: Int, _ name: StaticString, field: StaticString = ".struct_size"
) throws(ArgumentError) -> Int {
    if stated < 8 || stated > 4096 {
        throw ArgumentError(name, "must be between 8 and 4096: initialise the struct", .unsigned(stated), field: field)
    }
    return min(Int(stated), own)
}

/// Copies what both sides know of a struct that is only read; the rest of `known` stays.
func read(
    _ given: UnsafeRawPointer, _ known: UnsafeMutableRawPointer, own: Int, _ name: StaticString
) throws(ArgumentError) {
    known.copyMemory(from: given, byteCount: try sharedSize(given.loadUnaligned(as: UInt64.self), own: own, name))
}

/// Overwrites defaults of `own` bytes with the fields of a given struct. What the
/// library does not know of it must be 0.
func overlay(
    _ known: UnsafeMutableRawPointer, by given: UnsafeRawPointer, own: Int, _ name: StaticString
) throws(ArgumentError) {
    let stated = given.loadUnaligned(as: UInt64.self)
    known.copyMemory(from: given, byteCount: try sharedSize(stated, own: own, name))
    for i in own..<max(own, Int(stated)) where given.load(fromByteOffset: i, as: UInt8.self) != 0 {
        throw ArgumentError(
            name, "has a field this library does not know: the byte at this offset is not 0", .integer(i))
    }
}

/// Says how many bytes there are to write where the caller told how much room there is.
func room(
    _ bytes: UnsafeMutableRawPointer?, _ size: UnsafeMutablePointer<Int>?, _ needed: Int
) throws(ArgumentError) {
    guard let size else { throw .null("size") }
    if bytes != nil && UInt(bitPattern: size.pointee) < UInt(bitPattern: needed) {
        throw ArgumentError("size", "is too small for the bytes", .size(size.pointee))
    }
    size.pointee = needed
}

func options(_ given: UnsafePointer<gradclip_options>?) throws(ArgumentError) -> ClipOptions {
    var result = ClipOptions()
    guard let given else { return result }
    var known = defaults()
    try overlay(&known, by: given, own: MemoryLayout<gradclip_options>.size, "options")
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
    var fresh = defaults()
    return initialise(options, struct_size, own: MemoryLayout<gradclip_options>.size, &fresh, "options")
}

@_cdecl("gradclip_result_init") @implementation
public func gradclip_result_init(_ result: UnsafeMutablePointer<gradclip_result>!, _ struct_size: Int)
    -> gradclip_status
{
    var fresh = gradclip_result()
    return initialise(result, struct_size, own: MemoryLayout<gradclip_result>.size, &fresh, "result")
}

/// Fills a struct of the caller's: copies what is known, says its size, clears the rest.
func initialise(
    _ given: UnsafeMutableRawPointer?, _ struct_size: Int, own: Int, _ fresh: UnsafeRawPointer,
    _ name: StaticString
) -> gradclip_status {
    do throws(ArgumentError) {
        guard let given else { throw .null(name) }
        let known = try sharedSize(UInt64(bitPattern: Int64(struct_size)), own: own, "struct_size", field: "")
        given.copyMemory(from: fresh, byteCount: known)
        given.storeBytes(of: UInt64(struct_size), as: UInt64.self)
        for i in known..<max(known, struct_size) { given.storeBytes(of: 0, toByteOffset: i, as: UInt8.self) }
        return 0
    } catch {
        return record(error)
    }
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
        typealias Field = UnsafeMutablePointer<Double>?
        let field = withUnsafeMutablePointer(to: &given.pointee.tensor_norms) { UnsafeRawPointer($0) }
        let isThere = bytes + size >= field + MemoryLayout<Field>.size
        tensorNorms = isThere ? field.loadUnaligned(as: Field.self) : nil
    }

    /// For functions that have nowhere else to say what they found.
    func checkIsThere() throws(ArgumentError) {
        if destination == nil { throw .null("result") }
    }

    /// For functions that measure no tensor of its own; `reason` says so.
    func checkNoTensorNorms(_ reason: StaticString) throws(ArgumentError) {
        if tensorNorms != nil { throw ArgumentError("result", reason, .pointer, field: ".tensor_norms") }
    }

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
