// |x|^p for any other p, without libm (whose bits differ between versions).
//
// A block's terms are taken relative to its dominant element d, the largest for
// p > 0 and the smallest for p < 0: (|x| / d)^p = 2^(p * (log2 |x| - log2 d)) is at
// most 1. The difference of the logarithms is formed from exact integer parts
// and fractions that are small where it matters, so its error stays near 2^-54
// whatever the magnitudes, and p times that is divided by p again when the root
// is taken. The block's sum times d^p goes to the sum with an unbounded
// exponent.
//
// Only additions, multiplications and one division, in one order: the same bits
// everywhere. Polynomials are evaluated as trees, which wait less than Horner's rule.
import CGradClipKernels

/// log2 of a positive magnitude, as exponent + fraction with |fraction| <= 1/2.
#if GRADCLIP_HARDWARE_F16
@inline(__always)
package func logarithm(_ x: SIMD8<Double>) -> (exponent: SIMD8<Double>, fraction: SIMD8<Double>) { logarithmOnce(x) }
#else
/// (Inlined it is no faster with SSE2, and six times as large.)
@inline(never)
package func logarithm(_ x: SIMD8<Double>) -> (exponent: SIMD8<Double>, fraction: SIMD8<Double>) { logarithmOnce(x) }
#endif

@inline(__always)
private func logarithmOnce(_ x: SIMD8<Double>) -> (exponent: SIMD8<Double>, fraction: SIMD8<Double>) {
    // Subnormals first become normal.
    let least = SIMD8<Double>(repeating: .leastNormalMagnitude)
    let normal = choose(least, above: x, x * powerOfTwo(54), else: x)
    let correction = choose(least, above: x, SIMD8(repeating: 54), else: SIMD8(repeating: 0))
    // x = 2^e * m with m in [sqrt(1/2), sqrt(2)).
    let rootHalf = gk_square_root(0.5).bitPattern
    let bits = unsafeBitCast(normal, to: SIMD8<UInt64>.self)
    let biased = (bits &- rootHalf &+ (2048 << 52)) &>> 52
    let m = unsafeBitCast(bits &- ((biased &- 2048) &<< 52), to: SIMD8<Double>.self)
    let exponent = unsafeBitCast(biased | (1075 << 52), to: SIMD8<Double>.self) - (powerOfTwo(52) + 2048)
    // log2 m = f * P(f^2) with f = (m - 1) / (m + 1): an odd series, by Chebyshev
    // interpolation on the interval; relative error 2^-59.
    let f = (m - 1) / (m + 1)
    let t = f * f
    let t2 = t * t
    let low = (0x1.71547652b82fep+1 + t * 0x1.ec709dc3a047dp-1) + t2 * (0x1.2776c50ee39dcp-1 + t * 0x1.a61762d693934p-2)
    let high =
        (0x1.484afb7a67652p-2 + t * 0x1.0ca160627dbfcp-2) + t2 * (0x1.c46e1440404d7p-3 + t * 0x1.b592d3c48c41cp-3)
    let p = low + (t2 * t2) * high
    return (exponent - correction, f * p)
}

/// 2^z for z <= 1/2; 0 below -1000. Relative error 2^-52.
#if GRADCLIP_HARDWARE_F16
@inline(__always)
package func exponential(_ z: SIMD8<Double>) -> SIMD8<Double> { exponentialOnce(z) }
#else
@inline(never)
package func exponential(_ z: SIMD8<Double>) -> SIMD8<Double> { exponentialOnce(z) }
#endif

@inline(__always)
private func exponentialOnce(_ z: SIMD8<Double>) -> SIMD8<Double> {
    let shifter = 1.5 * powerOfTwo(52)
    let least = SIMD8<Double>(repeating: -1001)
    let clamped = choose(least, above: z, least, else: z)
    let moved = clamped + shifter
    let r = clamped - (moved - shifter)
    let r2 = r * r
    let r4 = r2 * r2
    let low = r * 0x1.62e42fefa39efp-1 + r2 * (0x1.ebfbdff82c5aep-3 + r * 0x1.c6b08d704a0c6p-5)
    let middle =
        (0x1.3b2ab6fb9f1a5p-7 + r * 0x1.5d87fe78a3f9cp-10) + r2 * (0x1.430913112c61bp-13 + r * 0x1.ffcbfc6da6ed1p-17)
    let high =
        (0x1.62bfc2c86d700p-20 + r * 0x1.b524ebd13a55fp-24) + r2 * (0x1.e6228acd1c6e5p-28 + r * 0x1.e9ec1fcb69a7fp-32)
    // The 1 comes last, so that it rounds once.
    let p = 1 + (low + r4 * (middle + r4 * high))
    let scaled = unsafeBitCast(p, to: SIMD8<UInt64>.self) &+ (unsafeBitCast(moved, to: SIMD8<UInt64>.self) &<< 52)
    return choose(
        SIMD8(repeating: -1000), above: z, SIMD8(repeating: 0), else: unsafeBitCast(scaled, to: SIMD8<Double>.self))
}

/// (|x| / d)^p; 0 for x = 0.
@inline(__always) private func term(_ x: SIMD8<Double>, _ d: gk_dominant) -> SIMD8<Double> {
    let size = magnitude(x)
    let parts = logarithm(size)
    let z = ((parts.exponent - d.exponent) + (parts.fraction - d.fraction)) * d.power
    return choose(size, above: SIMD8(repeating: 0), exponential(z), else: SIMD8(repeating: 0))
}

private struct PowerVisitor: WideVisitor {
    let dominant: gk_dominant
    var cascade: Cascade<Absolute, Two>

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        cascade.add((term(values.0, dominant), term(values.1, dominant)))
    }
}

@inline(never)
func sumPowers<E: WideElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ dominant: gk_dominant) -> Double {
    // All terms are at most 1, give or take the last place.
    var visitor = PowerVisitor(dominant: dominant, cascade: Cascade(bound: 1))
    visit(E.self, data, count, &visitor)
    var block = gk_block()
    visitor.cascade.store(&block)
    return block.rounded
}
