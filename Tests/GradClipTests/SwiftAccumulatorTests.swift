// The accumulator of the Swift API: 3² + 4² = 5², 3² + 4² + 12² = 13².
import GradClip
import Testing

private var plain: ClipOptions {
    var options = ClipOptions()
    options.eps = 0
    return options
}

@Test func aNormAddedUpPieceByPieceIsThatOfAllPieces() throws {
    let sum = try NormAccumulator(options: plain)
    sum.add([3, 0] as [Float])
    let four: [Double] = [4]
    sum.add(four.span)
    #expect(try sum.finish().totalNorm == 5)
    #expect(try sum.finish(maxNorm: 2.5).factor == 0.5)
    sum.add([12] as [Float16])
    #expect(try sum.finish().totalNorm == 13)
    sum.reset()
    #expect(try sum.finish().totalNorm == 0)
}

@Test func accumulatorsMergeAsObjectsAndAsBytes() throws {
    let (first, second) = (try NormAccumulator(), try NormAccumulator())
    first.add([3] as [Float])
    second.add([4] as [Float])
    let bytes = second.bytes
    #expect(bytes.count <= 192)
    try first.merge(second)
    #expect(try first.finish().totalNorm == 5)
    second.reset()
    second.add([3] as [Float])
    try second.merge(bytes: bytes)
    #expect(try second.finish().totalNorm == 5)

    var damaged = bytes
    damaged[30] ^= 1
    for bad in [damaged, [], Array(bytes.dropLast(8))] {
        let error = #expect(throws: ArgumentError.self) { try second.merge(bytes: bad) }
        guard case .badData = error?.reason else {
            Issue.record("not bad data: \(String(describing: error))")
            continue
        }
    }
    #expect(throws: ArgumentError.self) { try second.merge(NormAccumulator(normType: 1)) }
    #expect(try second.finish().totalNorm == 5)
}

@Test func clippingByAnAccumulatorsNormMeasuresNothingAgain() throws {
    let sum = try NormAccumulator(options: plain)
    sum.add([3, 4] as [Float])
    var grad: [Float] = [8, -8]
    let result = try grad.withUnsafeMutableBufferPointer { try sum.clip([Gradient($0)], maxNorm: 2.5) }
    #expect(result.totalNorm == 5)
    #expect(grad == [4, -4])
}

@Test func anAccumulatorNumbersGradientsInTheOrderOfAdding() throws {
    let sum = try NormAccumulator()
    sum.add([1] as [Float])
    sum.add([1, 2, .nan] as [Double])
    sum.add([.infinity] as [Float])
    let result = #expect(throws: NonfiniteError.self) { try sum.finish(maxNorm: 1) }!.result
    #expect(result.firstNonfinite! == (gradient: 1, element: 2))
    #expect(result.nonfiniteCount == 2)
}

@Test func aBackwardPassSaysWhichGradientItAdds() throws {
    let sum = try NormAccumulator()
    for i in (0..<4).reversed() {
        try sum.setNextGradient(i)
        sum.add([1, i == 1 || i == 3 ? .nan : 2] as [Float])
    }
    let found = #expect(throws: NonfiniteError.self) { try sum.finish() }!.result
    #expect(found.firstNonfinite! == (gradient: 1, element: 1))
    #expect(throws: ArgumentError.self) { try sum.setNextGradient(-1) }
}

@Test func accumulatorsRefuseWhatCallsRefuse() throws {
    #expect(throws: ArgumentError.self) { try NormAccumulator(normType: .nan) }
    var options = ClipOptions()
    options.eps = -1
    #expect(throws: ArgumentError.self) { try NormAccumulator(options: options) }
    let sum = try NormAccumulator()
    #expect(throws: ArgumentError.self) { try sum.finish(maxNorm: -1) }
    #expect(throws: ArgumentError.self) { try sum.clip([], maxNorm: .nan) }
}

@Test func differencesAreAddedWithoutACopy() throws {
    let (weights, older): ([Float], [Double]) = ([4, 6], [1, 2])
    var options = ClipOptions()
    options.exactFloat64 = true
    let sum = try NormAccumulator(options: options)
    try weights.withUnsafeBufferPointer { weights in
        try older.withUnsafeBufferPointer { older in
            try sum.addDifference([Gradient(reading: weights)], minus: [Gradient(reading: older)])
            #expect(try sum.finish(maxNorm: .infinity).totalNorm == 5)
            #expect(throws: ArgumentError.self) { try sum.addDifference([Gradient(reading: weights)], minus: []) }
            #expect(throws: ArgumentError.self) {
                try sum.addDifference(
                    [Gradient(reading: weights)], minus: [Gradient(reading: UnsafeBufferPointer(rebasing: older[..<1]))]
                )
            }
        }
    }
    #expect(try sum.finish(maxNorm: .infinity).totalNorm == 5)
}
