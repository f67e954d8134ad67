// The Swift API. (Left out of the embedded library, which has C callers only.)
#if !hasFeature(Embedded)
import CGradClipKernels

/// One gradient in memory that the caller owns: a pointer, a length, a type.
///
/// The memory must stay valid during the call it is passed to; nothing is kept.
/// The tensors of a list must not overlap.
public struct Gradient {
    // The layout that TensorList reads.
    let data: UnsafeMutableRawPointer?
    let length: Int
    let dtype: UInt32
    let flags: UInt32

    private init(_ data: UnsafeMutableRawPointer?, _ length: Int, _ dtype: Int, _ isCounted: Bool) {
        self.data = data
        self.length = length
        self.dtype = UInt32(dtype)
        flags = isCounted ? 0 : 1
    }

    /// - Parameter isCounted: false for a duplicate that is scaled with the others but
    ///   left out of the norm.
    public init(_ memory: UnsafeMutableBufferPointer<Float>, isCounted: Bool = true) {
        self.init(memory.baseAddress, memory.count, GK_F32, isCounted)
    }

    public init(_ memory: UnsafeMutableBufferPointer<Double>, isCounted: Bool = true) {
        self.init(memory.baseAddress, memory.count, GK_F64, isCounted)
    }

    /// IEEE half precision, given as its bits.
    public init(float16 memory: UnsafeMutableBufferPointer<UInt16>, isCounted: Bool = true) {
        self.init(memory.baseAddress, memory.count, GK_F16, isCounted)
    }

    /// bfloat16, given as its bits.
    public init(bfloat16 memory: UnsafeMutableBufferPointer<UInt16>, isCounted: Bool = true) {
        self.init(memory.baseAddress, memory.count, GK_BF16, isCounted)
    }
}

/// Clips gradients in place so that their norm is at most `maxNorm`.
///
/// The norm is `(Σ|x|^p)^(1/p)` over all elements, and every element is multiplied
/// by `min(1, maxNorm / (norm + eps)) / gradScale`, as
/// `torch.nn.utils.clip_grad_norm_` does. If that is 1, nothing is written. With
/// the policy `.leave`, non-finite gradients are left alone and the result says so.
///
/// - Parameters:
///   - maxNorm: the largest norm allowed; >= 0, may be infinite.
///   - normType: the order p; any number but NaN.
/// - Throws: `ArgumentError` for an argument out of range; nothing is written then.
@discardableResult
public func clipGradNorm(
    _ grads: [Gradient], maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    try checked(grads, options) { list throws(ArgumentError) in
        try check(maxNorm: maxNorm)
        try check(normType: normType)
        return clip(list, to: nil, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: nil)
    }
}

/// The same out of place: `outputs[i]` receives `grads[i]`, clipped. It has the
/// same length and type, and is the same memory or overlaps nothing.
@discardableResult
public func clipGradNorm(
    _ grads: [Gradient], into outputs: [Gradient], maxNorm: Double, normType: Double = 2,
    options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    try checked(grads, options) { list throws(ArgumentError) in
        try check(maxNorm: maxNorm)
        try check(normType: normType)
        if outputs.count != grads.count {
            throw ArgumentError("outputs", "must be as many as the gradients", .integer(outputs.count))
        }
        return try checked(outputs, options) { destinations throws(ArgumentError) in
            for i in outputs.indices
            where outputs[i].length != grads[i].length || outputs[i].dtype != grads[i].dtype {
                throw ArgumentError("outputs", "must have the length and the type of the gradient", .none, index: i)
            }
            return clip(
                list, to: destinations, maxNorm: maxNorm, normType: normType, options: options, tensorNorms: nil)
        }
    }
}

/// Only the norm; nothing is written.
public func totalNorm(
    of grads: [Gradient], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    try checked(grads, options) { list throws(ArgumentError) in
        try check(normType: normType)
        return totalNorm(list, maxNorm: .infinity, normType: normType, options: options, tensorNorms: nil).0
    }
}

/// The norm of each gradient; 0 for one that is empty or not counted.
public func norms(
    of grads: [Gradient], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> [Double] {
    var result = [Double](repeating: 0, count: grads.count)
    _ = try checked(grads, options) { list throws(ArgumentError) in
        try check(normType: normType)
        return result.withUnsafeMutableBufferPointer { norms in
            totalNorm(
                list, maxNorm: .infinity, normType: normType, options: options, tensorNorms: norms.baseAddress
            ).0
        }
    }
    return result
}

/// Clips in place by a norm that is known already.
@discardableResult
public func clipGrads(
    _ grads: [Gradient], maxNorm: Double, totalNorm: Double, options: ClipOptions = ClipOptions()
) throws(ArgumentError) -> ClipResult {
    try checked(grads, options) { list throws(ArgumentError) in
        try check(maxNorm: maxNorm)
        try check(totalNorm: totalNorm)
        return clip(list, maxNorm: maxNorm, totalNorm: totalNorm, options: options)
    }
}

/// Clamps every element to `[-clipValue, clipValue]`, in place.
public func clipGradValue(_ grads: [Gradient], clipValue: Double) throws(ArgumentError) {
    _ = try checked(grads, ClipOptions()) { list throws(ArgumentError) in
        try check(clipValue: clipValue)
        clamp(list, to: clipValue, threads: 0)
        return ClipResult()
    }
}

/// Checks a list and the options, and runs the body on the list in the library's
/// floating point environment.
private func checked(
    _ grads: [Gradient], _ options: ClipOptions, _ body: (TensorList) throws(ArgumentError) -> ClipResult
) throws(ArgumentError) -> ClipResult {
    let environment = gk_float_environment_enter()
    defer { gk_float_environment_leave(environment) }
    try options.check()
    var outcome: Result<ClipResult, ArgumentError>?
    grads.withUnsafeBytes { bytes in
        let list = TensorList(
            records: bytes.baseAddress, stride: MemoryLayout<Gradient>.stride, count: grads.count)
        do throws(ArgumentError) {
            outcome = .success(try body(list))
        } catch {
            outcome = .failure(error)
        }
    }
    return try outcome.unsafelyUnwrapped.get()
}
#endif
