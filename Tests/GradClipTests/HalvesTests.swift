// float16 and bfloat16 squared: the sums of fixed point are those of integers, and which
// blocks take the way of floats instead.
import CGradClipKernels
import Testing

@testable import GradClip
@testable import GradClipKernels

private enum Half: String, CaseIterable, CustomTestStringConvertible {
    case float16, bfloat16

    var testDescription: String { rawValue }
    var dtype: DType { self == .float16 ? .float16 : .bfloat16 }
    var mantissaBits: Int { self == .float16 ? 10 : 7 }
    var bias: Int { self == .float16 ? 15 : 127 }
    var infinity: UInt16 { self == .float16 ? 0x7c00 : 0x7f80 }
    /// The first bound, as a power of two, that a tensor is tried with; and the widest
    /// span of exponents that 29 bits hold.
    var bound: Int { self == .float16 ? 5 : 1 }
    var span: Int { 28 - mantissaBits }

    /// 2^exponent or, next below it, the largest below.
    func power(_ exponent: Int, nextBelow: Bool = false) -> UInt16 {
        let field = exponent + bias
        let bits = field >= 1 ? UInt16(field) << mantissaBits : 1 << (mantissaBits - 1 + field)
        return nextBelow ? bits - 1 : bits
    }

    /// x^2 as an integer times a power of two.
    func square(_ bits: UInt16) -> (Int64, exponent: Int) {
        let field = Int((bits & 0x7fff) >> mantissaBits)
        let fraction = Int64(bits & (1 << mantissaBits - 1))
        let significand = field > 0 ? fraction | 1 << mantissaBits : fraction
        return (significand * significand, 2 * (max(field, 1) - bias - mantissaBits))
    }
}

private func partial(_ values: [UInt16], _ half: Half, exponent: Int32? = nil) -> Partial {
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: Int(GK_WORKSPACE), alignment: 64)
    defer { scratch.deallocate() }
    var partial = Partial(NormType(2), scratch: scratch, wide: nil)
    if let exponent { partial.guess.exponent = exponent }
    values.withUnsafeBytes { partial.add(gk_process_kernels(), half.dtype, $0.baseAddress!, values.count) }
    return partial
}

/// Whether a block holds in fixed point with all |x| < 2^exponent; nil where this processor's kernels have none.
private func holdsInFixedPoint(_ values: [UInt16], _ half: Half, exponent: Int) -> Bool? {
    guard let sum = gk_process_kernels().pointee.fixed_point else { return nil }
    var found = gk_block()
    values.withUnsafeBytes { sum(half.dtype, $0.baseAddress, Int64(values.count), Int32(exponent), &found) }
    return found.holds
}

/// The sum element by element, in integers.
private func expected(_ values: [UInt16], _ half: Half) -> [Int64] {
    var sum = gk_sum()
    ExactSum.clear(&sum, base: ExactSum.fixedBase)
    for bits in values where bits & 0x7fff < half.infinity {
        let square = half.square(bits)
        ExactSum.add(&sum, square.0, exponent: square.exponent)
    }
    return limbs(sum)
}

private let block = Int(GK_BLOCK)

@Test(arguments: Half.allCases, [1, 15, 16, 17, 1023, 1024, 1025, 4096])
private func halvesWithinTheRangeAreSummedInFixedPoint(half: Half, count: Int) {
    // The largest in every place: lanes that just hold their sums. And the smallest that fits.
    let largest = half.power(half.bound, nextBelow: true)
    var values = (0..<count).map { $0 % 3 == 0 ? largest | 0x8000 : largest }
    for smallest in [largest, half.power(half.bound - 1 - half.span), 0, 0x8000] {
        values[count / 2] = smallest
        #expect(limbs(partial(values, half).exact) == expected(values, half))
        #expect(holdsInFixedPoint(values, half, exponent: half.bound) != false)
    }
}

@Test(arguments: Half.allCases, [0, 700, 4095])
private func aBlockBeyondTheRangeDoesNotHold(half: Half, place: Int) {
    let ordinary = half.power(half.bound - 3)
    // Too large; finer than the unit, which nothing in float16 is; not finite.
    for (odd, holds) in [
        (half.power(half.bound), false), (1, half == .float16), (half.infinity, false), (half.infinity | 0x8001, false),
    ] {
        var values = [UInt16](repeating: ordinary, count: 3 * block)
        values[block + place] = odd
        let found = partial(values, half)
        #expect(limbs(found.exact) == expected(values, half))
        #expect(found.nonfinite == (odd & 0x7fff >= half.infinity ? 1 : 0))
        #expect(found.nonfinite == 0 || found.first == UInt64(block + place))
        let held = holdsInFixedPoint(Array(values[block..<2 * block]), half, exponent: half.bound)
        #expect(held == nil || held == holds)
    }
}

@Test(arguments: Half.allCases)
private func theNarrowestSpanThatDoesNotFitGoesTheWayOfFloats(half: Half) {
    // float16 has such spans only above 2^5.
    let top = half == .float16 ? 12 : half.bound
    for (more, fits) in [(0, true), (1, false)] {
        let largest = half.power(top, nextBelow: true)
        // Its last place is the finest that its exponent allows.
        let smallest = half.power(top - 1 - half.span - more) | 1
        let values = [largest] + [UInt16](repeating: smallest, count: block - 1)
        #expect(limbs(partial(values, half, exponent: Int32(top)).exact) == expected(values, half))
        let held = holdsInFixedPoint(values, half, exponent: top)
        #expect(held == nil || held == fits)
    }
}

@Test(arguments: Half.allCases)
private func halvesOfAnyExponentsAddUpToTheIntegersSum(half: Half) {
    let seed = UInt64.random(in: 1...(.max))
    var random = Xorshift(state: seed)
    for _ in 0..<400 {
        // A window of exponents, and now and then an element from anywhere; any guess.
        let fields = Int(half.infinity >> UInt16(half.mantissaBits))
        let lowest = Int.random(in: 0..<fields, using: &random)
        let highest = min(fields, lowest + Int.random(in: 1...31, using: &random))
        let strays = Int.random(in: 0...3, using: &random)
        var values = (0..<Int.random(in: 1...5000, using: &random)).map { _ in
            UInt16(Int.random(in: lowest..<highest, using: &random)) << UInt16(half.mantissaBits)
                | .random(in: 0..<(1 << UInt16(half.mantissaBits)), using: &random)
                | (Bool.random(using: &random) ? 0x8000 : 0)
        }
        for _ in 0..<strays {
            values[Int.random(in: 0..<values.count, using: &random)] = .random(in: 0...(.max), using: &random)
        }
        let state = partial(values, half, exponent: .random(in: -130...130, using: &random))
        #expect(limbs(state.exact) == expected(values, half), "seed \(seed)")
        #expect(state.nonfinite == values.count(where: { $0 & 0x7fff >= half.infinity }), "seed \(seed)")
    }
}
