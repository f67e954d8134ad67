// Squares of float32 in fixed point. The kernel is the one that AVX-512 IFMA runs; its instructions, and the
// flag, are those of this processor or a model of them (gk_squares.h). `Tests/emulate/run.sh` runs the instructions.
import CGradClipKernels
import Testing

@testable import GradClip
@testable import GradClipKernels

/// The baseline's kernels with fixed point in place of two accumulators.
nonisolated(unsafe) let fixedSquares: UnsafePointer<gk_kernels> = {
    let table = UnsafeMutablePointer<gk_kernels>.allocate(capacity: 1)
    table.initialize(to: gk_kernels())
    gradclip_kernels_baseline(table)
    useFixedSquares(table)
    return UnsafePointer(table)
}()

private func summed(_ values: [Float], below exponent: Int) -> gk_block {
    var found = gk_block()
    values.withUnsafeBytes { sumSquaresInFixedPoint($0.baseAddress!, values.count, exponent: exponent, &found) }
    return found
}

private func limbs(_ found: gk_block) -> [Int64] {
    var sum = gk_sum()
    ExactSum.clear(&sum, base: ExactSum.fixedBase)
    found.add(to: &sum)
    return limbs(sum)
}

/// 2^exponent times an odd number of 24 bits, either sign.
private func element(_ exponent: Int, _ random: inout Xorshift) -> Float {
    let odd = UInt32.random(in: 0..<(1 << 22), using: &random) << 1 | 1
    let sign: FloatingPointSign = Bool.random(using: &random) ? .plus : .minus
    return Float(sign: sign, exponentBitPattern: UInt(exponent + 127), significandBitPattern: odd)
}

@Test(arguments: [1, 7, 8, 9, 15, 16, 17, 31, 1000, 4095, 4096], [-90, -12, 1, 70, 128])
private func squaresOfAllThatFitsAddUpToTheIntegersSum(count: Int, exponent: Int) {
    var random = Xorshift(state: UInt64(count * 1000 + exponent + 500))
    // The largest in every place, then all binades that fit, and zeros of both signs.
    let top = Float(sign: .plus, exponent: exponent - 1, significand: 2 - Float.ulpOfOne)
    var values = [Float](repeating: top, count: count)
    for round in 0..<3 {
        let found = summed(values, below: exponent)
        #expect(found.holds, "round \(round)")
        #expect(limbs(found) == expected(values, order: 2), "round \(round)")
        let sizes = values.map { Double($0.magnitude) }
        #expect(exponentAbove(Double(bitPattern: found.largest)) == exponentAbove(sizes.max()!))
        let lowest = exponentAbove(Double(bitPattern: found.smallest))
        #expect(lowest >= exponentAbove(sizes.filter { $0 > 0 }.min()!))
        values = values.indices.map { _ in element(exponent - 1 - .random(in: 0...28, using: &random), &random) }
        if round == 1 && count > 2 {
            values[count / 2] = 0
            values[count - 1] = -0.0
        }
    }
}

@Test func aFinerElementThanTheUnitIsSeenInAnyPlace() {
    var random = Xorshift(state: 5)
    let count = 4096 - 3  // the last ones are a vector that is padded
    for place in [0, 7, 8, 15, 16, 2047, count - 14, count - 1] {
        for (span, fits) in [(28, true), (29, false), (60, false), (149, false)] {
            var values = [Float](repeating: 0.75, count: count)
            values[place] = span == 149 ? .leastNonzeroMagnitude : element(-1 - span, &random)
            // The flag of before is forgotten.
            withExtendedLifetime(Double(values[1]) / Double.random(in: 3...4)) {}
            let found = summed(values, below: 0)
            #expect(found.holds == fits, "place \(place), span \(span)")
            if fits {
                #expect(limbs(found) == expected(values, order: 2))
            } else {
                #expect(Double(bitPattern: found.largest) == 0.75)
                #expect(Double(bitPattern: found.smallest) == Double(values[place].magnitude))
            }
        }
    }
}

@Test func whatIsNotBelowTheBoundIsSeenInAnyPlace() {
    let tooLarge: [Float] = [1, -1, 2, 0x1p127, .greatestFiniteMagnitude, .infinity, -.infinity, .nan, .signalingNaN]
    for place in [0, 7, 8, 15, 16, 2047, 4000, 4080, 4092] {
        for odd in tooLarge {
            var values = [Float](repeating: -0.5, count: 4093)
            values[place] = odd
            let found = summed(values, below: 0)
            #expect(!found.holds, "place \(place), \(odd)")
            let largest = Double(bitPattern: found.largest)
            #expect(odd.isFinite ? largest == Double(odd.magnitude) : !(largest < .infinity))
        }
    }
}

@Test func zerosAndSubnormalsHoldBelowAnyBound() {
    for exponent in [Int(Int16.min), -1000, -149, -148, 0, 128, 1000] {
        let zeros = summed([0, -0.0, 0], below: exponent)
        #expect(zeros.holds && zeros.largest == 0 && zeros.smallest == .max)
        #expect(limbs(zeros).allSatisfy { $0 == 0 })
    }
    let least = Float.leastNonzeroMagnitude
    let values = [least, -least, 3 * least, Float(0x1p-126) - least, 0]
    for exponent in [-126, -110, -97] {
        let found = summed(values, below: exponent)
        #expect(found.holds)
        #expect(limbs(found) == expected(values, order: 2))
    }
    for exponent in [-1000, -149, -127, -96, 128, 1000] { #expect(!summed(values, below: exponent).holds) }
}

@Test func theInstructionsAddHalvesOfSquares() {
    var random = Xorshift(state: 11)
    for _ in 0..<200 {
        let x = SIMD8<UInt64>((0..<8).map { _ in .random(in: 0...(.max), using: &random) })
        let sum = SIMD8<UInt64>((0..<8).map { _ in .random(in: 0...(.max), using: &random) })
        let (lower, upper) = (gk_add_lower_halves(sum, x), gk_add_upper_halves(sum, x))
        for i in 0..<8 {
            // The upper twelve bits of x do not count.
            let k = x[i] % (1 << 52)
            let square = k.multipliedFullWidth(by: k)
            #expect(lower[i] == sum[i] &+ square.low % (1 << 52))
            #expect(upper[i] == sum[i] &+ (square.high << 12 | square.low >> 52))
        }
    }
}

@Test func theNormOfOneBlockHasAllThreeOfItsIntegers() {
    var random = Xorshift(state: 13)
    for _ in 0..<100 {
        let span = Int.random(in: 20...28, using: &random)
        let values = (0..<Int.random(in: 2...40, using: &random)).map { element($0 == 0 ? 3 : 3 - span, &random) }
        var exponent: Int32 = 4
        let found = values.withUnsafeBytes {
            gk_block(fixedSquares, .square, .float32, $0.baseAddress!, values.count, expecting: &exponent)
        }
        var sum = gk_sum()
        ExactSum.clear(&sum, base: ExactSum.fixedBase)
        found?.add(to: &sum)
        var waiting = WaitingSums()
        var waited = gk_sum()
        ExactSum.clear(&waited, base: ExactSum.fixedBase)
        if let found { waiting.add(found, to: &waited) }
        waiting.flush(to: &waited)
        #expect(found != nil && limbs(sum) == expected(values, order: 2) && limbs(waited) == limbs(sum))
        #expect(found?.norm(.square).double == NormValue.root(of: &sum, power: 2, isExact: true).double)
    }
}
