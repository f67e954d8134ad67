// What a Swift caller meets beyond the article: policies, errors, split jobs.
import GradClip
import Testing

/// Runs the body on one tensor and returns it as it is afterwards.
private func withTensor<R>(_ values: [Float], _ body: ([Gradient]) throws -> R) rethrows -> (result: R, values: [Float])
{
    var values = values
    let result = try values.withUnsafeMutableBufferPointer { try body([Gradient($0)]) }
    return (result, values)
}

@Test func nonfiniteGradientsAreLeftAloneAndNamed() throws {
    let left = withTensor([3, .nan, .infinity]) { grads in
        #expect(throws: NonfiniteError.self) { try clipGradNorm(grads, maxNorm: 1) }!.result
    }
    #expect(left.result.isNonfinite)
    #expect(left.result.nonfiniteCount == 2)
    #expect(left.result.nanCount == 1)
    #expect(left.result.firstNonfinite! == (gradient: 0, element: 1))
    #expect(left.values[0] == 3)
}

@Test func theFirstNonfiniteElementIsFoundAmongSmallAndLargeTensors() throws {
    // Small tensors are summed together, after large ones that follow them.
    for culprit in 0..<6 {
        var tensors = (0..<6).map { [Float](repeating: 1, count: $0 % 2 == 0 ? 10 : 5000) }
        for i in culprit..<6 { tensors[i][3 + i] = i % 2 == 0 ? .nan : .infinity }
        let grads = tensors.map { values in
            let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: values.count)
            _ = memory.initialize(from: values)
            return memory
        }
        defer { for memory in grads { memory.deallocate() } }
        let found = #expect(throws: NonfiniteError.self) { try totalNorm(of: grads.map { Gradient($0) }) }!.result
        #expect(found.nonfiniteCount == UInt64(6 - culprit))
        #expect(found.firstTensor == UInt64(culprit))
        #expect(found.firstElement == UInt64(3 + culprit))
    }
}

@Test func nonfiniteGradientsBecomeZeroIfAskedTo() throws {
    var options = ClipOptions()
    options.nonfinite = .zero
    options.eps = 0
    let zeroed = try withTensor([3, .nan, 4, -.infinity]) { try clipGradNorm($0, maxNorm: 10, options: options) }
    #expect(zeroed.result.totalNorm == 5)
    #expect(zeroed.values == [3, 0, 4, 0])
}

@Test func aNormKnownAlreadyGivesTheSameElements() throws {
    let whole = try withTensor([3, 4]) { try clipGradNorm($0, maxNorm: 1) }
    let split = try withTensor([3, 4]) { grads in
        try clipGrads(grads, maxNorm: 1, totalNorm: try totalNorm(of: grads).totalNorm)
    }
    #expect(whole.values == split.values)
}

@Test func clippingByValue() throws {
    let clamped = try withTensor([-5, -0.25, .nan, 0.25, .infinity]) { try clipGradValue($0, clipValue: 0.5) }
    #expect(clamped.values[0] == -0.5)
    #expect(clamped.values[1] == -0.25)
    #expect(clamped.values[2].isNaN)
    #expect(clamped.values[4] == 0.5)
}

@Test func argumentsOutOfRangeAreErrors() {
    #expect(throws: ArgumentError.self) { try withTensor([1]) { try clipGradNorm($0, maxNorm: -1) } }
    #expect(throws: ArgumentError.self) { try withTensor([1]) { try clipGradNorm($0, maxNorm: 1, normType: .nan) } }
    #expect(throws: ArgumentError.self) { try withTensor([1]) { try clipGradValue($0, clipValue: .nan) } }
    var options = ClipOptions()
    options.gradScale = 0
    #expect(throws: ArgumentError.self) { try withTensor([1]) { try clipGradNorm($0, maxNorm: 1, options: options) } }
}
