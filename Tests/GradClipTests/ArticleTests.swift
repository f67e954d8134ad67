// The article's numbers, through the Swift API. The gradients are computed by the
// article's function z = Σx² + Σy³ at x = [99, 108], y = [45, 75].
import GradClip
import Testing

/// dz/dx = 2x, dz/dy = 3y².
private func articleGradients() -> (x: [Float], y: [Float]) {
    ([99, 108].map { 2 * $0 }, [45, 75].map { 3 * $0 * $0 })
}

/// Runs the body on both gradients and returns them as they are afterwards.
private func withArticle<R>(
    negated: Bool = false, _ body: ([Gradient]) throws -> R
) rethrows -> (result: R, x: [Float], y: [Float]) {
    var (x, y) = articleGradients()
    if negated { y = y.map { -$0 } }
    let result = try x.withUnsafeMutableBufferPointer { x in
        try y.withUnsafeMutableBufferPointer { y in try body([Gradient(x), Gradient(y)]) }
    }
    return (result, x, y)
}

private func rounded(_ values: [Float]) -> [Double] { values.map { (Double($0) * 10_000).rounded() / 10_000 } }

@Test func gradientsAreThoseOfTheArticle() {
    let (x, y) = articleGradients()
    #expect(x == [198, 216])
    #expect(y == [6075, 16875])
}

@Test(arguments: [
    (2.0, 17937.589302913588, [1.1038, 1.2042], [33.8674, 94.0762]),
    (1.0, 23364.0, [0.8475, 0.9245], [26.0015, 72.2265]),
    (Double.infinity, 16875.0, [1.1733, 1.2800], [36.0, 100.0]),
])
func clippingInPlace(normType: Double, norm: Double, x: [Double], y: [Double]) throws {
    let clipped = try withArticle { try clipGradNorm($0, maxNorm: 100, normType: normType) }
    #expect(clipped.result.totalNorm == norm)
    #expect(clipped.result.clipCoef == 100 / (norm + 1e-6))
    #expect(rounded(clipped.x) == x)
    #expect(rounded(clipped.y) == y)
}

@Test func aNegativeLargestElementCountsForTheInfinityNorm() throws {
    let clipped = try withArticle(negated: true) { try clipGradNorm($0, maxNorm: 100, normType: .infinity) }
    #expect(clipped.result.totalNorm == 16875)
    #expect(rounded(clipped.y) == [-36, -100])
}

@Test func epsZeroIsThePlainFormula() throws {
    var options = ClipOptions()
    options.eps = 0
    let clipped = try withArticle { try clipGradNorm($0, maxNorm: 100, options: options) }
    #expect(clipped.result.clipCoef == 100 / 17937.589302913588)
}

@Test func normsOfEachTensor() throws {
    let found = try withArticle { try norms(of: $0) }.result
    #expect(found == [Double(198 * 198 + 216 * 216).squareRoot(), Double(6075 * 6075 + 16875 * 16875).squareRoot()])
}

@Test func outOfPlaceLeavesTheSourcesAlone() throws {
    var first = [Float](repeating: 0, count: 2)
    var second = first
    let sources = try first.withUnsafeMutableBufferPointer { first in
        try second.withUnsafeMutableBufferPointer { second in
            try withArticle { try clipGradNorm($0, into: [Gradient(first), Gradient(second)], maxNorm: 100) }
        }
    }
    #expect(sources.x == articleGradients().x)
    #expect(sources.y == articleGradients().y)
    #expect(rounded(first) == [1.1038, 1.2042])
    #expect(rounded(second) == [33.8674, 94.0762])
}

@Test func aNormBelowTheLimitChangesNothing() throws {
    let clipped = try withArticle { try clipGradNorm($0, maxNorm: 20_000) }
    #expect(clipped.result.clipCoef == 1)
    #expect(clipped.x == articleGradients().x)
}
