// The element d that terms (|x| / d)^p of a block are relative to, and the way back.
import CGradClipKernels
import GradClipKernels

extension gk_dominant {
    /// By its logarithm.
    init(_ value: Double, power: Double) {
        let parts = logarithm(SIMD8(repeating: value))
        self.init(power: power, exponent: parts.exponent[0], fraction: parts.fraction[0], tables: nil)
    }

    /// The power of two at or below it, for tables of powers.
    init(below value: Double, power: Double, _ tables: UnsafePointer<gk_power_tables>) {
        self.init(power: power, exponent: Double(exponentAbove(value) &- 1), fraction: 0, tables: tables)
    }

    /// sum * d^p, added to `total`.
    func add(_ sum: Double, to total: ExactSum.Sum) {
        // p * exponent exactly: the upper forty bits of p and the rest.
        let upper = Double(bitPattern: power.bitPattern & ~0x1fff)
        let large = upper * exponent
        let small = (power - upper) * exponent + power * fraction
        let whole = floor(large)
        let rest = (large - whole) + small
        let restWhole = floor(rest)
        let scaled = sum * exponential(SIMD8(repeating: rest - restWhole - 1))[0] * 2
        let binary = Int(scaled.bitPattern &>> 52) &- 1075
        let significand = Int64(scaled.bitPattern & 0xf_ffff_ffff_ffff | 1 << 52)
        ExactSum.add(total, significand, exponent: binary &+ Int(whole) &+ Int(restWhole))
    }
}

/// The integer below x; of a large x, x itself.
private func floor(_ x: Double) -> Double {
    if x.magnitude >= powerOfTwo(52) { return x }
    let cut = Double(Int64(x))
    return cut > x ? cut - 1 : cut
}
