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
    /// What is known of each group; its `offset` counts tensors whose norm is not 0.
    var partials: UnsafeMutablePointer<Partial>?

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

    /// Notes what a tensor came to; from any thread of a pass.
    @inline(never)
    func take(_ index: Int, _ own: inout Partial, _ norm: NormValue, _ options: ClipOptions, isShared: Bool) {
        if own.elements == 0 { return }
        if let groups {
            ThreadPool.lock(ifShared: isShared)
            let sum = partials.unsafelyUnwrapped + Int(groups[index])
            sum.pointee.merge(&own)
            if !norm.isZero { sum.pointee.offset &+= 1 }
            ThreadPool.unlock(ifShared: isShared)
        } else {
            var (options, norm) = (options, norm)
            var limit = maxNorms.unsafelyUnwrapped[index &* stride]
            if isRootMeanSquare {
                options.eps = 0
                // Both by the same power of two, so that limits at the ends lose nothing.
                if limit > 0 && limit < .infinity {
                    norm.exponent &-= Int(limit.exponent)
                    limit = limit.significand * gk_square_root(Double(own.elements))
                }
            }
            coefs.unsafelyUnwrapped[index] = clipCoefficient(maxNorm: limit, norm: norm, options: options)
        }
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
    let coefBytes = (parts.count &* 8 &+ 63) & ~63
    let sumBytes = isGrouped ? parts.count &* MemoryLayout<Partial>.stride : 0
    let limbBytes = isGrouped && options.exactFloat64 ? parts.count &* Int(GK_WIDE_LIMBS) &* 8 : 0
    let factorBytes = (grads.count &* 8 &+ 63) & ~63
    let bytes = coefBytes &+ factorBytes &+ limbBytes &+ sumBytes
    guard let memory = gk_allocate(bytes) else { throw .noMemory(isGrouped ? "group_count" : "count", bytes: bytes) }
    defer { gk_release(memory) }
    let coefs = clipCoefs ?? memory.assumingMemoryBound(to: Double.self)
    parts.coefs = coefs
    let factors = (memory + coefBytes).assumingMemoryBound(to: Double.self)
    let limbs = (memory + coefBytes + factorBytes).assumingMemoryBound(to: Int64.self)
    let partials = (memory + coefBytes + factorBytes + limbBytes).assumingMemoryBound(to: Partial.self)
    parts.partials = partials
    for i in 0..<parts.count {
        coefs[i] = 1
        if isGrouped {
            let wide = options.exactFloat64 ? limbs + i &* Int(GK_WIDE_LIMBS) : nil
            Partial.prepare(partials + i, type, scratch: nil, wide: wide)
        }
    }
    var (result, _) = totalNorm(
        grads, maxNorm: .infinity, normType: normType, options: options, tensorNorms: tensorNorms, parts: &parts)
    if isGrouped {
        for i in 0..<parts.count {
            let norm: NormValue =
                type.power == 0
                ? .count(partials[i].offset)
                : partials[i].norm(omitsNonfinite: options.nonfinite == .zero)
            partNorms?[i] = norm.divided(by: options.gradScale).double
            coefs[i] = clipCoefficient(maxNorm: parts.maxNorms.unsafelyUnwrapped[i], norm: norm, options: options)
        }
    }
    if settle(coefs, parts.count, &result, options) {
        let zeroes = options.nonfinite == .zero && result.nonfiniteCount > 0
        for i in 0..<grads.count { factors[i] = coefs[parts.groups.map { Int($0[i]) } ?? i] / options.gradScale }
        // (No factor for all: NaN is not 1.)
        scale(grads, to: nil, by: .nan, each: factors, zeroNonfinite: zeroes, threads: options.threads)
    }
    return result
}
