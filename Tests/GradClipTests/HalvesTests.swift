// float16 and bfloat16 squared: the sums of fixed point are those of integers, and which
// blocks take the way of floats instead.
import CGradClipKernels
import Testing

@testable import GradClip
@testable import GradClipKernels

private enum Half: String, CaseIterable, CustomTestStringConvertible {
    case float16, bfloat16

    var testDescription: String { rawValue }
    var dtype: UInt32 { UInt32(self == .float16 ? GK_F16 : GK_BF16) }
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

/// Whether this processor's kernels sum in fixed point.
private let sumsInFixedPoint = gk_process_isa() != UInt32(GK_ISA_BASELINE)

private func reduced(_ values: [UInt16], _ half: Half, guess: Int32? = nil) -> gk_reduction {
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: Int(GK_SCRATCH), alignment: 64)
    defer { scratch.deallocate() }
    var partial = Partial(NormType(2), scratch: scratch, wide: nil)
    if let guess { partial.state.exponent = guess }
    values.withUnsafeBytes {
        gk_process_kernels().pointee.reduce(half.dtype, $0.baseAddress, Int64(values.count), &partial.state)
    }
    return partial.state
}

private func limbs(_ sum: gk_sum) -> [Int64] {
    var sum = sum
    ExactSum.propagate(&sum)
    return withUnsafeBytes(of: &sum.limbs) { Array($0.bindMemory(to: Int64.self)) }
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

/// Elements summed in fixed point, and blocks that went the way of floats.
private func paths(_ state: gk_reduction) -> (fixed: Int, floats: Int) {
    (Int(state.paths.4), Int(state.paths.0 + state.paths.1 + state.paths.2 + state.paths.3))
}

private let block = 1024

@Test(arguments: Half.allCases, [1, 15, 16, 17, 1023, 1024, 1025, 4096, 9001])
private func halvesWithinTheRangeAreSummedInFixedPoint(half: Half, count: Int) {
    // The largest in every place: lanes that just hold their sums. And the smallest that fits.
    let largest = half.power(half.bound, nextBelow: true)
    var values = (0..<count).map { $0 % 3 == 0 ? largest | 0x8000 : largest }
    for smallest in [largest, half.power(half.bound - 1 - half.span), 0, 0x8000] {
        values[count / 2] = smallest
        let state = reduced(values, half)
        #expect(limbs(state.exact) == expected(values, half))
        if sumsInFixedPoint { #expect(paths(state) == (count, 0)) }
    }
}

@Test(arguments: Half.allCases, [0, 700, 1023])
private func aBlockBeyondTheRangeGoesTheWayOfFloats(half: Half, place: Int) {
    let ordinary = half.power(half.bound - 3)
    let outside: [(odd: UInt16, fixed: Int, floats: Int)] = [
        // The guess follows what is too large, and 2^(bound - 3) still fits.
        (half.power(half.bound), 3 * block, 1),
        // bfloat16: finer than the unit. Nothing in float16 is.
        (1, half == .float16 ? 4 * block : 3 * block, half == .float16 ? 0 : 1),
        (half.infinity, 3 * block, 2),
        (half.infinity | 0x8001, 3 * block, 2),
    ]
    for (odd, fixed, floats) in outside {
        var values = [UInt16](repeating: ordinary, count: 4 * block)
        values[block + place] = odd
        let state = reduced(values, half)
        #expect(limbs(state.exact) == expected(values, half))
        #expect(state.nonfinite == (odd & 0x7fff >= half.infinity ? 1 : 0))
        #expect(state.nonfinite == 0 || state.first == UInt64(block + place))
        if sumsInFixedPoint {
            let taken = paths(state)
            #expect(taken.fixed == fixed)
            #expect((1...2).contains(taken.floats) == (floats > 0))
        }
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
        let state = reduced(values, half, guess: Int32(top + 126))
        #expect(limbs(state.exact) == expected(values, half))
        if sumsInFixedPoint { #expect(paths(state) == (fits ? block : 0, fits ? 0 : 1)) }
    }
}

@Test private func afterTwoBlocksThatAreFarTooWideTheNextIsNotTried() {
    let half = Half.bfloat16
    let wide = [half.power(0)] + [UInt16](repeating: half.power(-60), count: block - 1)
    let values = wide + wide + [UInt16](repeating: half.power(0), count: 8 * block)
    let state = reduced(values, half)
    #expect(limbs(state.exact) == expected(values, half))
    // A block of 4096 in floats, which tells that the range is as before.
    if sumsInFixedPoint { #expect(paths(state).fixed == 4 * block) }
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
        let state = reduced(values, half, guess: .random(in: 1...254, using: &random))
        #expect(limbs(state.exact) == expected(values, half), "seed \(seed)")
        #expect(state.nonfinite == values.count(where: { $0 & 0x7fff >= half.infinity }), "seed \(seed)")
    }
}

private struct Xorshift: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}
