// Clipping in parts: each tensor by its own norm, or each group of tensors by that
// of the group.
import CGradClipKernels
import CGradClipSystem
import GradClipKernels

/// The parts of a list and what they may come to.
package struct Parts {
    /// Of each tensor; nil: every tensor is a part.
    let groups: UnsafePointer<UInt32>?
    let count: Int
    let maxNorms: UnsafePointer<Double>?
    /// How far apart they lie: 0 where one holds for all parts.
    let stride: Int
    /// The limits are for norm / sqrt(length).
    let isRootMeanSquare: Bool
    /// What each part is to be multiplied by, apart from 1 / gradScale.
    var coefs: UnsafeMutablePointer<Double>?
    /// What each group adds up to.
    var totals: UnsafeMutablePointer<Total>?

    package init(
        groups: UnsafePointer<UInt32>?, count: Int, maxNorms: UnsafePointer<Double>?, stride: Int,
        isRootMeanSquare: Bool = false
    ) {
        self.groups = groups
        self.count = count
        self.maxNorms = maxNorms
        self.stride = stride
        self.isRootMeanSquare = isRootMeanSquare
    }

    /// Adds what a tensor came to to its group; from any thread of a pass.
    @inline(never)
    func add(_ index: Int, _ own: inout Partial, isZero: Bool, isShared: Bool) {
        ThreadPool.lock(ifShared: isShared)
        let total = totals.unsafelyUnwrapped + Int(groups.unsafelyUnwrapped[index])
        total.pointee.sums.merge(&own)
        if !isZero { total.pointee.nonzeroTensors &+= 1 }
        ThreadPool.unlock(ifShared: isShared)
    }

    /// Notes the coefficient of a tensor that is a part.
    func note(_ index: Int, _ norm: NormValue, elements: Int, _ options: ClipOptions) {
        var (options, norm) = (options, norm)
        var limit = maxNorms.unsafelyUnwrapped[index &* stride]
        if isRootMeanSquare {
            options.eps = 0
            // Both by the same power of two, so that limits at the ends lose nothing.
            if limit > 0 && limit < .infinity {
                norm.exponent &-= Int(limit.exponent)
                limit = limit.significand * gk_square_root(Double(elements))
            }
        }
        coefs.unsafelyUnwrapped[index] = clipCoefficient(maxNorm: limit, norm: norm, options: options)
    }
}

/// Clips each part in place. Of the arrays that receive something, all but `tensorNorms`
/// have one element a part. Throws if there is no memory; then nothing was done.
@inline(never)
package func clip(
    _ grads: TensorList, in given: Parts, normType: Double, options: ClipOptions,
    tensorNorms: UnsafeMutablePointer<Double>?, partNorms: UnsafeMutablePointer<Double>?,
    clipCoefs: UnsafeMutablePointer<Double>?
) throws(ArgumentError) -> ClipResult {
    var parts = given
    let type = NormType(normType)
    let isGrouped = parts.groups != nil
    let coefBytes = (parts.count &* MemoryLayout<Double>.stride &+ 63) & ~63
    let sumBytes = isGrouped ? parts.count &* MemoryLayout<Total>.stride : 0
    let limbBytes = isGrouped && options.exactFloat64 ? parts.count &* MemoryLayout<gk_wide_limbs>.size : 0
    let factorBytes = (grads.count &* MemoryLayout<Double>.stride &+ 63) & ~63
    let bytes = coefBytes &+ factorBytes &+ limbBytes &+ sumBytes
    guard let memory = gk_allocate(bytes) else { throw .noMemory(isGrouped ? "group_count" : "count", bytes: bytes) }
    defer { gk_release(memory) }
    let coefs = clipCoefs ?? memory.assumingMemoryBound(to: Double.self)
    parts.coefs = coefs
    let factors = (memory + coefBytes).assumingMemoryBound(to: Double.self)
    let limbs = (memory + coefBytes + factorBytes).assumingMemoryBound(to: Int64.self)
    let totals = (memory + coefBytes + factorBytes + limbBytes).assumingMemoryBound(to: Total.self)
    parts.totals = totals
    for i in 0..<parts.count {
        coefs[i] = 1
        if isGrouped {
            let wide = options.exactFloat64 ? limbs + i &* Int(GK_WIDE_LIMBS) : nil
            (totals + i).initialize(to: Total(type, limbs: wide))
        }
    }
    var result = ClipResult(
        measure(grads, normType: normType, options: options, tensorNorms: tensorNorms, parts: &parts), options)
    if isGrouped {
        for i in 0..<parts.count {
            let norm = totals[i].finding(omitsNonfinite: options.nonfinite == .zero).norm
            partNorms?[i] = norm.double(dividedBy: options.gradScale)
            coefs[i] = clipCoefficient(maxNorm: parts.maxNorms.unsafelyUnwrapped[i], norm: norm, options: options)
        }
    }
    result.settle(coefs, parts.count, options)
    if result.isNonfinite || !result.writes(options) { return result }
    for i in 0..<grads.count { factors[i] = options.factor(of: coefs[parts.groups.map { Int($0[i]) } ?? i]) }
    scale(grads, to: nil, as: result, each: factors, options)
    return result
}
