// p = 2 over float32: exact, in fixed point, by AVX-512 IFMA.
//
// With all |x| < 2^e, |x| * 2^(52 - e) + 2^52 lies in [2^52, 2^53), where float64 counts in ones: if |x| is a multiple of
// 2^(e - 52), the lower 52 bits of the sum are the integer k = |x| * 2^(52 - e). The multiplying instructions of IFMA take just
// those bits, so nothing is masked: they add the lower and the upper 52 bits of k^2 to lanes of 64. A block puts 256
// squares into each, which makes 60 bits; over its sixteen lanes the sums stay below 2^64.
//
// If some |x| is not a multiple, its sum is rounded, and the processor's flag for that, which stays up until it is taken
// down, is up at the end of the block. If some |x| is 2^e or more, or not finite, the exponent of the sum is not that of 2^52,
// and a bit-wise or of all sums shows it. So the loop tracks no range. The same or, k by k, gives the binade of the largest
// element and the lowest bit in use, which is what the next block is expected to be like.
//
// 28 binary orders of magnitude fit, where two accumulators (Cascade.swift) hold 19.
import CGradClipKernels

private struct FixedSquaresVisitor: PlaceVisitor {
    var low0, low1, high0, high1: SIMD8<UInt64>
    /// The or of all sums' bits.
    var seen = SIMD8<UInt64>(repeating: 0)
    let scale: SIMD8<Double>
    let two52 = SIMD8<Double>(repeating: 0x1p52)

    @inline(__always) init(scale: SIMD8<Double>) {
        self.scale = scale
        let zero = SIMD8<UInt64>(repeating: 0)
        (low0, low1, high0, high1) = (zero, zero, zero, zero)
    }

    @inline(__always) private func integers(_ place: UnsafeRawPointer) -> SIMD8<UInt64> {
        gk_integers(magnitude(gk_f64_from_f32(place.loadUnaligned(as: SIMD8<Float>.self))), scale, two52)
    }

    @inline(__always) mutating func see(at place: UnsafeRawPointer) {
        let (a, b) = (integers(place), integers(place + 32))
        seen = seen | (a | b)
        low0 = gk_add_lower_halves(low0, a)
        high0 = gk_add_upper_halves(high0, a)
        low1 = gk_add_lower_halves(low1, b)
        high1 = gk_add_upper_halves(high1, b)
    }
}

/// A block under the expectation that all |x| < 2^exponent. Holds if the sum is exact.
@inline(never)
func sumSquaresInFixedPoint(
    _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ block: inout gk_block
) {
    // (What any float is below, and what none but zero is: beyond them scales would leave float64's range.)
    let exponent = min(max(exponent, -149), 128)
    var visitor = FixedSquaresVisitor(scale: gk_watch_inexact(SIMD8(repeating: powerOfTwo(52 &- exponent))))
    visit(Float32Element.size, data, count, &visitor)
    let seen = orOfLanes(gk_note_inexact(visitor.seen))
    if seen &>> 52 != (0x1p52).bitPattern &>> 52 {
        findExtremes(Float32Element.self, data, count, &block)
        block.holds = false
        return
    }
    block.bound = Int32(truncatingIfNeeded: 2 &* exponent)
    block.store(low: sumOfLanes(visitor.low0 &+ visitor.low1), high: sumOfLanes(visitor.high0 &+ visitor.high1))
    block.store(integers: seen & (1 << 52 - 1), exponent: exponent)
    block.holds = true
}

@inline(__always) private func orOfLanes(_ v: SIMD8<UInt64>) -> UInt64 {
    let four = v.lowHalf | v.highHalf
    let two = four.lowHalf | four.highHalf
    return two.x | two.y
}

@inline(__always) private func sumOfLanes(_ v: SIMD8<UInt64>) -> UInt64 {
    let four = v.lowHalf &+ v.highHalf
    let two = four.lowHalf &+ four.highHalf
    return two.x &+ two.y
}

extension gk_block {
    /// The sum low + high * 2^52, in units of 2^(T - 104), as accumulators would hold it: cut where their units are.
    @inline(__always)
    fileprivate mutating func store(low: UInt64, high: UInt64) {
        let (lower, carries) = low.addingReportingOverflow(high &<< 52)
        let upper = high &>> 12 &+ (carries ? 1 : 0)
        sums.0 = Int64(bitPattern: upper &<< 3 | lower &>> 61)
        sums.1 = Int64(bitPattern: lower &>> 17 & (1 << 44 - 1))
        sums.2 = Int64(bitPattern: (lower & (1 << 17 - 1)) &<< 27)
    }

    /// The extremes, from the or of all integers: powers of two that ask for as many accumulators as the elements do.
    @inline(__always)
    fileprivate mutating func store(integers: UInt64, exponent: Int) {
        smallest = .max
        if integers == 0 { return }
        let above = exponent &+ 12 &- integers.leadingZeroBitCount
        // An element whose last bit is this one is no smaller.
        let lowest = exponent &- 52 &+ integers.trailingZeroBitCount &+ Float32Element.significandBits
        largest = powerOfTwo(above &- 1).bitPattern
        smallest = powerOfTwo(min(above, lowest) &- 1).bitPattern
    }
}
