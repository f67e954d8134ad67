// The accumulator behind every sum, and the path each block takes to it.
import CGradClipKernels
import Testing

@testable import GradClip
@testable import GradClipKernels

/// Reduces one tensor with the baseline kernels.
private func reduced(_ values: [Float], term: Int) -> gk_reduction {
    var table = gk_kernels()
    gradclip_kernels_baseline(&table)
    let scratch = UnsafeMutableRawPointer.allocate(byteCount: Int(GK_SCRATCH), alignment: 64)
    defer { scratch.deallocate() }
    var partial = Partial(NormType(term == GK_ABS ? 1 : 2), scratch: scratch, wide: nil)
    values.withUnsafeBytes { table.reduce(UInt32(GK_F32), $0.baseAddress, Int64(values.count), &partial.state) }
    return partial.state
}

private func paths(_ state: gk_reduction) -> [UInt64] {
    [state.paths.0, state.paths.1, state.paths.2, state.paths.3]
}

/// A block whose largest element is 1 and whose smallest has this exponent.
private func block(span: Int) -> [Float] {
    [1] + [Float](repeating: Float(sign: .plus, exponent: -span, significand: 1.5), count: 4095)
}

@Test(arguments: [(5, 1), (18, 1), (25, 2), (40, 2), (60, 3), (140, 3)])
func squaresTakeAsManyAccumulatorsAsTheirExponentsNeed(span: Int, path: Int) {
    #if arch(x86_64)
    // To be small, the baseline kernels have only the loop with three accumulators.
    let path = max(path, 2)
    #endif
    let taken = paths(reduced(block(span: span), term: GK_SQUARE))
    #expect(taken[path] == 1)
    #expect(taken.reduce(0, +) == 1)
}

@Test(arguments: [(5, 1), (40, 1), (100, 3)])
func magnitudesTakeFewerAccumulators(span: Int, path: Int) {
    let taken = paths(reduced(block(span: span), term: GK_ABS))
    #expect(taken[path] == 1)
    #expect(taken.reduce(0, +) == 1)
}

@Test func aSumDoesNotDependOnTheOrderOfItsValues() {
    var values: [(Int64, Int)] = []
    var random = SystemRandomNumberGenerator()
    for _ in 0..<500 {
        values.append((.random(in: -(1 << 55)...(1 << 55), using: &random), .random(in: -250...200, using: &random)))
    }
    func limbs(_ values: [(Int64, Int)]) -> [Int64] {
        var sum = gk_sum()
        ExactSum.clear(&sum, base: ExactSum.fixedBase)
        for (value, exponent) in values { ExactSum.add(&sum, value, exponent: exponent) }
        ExactSum.propagate(&sum)
        return withUnsafeBytes(of: &sum.limbs) { Array($0.bindMemory(to: Int64.self)) }
    }
    #expect(limbs(values) == limbs(values.shuffled()))
}

@Test(arguments: [(0x1p100, 1), (0x1p-100, 300), (3.0, 7)])
func squareRootsOfSumsAreCorrectlyRounded(value: Double, count: Int) {
    // The sum of `count` squares of a power of two or a small integer has a root that
    // float64 arithmetic rounds once.
    let state = reduced([Float](repeating: Float(value), count: count), term: GK_SQUARE)
    var exact = state.exact
    let norm = NormValue.root(of: &exact, power: 2, isExact: true).double
    #expect(norm == (value * value * Double(count)).squareRoot())
}
