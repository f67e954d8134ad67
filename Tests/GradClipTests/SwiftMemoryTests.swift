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
    #expect(values(grad) == [3, 0, 4])
    #expect(try withGradients(&grad) { try clipByNorm($0, maxNorms: [2.5], options: plain) }.clipCoefs == [0.5])
    try scale(&grad, by: 2)
    try clipGradValue(&grad, clipValue: 3.5)
    #expect(values(grad) == [3, 0, 3.5])
    let chooser = try MaxNormChooser(.autoClip(percentile: 50))
    _ = try chooser.decide(totalNorm: 1)
    #expect(try chooser.clip(&grad, options: plain).decision.action == .clip)
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
