// From a norm to the coefficient, without overflow or underflow on the way.
import CGradClipKernels

/// significand * 2^exponent with a float64 significand: a quotient that may lie
/// outside the range of float64.
struct Scaled {
    var significand: Double
    var exponent: Int

    /// Rounded to float64; 0 or infinite outside its range.
    @inline(never) var double: Double {
        if significand == 0 || !significand.isFinite { return significand }
        return Self.shift(significand, by: exponent)
    }

    /// x * 2^n, rounded once.
    @inline(never) static func shift(_ x: Double, by n: Int) -> Double {
        if n > 2200 { return x * 0x1p1023 * 0x1p1023 * 0x1p1023 }
        // Steps away from the subnormals first, so that only the last one rounds.
        var x = x
        var n = n
        while n > 1000 {
            x *= 0x1p1000
            n &-= 1000
        }
        while n < -900 && x.magnitude > 0x1p-20 {
            x *= 0x1p-900
            n &+= 900
        }
        // (Here x is at most 2^-20, so there is nothing left of it below 2^-1100.)
        if n < -1100 { return x * 0 }
        if n < -900 { return x * powerOfTwo(n / 2) * powerOfTwo(n &- n / 2) }
        return x * powerOfTwo(n)
    }

    private static func powerOfTwo(_ n: Int) -> Double {
        Double(bitPattern: UInt64(truncatingIfNeeded: n &+ 1023) << 52)
    }
}

extension NormValue {
    /// self / s for a finite s > 0, rounded once; 0 or infinite outside the range of float64.
    func double(dividedBy s: Double) -> Double { s == 1 ? double : divided(by: s).double }

    /// self / s for a finite s > 0.
    @inline(never) func divided(by s: Double) -> Scaled {
        if !isFinite || significand == 0 || s == 1 || isCount {
            // Rounded once, subnormals included.
            let value = double
            if value.isFinite || !isFinite { return Scaled(significand: value, exponent: 0) }
        }
        // The significand as a float64 in [1, 2], rounded once.
        let one = NormValue(significand: significand, exponent: 0, sticky: sticky).double
        let field = s.exponent
        return Scaled(significand: one / s.significand, exponent: exponent &- Int(field))
    }
}

/// min(1, max_norm / (total_norm + eps)), in float64.
///
/// The formula of torch.nn.utils.clip_grad_norm_; eps = 0 is that of optax and
/// TensorFlow. max_norm = 0 gives 0, an infinite max_norm 1, and so does
/// total_norm + eps = 0. `most` may stand for the 1 of the formula.
package func clipCoefficient(maxNorm: Double, totalNorm: Double, eps: Double, most: Double = 1) -> Double {
    if maxNorm == .infinity { return 1 }
    if totalNorm != totalNorm { return .nan }
    if maxNorm == 0 { return 0 }
    let denominator = totalNorm + eps
    if denominator == 0 { return 1 }
    // Where the sum overflows, halves of all three.
    if denominator == .infinity && totalNorm < .infinity {
        return min(most, maxNorm * 0.5 / (totalNorm * 0.5 + eps * 0.5))
    }
    return min(most, maxNorm / denominator)
}

@inline(never)
func clipCoefficient(maxNorm: Double, norm: NormValue, options: ClipOptions, most: Double = 1) -> Double {
    let rounded = norm.double(dividedBy: options.gradScale)
    let isRepresentable = rounded >= .leastNormalMagnitude && rounded < 0x1p1023
    if !norm.isFinite || norm.isZero || isRepresentable || maxNorm == 0 || maxNorm == .infinity {
        return clipCoefficient(maxNorm: maxNorm, totalNorm: rounded, eps: options.eps, most: most)
    }
    let total = norm.divided(by: options.gradScale)
    // Numerator and denominator scaled alike, by the larger exponent of norm and eps.
    let scale = options.eps > 0 ? max(total.exponent, Int(options.eps.exponent)) : total.exponent
    let numerator = Scaled.shift(maxNorm, by: 0 &- scale)
    let denominator =
        Scaled.shift(total.significand, by: total.exponent &- scale) + Scaled.shift(options.eps, by: 0 &- scale)
    return min(most, numerator / denominator)
}
