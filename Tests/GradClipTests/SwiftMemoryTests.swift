// Gradients in memory of every kind, and in several tasks at once.
import GradClip
import Testing

private let plain = ClipOptions(eps: 0)

/// Every function on one kind of memory that holds 3, 0, 4.
private func checkEveryFunction<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, _ values: (borrowing Memory) -> [Double]
) throws {
    #expect(try totalNorm(of: grad).totalNorm == 5)
    #expect(try deferredClip(of: grad, maxNorm: 2.5, options: plain).factor == 0.5)
    #expect(try withGradients(reading: grad) { try norms(of: $0) } == [5])
    #expect(try inspect(grad).reports[0].zeroCount == 1)
    #expect(values(grad) == [3, 0, 4])
    let sum = try NormAccumulator()
    sum.add(grad)
    #expect(try sum.finish().totalNorm == 5)
    #expect(try clipGradNorm(&grad, maxNorm: 2.5, options: plain).isClipped)
    #expect(values(grad) == [1.5, 0, 2])
    try scale(&grad, by: 2)
    try checkParts(&grad, values)
    try clipGradValue(&grad, clipValue: 3.5)
    #expect(values(grad) == [3, 0, 3.5])
    let chooser = try MaxNormChooser(.autoClip(percentile: 50))
    _ = try chooser.decide(totalNorm: 1)
    #expect(try chooser.clip(&grad, options: plain).decision.action == .clip)
}

/// Those of parts and examples, and of a norm that is known.
private func checkParts<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, _ values: (borrowing Memory) -> [Double]
) throws {
    _ = try clipGrads(&grad, maxNorm: 2.5, totalNorm: 5, options: plain)
    #expect(values(grad) == [1.5, 0, 2])
    try scale(&grad, by: 2)
    #expect(try clipByNorm(&grad, maxNorm: 2.5, options: plain).norms == [5])
    #expect(values(grad) == [1.5, 0, 2])
    #expect(try clipByBlockRMS(&grad, threshold: 100).clipCoefs == [1])
    try scale(&grad, by: 2)
    let weights: [Float] = [3, 0, 4]
    let units = GradientUnits(outer: 1, reduced: 3)
    #expect(try adaptiveClipGrad(&grad, weights: weights, units: units, clipFactor: 0.5).clipCoefs == [0.5])
    #expect(values(grad) == [1.5, 0, 2])
    try scale(&grad, by: 2)
    let sum = try NormAccumulator(options: plain)
    sum.add(grad)
    #expect(try sum.clip(&grad, maxNorm: 2.5).totalNorm == 5)
    #expect(values(grad) == [1.5, 0, 2])
    try scale(&grad, by: 2)
    sum.reset()
    try sum.addDifference(grad, minus: [0, 0, 0] as [Double])
    #expect(try sum.finish().totalNorm == 5)
    let adaGC = try MaxNormChooser(.adaGC(warmupSteps: 2, maxNorm: 100))
    #expect(try adaGC.decide(index: 0, grad).totalNorm == 5)
    var sums: [Double] = [9]
    let found = try clipPerExample(grad, into: &sums, examples: 3, maxNorm: 5, options: plain)
    #expect(abs(found.norms[0] - 3) < 1e-14 && found.norms[1] == 0 && abs(sums[0] - 7) < 1e-13)
}

@Test func memoryOfEveryKindGoesIntoEveryFunction() throws {
    func each<Element: GradientElement & BinaryFloatingPoint>(_: Element.Type) throws {
        let given: [Element] = [3, 0, 4]
        var array = given
        try checkEveryFunction(&array) { $0.map { Double($0) } }
        var slice = (given + given)[3...]
        try checkEveryFunction(&slice) { $0.map { Double($0) } }
        var contiguous = ContiguousArray(given)
        try checkEveryFunction(&contiguous) { $0.map { Double($0) } }
        var memory = UnsafeMutableBufferPointer<Element>.allocate(capacity: 3)
        defer { memory.deallocate() }
        _ = memory.initialize(from: given)
        try checkEveryFunction(&memory) { $0.map { Double($0) } }
        var spanned = given
        var span = spanned.mutableSpan
        try checkEveryFunction(&span) { span in span.withUnsafeBufferPointer { $0.map { Double($0) } } }
        #expect(try totalNorm(of: given.span).totalNorm == 5)
        #expect(try given.withUnsafeBufferPointer { try totalNorm(of: $0).totalNorm } == 5)
    }
    try each(Float.self)
    try each(Double.self)
    try each(Float16.self)
}

@Test func severalArraysGoIntoEveryFunction() throws {
    var layers: [[Float]] = [[3, 0], [4]]
    var copies: [ContiguousArray<Float>] = [[9, 9], [9]]
    #expect(try norms(of: layers) == [3, 4])
    #expect(try clipGradNorm(layers, into: &copies, maxNorm: 2.5, options: plain).totalNorm == 5)
    #expect(copies == [[1.5, 0], [2]] && layers == [[3, 0], [4]])
    var one: [Float] = [9]
    #expect(try clipGradNorm([4] as [Float], into: &one, maxNorm: 1, options: plain).totalNorm == 4)
    #expect(one == [1])
    #expect(throws: ArgumentError.self) { try clipGradNorm([4] as [Double], into: &one, maxNorm: 1) }
    func halved(_ body: () throws -> Void) throws {
        try body()
        #expect(layers == [[1.5, 0], [2]])
        try scale(&layers, by: 2)
    }
    try halved { _ = try clipGrads(&layers, maxNorm: 2.5, totalNorm: 5, options: plain) }
    try halved {
        let found = try clipByNorm(&layers, maxNorms: [1.5, 2], options: plain)
        #expect(found.clipCoefs == [0.5, 0.5])
    }
    try halved {
        let found = try clipByGroup(&layers, groups: [0, 0], maxNorms: [2.5], options: plain)
        #expect(found.norms == [5])
    }
    try halved {
        let sum = try NormAccumulator(options: plain)
        sum.add(layers)
        #expect(try sum.clip(&layers, maxNorm: 2.5).factor == 0.5)
        sum.reset()
        try sum.addDifference(layers, minus: [[0, 0], [0]] as [[Double]])
        #expect(try sum.finish().totalNorm == 2.5)
    }
    try halved {
        let units = [GradientUnits(outer: 1, reduced: 2), GradientUnits(outer: 1, reduced: 1)]
        let found = try adaptiveClipGrad(&layers, weights: [[3, 0], [4]] as [[Double]], units: units, clipFactor: 0.5)
        #expect(found.clipCoefs == [0.5, 0.5])
    }
    #expect(try clipByBlockRMS(&layers, threshold: 2).clipCoefs == [2 * 2.squareRoot() / 3, 0.5])
    var sums: [[Double]] = [[9], [9]]
    let found = try clipPerExample([[3, 0], [4, 0]] as [[Float]], into: &sums, examples: 2, maxNorms: [100])
    #expect(found.clippedCount == 0 && sums == [[3], [4]])
    // Of no examples, as Poisson sampling draws them, the sums are 0.
    let none = try clipPerExample([[], []] as [[Float]], into: &sums, examples: 0, maxNorms: [1])
    #expect(none.norms.isEmpty && sums == [[0], [0]])
    #expect(throws: ArgumentError.self) { try clipPerExample([one], into: &sums, examples: 0, maxNorms: [1]) }
    #expect(throws: ArgumentError.self) { try clipPerExample([one], into: &sums, examples: -1, maxNorms: [1]) }
}

@Test func aSliceLeavesTheRestOfItsArrayAlone() throws {
    var arena: [Float] = [9, 3, 4, 9]
    #expect(try clipGradNorm(&arena[1...2], maxNorm: 2.5, options: plain).totalNorm == 5)
    #expect(arena == [9, 1.5, 2, 9])
    var layers = [[3, 0] as ArraySlice<Double>, [4]]
    #expect(try clipGradNorm(&layers, maxNorm: 2.5, options: plain).totalNorm == 5)
    #expect(layers[1] == [2])
    #expect(try totalNorm(of: layers).totalNorm == 2.5)
    #expect(try withGradients(reading: layers) { try norms(of: $0) } == [1.5, 2])
    var many = [[Float]](repeating: [1], count: 1025)
    #expect(throws: ArgumentError.self) { try withGradients(&many) { try norms(of: $0) } }
    #expect(throws: ArgumentError.self) { try withGradients(reading: many) { try norms(of: $0) } }
    many.removeLast()
    #expect(try withGradients(&many) { try norms(of: $0) }.allSatisfy { $0 == 1 })
}

@Test func whatIsNotFiniteIsAnErrorUnlessAPolicyIsNamed() throws {
    var grad: [Float] = [3, .nan, 4]
    func refused(_ body: () throws -> some Any) {
        #expect(throws: NonfiniteError.self) { _ = try body() }
    }
    refused { try clipGradNorm(&grad, maxNorm: 1) }
    refused { try totalNorm(of: grad) }
    refused { try deferredClip(of: grad, maxNorm: 1) }
    refused { try withGradients(&grad) { try norms(of: $0) } }
    refused { try withGradients(&grad) { try clipByNorm($0, maxNorms: [1]) } }
    refused { try withGradients(&grad) { try clipByGroup($0, groups: [0], maxNorms: [1]) } }
    refused { try withGradients(&grad) { try clipByBlockRMS($0, threshold: 1) } }
    refused {
        try withGradients(&grad) { grads in
            try withGradients(reading: [1, 1, 1] as [Float]) {
                try adaptiveClipGrad(grads, weights: $0, units: [GradientUnits(outer: 1, reduced: 3)])
            }
        }
    }
    refused { try withGradients(&grad) { try clipGrads($0, maxNorm: 1, totalNorm: .infinity) } }
    let zero = ClipOptions(eps: 0, nonfinite: .zero)
    // Deferred, nothing replaces what the optimizer reads.
    refused { try deferredClip(of: grad, maxNorm: 1, options: zero) }
    let sum = try NormAccumulator(options: zero)
    sum.add(grad)
    refused { try sum.finish(maxNorm: 1) }
    #expect(try deferredClip(of: grad, maxNorm: 1, options: ClipOptions(nonfinite: .propagate)).factor.isNaN)
    #expect(try totalNorm(of: grad, options: zero).totalNorm == 5)
    #expect(grad[0] == 3)
    #expect(try clipGradNorm(&grad, maxNorm: 2.5, options: zero).totalNorm == 5)
    #expect(grad == [1.5, 0, 2])
}

@Test func tasksClipAtOnceWithTheSameBits() async throws {
    let values = (0..<300_000).map { Float($0 % 1000) / 7 }
    let expected = try totalNorm(of: values)
    try await withThrowingTaskGroup(of: (ClipResult, Float).self) { group in
        for _ in 0..<8 {
            group.addTask {
                var own = values
                let result = try clipGradNorm(&own, maxNorm: 1)
                return (result, own[299_999])
            }
        }
        var last: Float?
        for try await (result, element) in group {
            #expect(result.totalNorm == expected.totalNorm)
            #expect(last == nil || last == element)
            last = element
        }
    }
    // An accumulator or a chooser may go to another task, one at a time.
    let chooser = try MaxNormChooser(.zClip())
    _ = try chooser.decide(totalNorm: 1)
    let steps = try await Task { try chooser.decide(totalNorm: 2).steps }.value
    #expect(steps == 2)
}
