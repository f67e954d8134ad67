// The accumulator behind every sum, and the ways of a block to it.
import CGradClipKernels
import Testing

@testable import GradClip
@testable import GradClipKernels

/// The kernels of this processor, those of the baseline, and those with squares in fixed point.
nonisolated(unsafe) private let levels: [(name: String, kernels: UnsafePointer<gk_kernels>)] = {
    let baseline = UnsafeMutablePointer<gk_kernels>.allocate(capacity: 1)
    baseline.initialize(to: gk_kernels())
    gradclip_kernels_baseline(baseline)
    return [
        ("this processor's", gk_process_kernels()), ("baseline", UnsafePointer(baseline)),
        ("fixed point", fixedSquares),
    ]
}()

/// What is known of one tensor of floats.
private func partial(
    _ values: [Float], order: Double, _ kernels: UnsafePointer<gk_kernels> = levels[0].kernels, guess: Guess = Guess()
) -> Partial {
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: Int(GK_WORKSPACE), alignment: 64)
    defer { scratch.deallocate() }
    var partial = Partial(NormType(order), scratch: scratch, wide: nil)
    partial.guess = guess
    values.withUnsafeBytes { partial.add(kernels, .float32, $0.baseAddress!, values.count) }
    return partial
}

/// A block whose largest element is 1 and whose smallest has this exponent, and 24 bits.
private func block(span: Int) -> [Float] {
    [1] + [Float](repeating: Float(sign: .plus, exponent: -span, significand: Float(1.5).nextUp), count: 4095)
}

@Test(arguments: [
    (TermKind.square, 19, 2), (.square, 41, 3), (.square, 63, 4), (.square, 85, 5), (.absolute, 19, 1),
    (.absolute, 63, 2), (.absolute, 107, 3),
])
func aSumHoldsWhereItsAccumulatorsReach(term: TermKind, span: Int, levels count: Int) {
    for (name, kernels) in levels {
        // What stands for two accumulators may reach farther.
        let reach = Int(kernels.pointee.reach(.float32, term))
        let span = count == 2 && term == .square ? reach / 2 - 24 : span
        for (span, reaches) in [(span, true), (span + 1, false)] {
            let values = block(span: span)
            var found = gk_block()
            values.withUnsafeBytes {
                kernels.pointee.exact(.float32, term, $0.baseAddress, Int64(values.count), 1, Int32(count), &found)
            }
            // (The baseline has two for all.)
            if name == "this processor's" || count == 2 { #expect(found.holds == reaches, "\(name) \(span)") }
            if found.holds {
                var sum = gk_sum()
                ExactSum.clear(&sum, base: ExactSum.fixedBase)
                found.add(to: &sum)
                #expect(limbs(sum) == expected(values, order: term == .square ? 2 : 1))
            }
        }
    }
}

@Test(arguments: [1, 2])
func anyFloatsAddUpToTheIntegersSum(order: Int) {
    let seed = UInt64.random(in: 1...(.max))
    var random = Xorshift(state: seed)
    for _ in 0..<200 {
        // Bits from a window of exponents, or any at all: zeros, subnormals, NaN and infinities too; any guess.
        let lowest = UInt32.random(in: 0..<255, using: &random)
        let highest = UInt32.random(in: lowest...255, using: &random)
        let values = (0..<Int.random(in: 1...9000, using: &random)).map { _ in
            Float(
                bitPattern: .random(in: lowest...highest, using: &random) << 23
                    | .random(in: 0..<(1 << 23), using: &random) | (Bool.random(using: &random) ? 1 << 31 : 0))
        }
        var guess = Guess()
        guess.exponent = .random(in: -150...130, using: &random)
        guess.levels = .random(in: 1...5, using: &random)
        guess.needed = .random(in: 0...5, using: &random)
        for (name, kernels) in levels {
            let found = partial(values, order: Double(order), kernels, guess: guess)
            #expect(limbs(found.exact) == expected(values, order: order), "\(name), seed \(seed)")
            #expect(found.nonfinite == values.count(where: { !$0.isFinite }), "\(name), seed \(seed)")
            #expect(found.nan == values.count(where: { $0.isNaN }), "\(name), seed \(seed)")
            let first = values.firstIndex(where: { !$0.isFinite }).map { UInt64($0) } ?? .max
            #expect(found.first == first, "\(name), seed \(seed)")
        }
    }
}

struct Xorshift: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }
}

@Test func aSumDoesNotDependOnTheOrderOfItsValues() {
    var values: [(Int64, Int)] = []
    var random = SystemRandomNumberGenerator()
    for _ in 0..<500 {
        values.append((.random(in: -(1 << 55)...(1 << 55), using: &random), .random(in: -250...200, using: &random)))
    }
    func sum(_ values: [(Int64, Int)]) -> [Int64] {
        var sum = gk_sum()
        ExactSum.clear(&sum, base: ExactSum.fixedBase)
        for (value, exponent) in values { ExactSum.add(&sum, value, exponent: exponent) }
        return limbs(sum)
    }
    #expect(sum(values) == sum(values.shuffled()))
}

@Test(arguments: [(0x1p100, 1), (0x1p-100, 300), (3.0, 7)])
func squareRootsOfSumsAreCorrectlyRounded(value: Double, count: Int) {
    // The sum of `count` squares of a power of two or a small integer has a root that
    // float64 arithmetic rounds once.
    var exact = partial([Float](repeating: Float(value), count: count), order: 2).exact
    let norm = NormValue.root(of: &exact, power: 2, isExact: true).double
    #expect(norm == (value * value * Double(count)).squareRoot())
}

@Test func integerSquareRootsAreFloors() {
    var roots: [UInt64] = [1 << 63, (1 << 63) + 1, .max, .max - 1, .max - 2047, .max - 2048, 0xb504_f333_f9de_6484]
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<10000 { roots.append(generator.next() | 1 << 63) }
    for root in roots {
        let square = UInt128(root) * UInt128(root)
        // All arguments with this root: the square, and up to twice the root more.
        for more in [0, 1, UInt128(root), UInt128(root) * 2] {
            let argument = square &+ more
            let found = NormValue.squareRoot(
                UInt64(truncatingIfNeeded: argument >> 64), UInt64(truncatingIfNeeded: argument))
            #expect(found == (root, more == 0), "\(root)^2 + \(more)")
        }
    }
    // 127 bits: roots below 2^63.5.
    for root in [UInt64(0xb504_f333_f9de_6484), 1 << 63] {
        let before = UInt128(root) * UInt128(root) - 1
        let found = NormValue.squareRoot(UInt64(truncatingIfNeeded: before >> 64), UInt64(truncatingIfNeeded: before))
        if before >> 126 != 0 { #expect(found == (root - 1, false)) }
    }
}
