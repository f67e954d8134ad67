// Norms with more precision and range than a float64, until the end.
import CGradClipKernels
import GradClipKernels

/// A norm: significand * 2^(exponent - 63), a little more if `sticky`; or NaN, or
/// an infinity that came from an infinite element.
package struct NormValue {
    var isNaN = false
    var isInfinite = false
    var isCount = false
    var isFinite: Bool { !isNaN && !isInfinite }
    /// The top bit is set, or it is 0.
    var significand: UInt64 = 0
    var exponent = 0
    /// Nonzero bits follow behind the significand.
    var sticky = false

    static var zero: NormValue { NormValue() }
    static var infinity: NormValue { NormValue(isNaN: false, isInfinite: true) }
    static var nan: NormValue { NormValue(isNaN: true, isInfinite: false) }

    /// A finite number >= 0, exactly.
    init(_ value: Double) {
        if value == 0 { return }
        let field = Int(value.bitPattern >> 52)
        let fraction = value.bitPattern & 0xf_ffff_ffff_ffff
        let bits = field > 0 ? fraction | 1 << 52 : fraction
        let shift = bits.leadingZeroBitCount
        significand = bits << UInt64(shift)
        exponent = max(1, field) &- 1012 &- shift
    }

    private init(isNaN: Bool = false, isInfinite: Bool = false) {
        self.isNaN = isNaN
        self.isInfinite = isInfinite
    }

    init(significand: UInt64, exponent: Int, sticky: Bool) {
        self.significand = significand
        self.exponent = exponent
        self.sticky = sticky
    }

    /// A number of elements or tensors, which no scale divides.
    static func count(_ count: UInt64) -> NormValue {
        var result = NormValue(Double(count))
        result.isCount = true
        return result
    }

    var isZero: Bool { isFinite && significand == 0 }

    /// Rounded once, to nearest, ties to even; infinite above the largest float64.
    var double: Double {
        if isNaN { return .nan }
        if isInfinite { return .infinity }
        if significand == 0 || exponent < -1080 { return 0 }
        if exponent > 1023 { return .infinity }
        if exponent >= -1022 {
            // 53 bits remain. A carry out of the significand moves into the exponent field as it should.
            let kept = significand >> 11
            let rest = significand & 0x7ff
            let isUp = rest > 0x400 || rest == 0x400 && (sticky || kept & 1 == 1)
            return Double(bitPattern: UInt64(exponent &+ 1022) << 52 &+ kept &+ (isUp ? 1 : 0))
        }
        // Fewer remain of a subnormal.
        let drop = UInt64(11 &+ -1022 &- exponent)
        let kept = drop < 64 ? significand >> drop : 0
        let half: UInt64 = drop <= 64 ? 1 << (drop &- 1) : 0
        let rest = drop < 64 ? significand & ((1 << drop) &- 1) : significand
        let isUp = drop <= 64 && (rest > half || rest == half && (sticky || kept & 1 == 1))
        return Double(bitPattern: kept &+ (isUp ? 1 : 0))
    }
}

extension NormValue {
    /// (sum)^(1/p), correctly rounded for p = 1 and 2 and an exact sum. The sum is not
    /// negative; its carries are propagated here.
    static func root(of sum: ExactSum.Sum, power: Double, isExact: Bool) -> NormValue {
        if sum.pointee.base == GK_EMPTY { return zero }
        return root(
            of: ExactSum.limbs(sum), count: Int(GK_LIMBS), base: Int(sum.pointee.base), power: power,
            isExact: isExact)
    }

    static func root(
        of limbs: UnsafeMutablePointer<Int64>, count: Int, base: Int, power: Double, isExact: Bool
    ) -> NormValue {
        ExactSum.propagate(limbs, count: count)
        let bits = LimbBits(limbs, count: count, isExact: isExact)
        guard let highest = bits.highest else { return power > 0 ? zero : infinity }
        let origin = base &* 40
        if power == 2 {
            // 127 or 128 bits from an even position.
            let low = (highest &- 126) & ~1
            let (root, isPerfect) = squareRoot(bits.word(at: low &+ 64), bits.word(at: low))
            return NormValue(
                significand: root, exponent: 63 &+ (low &+ origin) / 2, sticky: !isPerfect || bits.any(below: low))
        }
        let low = highest &- 63
        let value = NormValue(
            significand: bits.word(at: low), exponent: highest &+ origin, sticky: bits.any(below: low))
        return power == 1 ? value : value.raised(toReciprocalOf: power)
    }

    /// The root of sum * 2^exponent, or that itself, correctly rounded; the sum is not 0.
    static func root(of sum: UInt128, exponent: Int, isSquare: Bool) -> NormValue {
        var shift = sum.leadingZeroBitCount
        // 127 or 128 bits from an even position. (The sum has at most 116.)
        if isSquare && (exponent &- shift) & 1 != 0 { shift &-= 1 }
        let moved = sum << UInt128(shift)
        let (high, low) = (UInt64(truncatingIfNeeded: moved >> 64), UInt64(truncatingIfNeeded: moved))
        let origin = exponent &- shift
        if isSquare {
            let (root, isPerfect) = squareRoot(high, low)
            return NormValue(significand: root, exponent: 63 &+ origin / 2, sticky: !isPerfect)
        }
        return NormValue(significand: high, exponent: 127 &+ origin, sticky: low != 0)
    }

    /// floor(sqrt(high * 2^64 + low)) for an argument of 127 or 128 bits, and whether
    /// that is all of it.
    static func squareRoot(_ high: UInt64, _ low: UInt64) -> (root: UInt64, isPerfect: Bool) {
        let argument = UInt128(high) << 64 | UInt128(low)
        // (Half of the root, so that all is signed, which processors convert at once.)
        let half = min(gk_square_root(Double(Int64(high >> 1)) * 0x1p63), (0x1p63 as Double).nextDown)
        var root = UInt64(Int64(half)) << 1
        // One Newton step in integers; the estimate is good to 2^12, so this one to 1.
        let error = Int128(truncatingIfNeeded: argument &- UInt128(root) &* UInt128(root))
        let step = Int64(Double(Int64(truncatingIfNeeded: error >> 32)) * 0x1p30 / half)
        let (moved, overflows) = root.addingReportingOverflow(UInt64(bitPattern: step))
        root = step > 0 && overflows ? .max : moved
        // What is left is at least 0 and at most twice the root.
        var rest = Int128(truncatingIfNeeded: argument &- UInt128(root) &* UInt128(root))
        while rest < 0 {
            rest &+= Int128(root) &* 2 &- 1
            root &-= 1
        }
        while rest > Int128(root) &* 2 {
            root &+= 1
            rest &-= Int128(root) &* 2 &- 1
        }
        return (root, rest == 0)
    }

    /// self^(1/p), to about 2^-60 * max(1, 1/|p|), in integers.
    func raised(toReciprocalOf power: Double) -> NormValue {
        // log2 as fixed point with 64 fraction bits; the magnitude of log2 divided by |p|.
        let logarithm = Int128(exponent) << 64 &+ Int128(Self.fractionOfLogarithm(significand))
        let quotient = Self.divide(logarithm.magnitude, by: power.magnitude)
        guard let quotient else {
            return (logarithm < 0) == (power < 0)
                ? NormValue(significand: 1 << 63, exponent: 1 << 40, sticky: true) : .zero
        }
        let signed = (logarithm < 0) == (power < 0) ? Int128(quotient) : 0 &- Int128(quotient)
        let fraction = UInt64(truncatingIfNeeded: signed)
        return NormValue(
            significand: Self.exponential(fraction), exponent: Int(truncatingIfNeeded: signed >> 64), sticky: true)
    }

    /// log2 of significand / 2^63, as a 64-bit fraction: squaring doubles the
    /// logarithm, and each time it passes 1 that is its next bit.
    static func fractionOfLogarithm(_ significand: UInt64) -> UInt64 {
        var x = significand
        var result: UInt64 = 0
        for bit in 1...60 {
            let square = x.multipliedFullWidth(by: x)
            if square.high >> 63 == 1 {
                result |= 1 << UInt64(64 &- bit)
                x = square.high
            } else {
                x = square.high << 1 | square.low >> 63
            }
        }
        return result
    }

    /// 2^(fraction / 2^64) * 2^63, by the exponential series in fixed point.
    static func exponential(_ fraction: UInt64) -> UInt64 {
        let ln2: UInt64 = 0xb172_17f7_d1cf_79ab  // ln 2 * 2^64
        let z = fraction.multipliedFullWidth(by: ln2).high
        var term = z
        var sum = UInt128(1) << 64
        var k: UInt64 = 1
        while term != 0 {
            sum &+= UInt128(term)
            k &+= 1
            term = term.multipliedFullWidth(by: z).high / k
        }
        let result = UInt64(truncatingIfNeeded: sum >> 1)
        return result >> 63 == 1 ? result : .max
    }

    /// numerator / divisor for a positive float64; nil if that is 2^112 or more.
    static func divide(_ numerator: UInt128, by divisor: Double) -> UInt128? {
        let field = Int(divisor.bitPattern >> 52)
        let fraction = divisor.bitPattern & 0xf_ffff_ffff_ffff
        let significand = UInt128(field > 0 ? fraction | 1 << 52 : fraction)
        // numerator / significand * 2^-exponent, bit by bit.
        let exponent = max(1, field) &- 1075
        var quotient: UInt128 = 0
        var remainder: UInt128 = 0
        var bit = 127
        while bit >= 0 || bit >= exponent {
            let next = bit >= 0 ? numerator >> UInt128(bit) & 1 : 0
            if bit < exponent { break }
            remainder = remainder << 1 | next
            quotient <<= 1
            if remainder >= significand {
                remainder &-= significand
                quotient |= 1
            }
            if quotient >> 112 != 0 { return nil }
            bit &-= 1
        }
        return quotient
    }
}

/// The bits of a sum whose carries are propagated. Position 0 is the lowest bit of
/// the lowest limb; positions below that read as zeros.
struct LimbBits {
    let limbs: UnsafeMutablePointer<Int64>
    let count: Int
    let lowest: Int
    let highest: Int?

    /// Of sums that are not exact only the upper 320 bits count, so that what fell
    /// out of the window cannot matter.
    init(_ limbs: UnsafeMutablePointer<Int64>, count: Int, isExact: Bool) {
        self.limbs = limbs
        self.count = count
        var top = count &- 1
        while top >= 0 && limbs[top] == 0 { top &-= 1 }
        highest = top < 0 ? nil : top &* 40 &+ 63 &- limbs[top].leadingZeroBitCount
        lowest = isExact ? 0 : max(0, top &- 7)
    }

    /// The 64 bits from a position upwards.
    func word(at position: Int) -> UInt64 {
        var word: UInt64 = 0
        // (The last limb has up to 63 bits.)
        let first = max(lowest, (position &- 63) / 40)
        let last = min(count &- 1, (position &+ 63) / 40)
        for i in stride(from: first, through: last, by: 1) {
            let limb = UInt64(bitPattern: limbs[i])
            let shift = i &* 40 &- position
            if shift >= 0 && shift < 64 { word |= limb << UInt64(shift) }
            if shift < 0 && shift > -64 { word |= limb >> UInt64(0 &- shift) }
        }
        return word
    }

    func any(below position: Int) -> Bool {
        for i in lowest..<count {
            let below = position &- i &* 40
            if below <= 0 { return false }
            let mask: UInt64 = below >= 64 ? .max : (1 << UInt64(below)) &- 1
            if UInt64(bitPattern: limbs[i]) & mask != 0 { return true }
        }
        return false
    }
}
