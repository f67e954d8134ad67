// Gradients in arrays and spans, reports, errors as text.
import GradClip
import Testing

private let plain = ClipOptions(eps: 0)

@Test func anArrayIsClippedInPlace() throws {
    var floats: [Float] = [3, 4]
    #expect(try clipGradNorm(&floats, maxNorm: 2.5, options: plain).isClipped)
    #expect(floats == [1.5, 2])
    var doubles: [Double] = [3, 4]
    #expect(try clipGradNorm(&doubles, maxNorm: 3.5, normType: 1, options: plain).totalNorm == 7)
    #expect(doubles == [1.5, 2])
    var halves: [Float16] = [3, 4]
    #expect(try !clipGradNorm(&halves, maxNorm: 10, options: plain).isClipped)
    #expect(halves == [3, 4])
    var empty: [Float] = []
    #expect(try clipGradNorm(&empty, maxNorm: 1).totalNorm == 0)
}

@Test func aSpanIsClippedInPlace() throws {
    var values: [Float] = [3, 0, 4]
    var span = values.mutableSpan
    let result = try clipGradNorm(&span, maxNorm: 2.5, options: plain)
    #expect(result.totalNorm == 5)
    #expect(values == [1.5, 0, 2])
}

@Test(arguments: [2, 128, 129, 1000])
func arraysOfArraysHaveOneNorm(count: Int) throws {
    // count ones in count arrays of several lengths, and zeros.
    var grads = (0..<count).map { [Float](repeating: 0, count: $0 % 3) + [1] }
    let norm = Double(count).squareRoot()
    #expect(try totalNorm(of: grads).totalNorm == norm)
    let copies = grads
    let result = try clipGradNorm(&grads, maxNorm: norm / 2, options: plain)
    #expect(result.totalNorm == norm)
    #expect(result.factor == 0.5)
    #expect(grads.allSatisfy { $0.last == 0.5 && $0.dropLast().allSatisfy { $0 == 0 } })
    #expect(copies.allSatisfy { $0.last == 1 })

    grads[count - 1][0] = .nan
    let before = grads[0]
    let left = #expect(throws: NonfiniteError.self) { try clipGradNorm(&grads, maxNorm: 0.1) }
    #expect(left!.result.firstNonfinite! == (gradient: count - 1, element: 0))
    #expect(grads[0] == before)
    #expect(throws: ArgumentError.self) { try clipGradNorm(&grads, maxNorm: -1) }
}

@Test func deferredClippingWritesNothing() throws {
    var grad: [Float] = [3, 4]
    let result = try grad.withUnsafeMutableBufferPointer {
        try deferredClip(of: [Gradient($0)], maxNorm: 2.5, options: plain)
    }
    #expect(result.factor == 0.5)
    #expect(grad == [3, 4])
    #expect(try clipCoef(maxNorm: 2.5, totalNorm: 5, eps: 0) == 0.5)
    var options = plain
    options.gradScale = 4
    let measured = try grad.withUnsafeBufferPointer { try totalNorm(of: [Gradient(reading: $0)], options: options) }
    #expect(measured.totalNorm == 1.25)
    #expect(measured.factor == 0.25)
    try grad.withUnsafeMutableBufferPointer { try scale([Gradient($0)], by: 0.5) }
    #expect(grad == [1.5, 2])
}

@Test func clampingAnArray() throws {
    var grad: [Double] = [-3, 0.5]
    try clipGradValue(&grad, clipValue: 1)
    #expect(grad == [-1, 0.5])
}

@Test func gradientsThatAreOnlyReadAreNotWritten() throws {
    let grad: [Float] = [3, 4]
    try grad.withUnsafeBufferPointer { memory throws in
        let grads = [Gradient(reading: memory)]
        #expect(try totalNorm(of: grads).totalNorm == 5)
        let error = #expect(throws: ArgumentError.self) { try clipGradNorm(grads, maxNorm: 1) }
        #expect("\(error!)" == "grads[0] must not be made with init(reading:): it would be written")
        #expect(throws: ArgumentError.self) { try clipGradNorm(grads, into: grads, maxNorm: 1) }
        #expect(throws: ArgumentError.self) { try scale(grads, by: 2) }
        #expect(throws: ArgumentError.self) { try clipGradValue(grads, clipValue: 1) }
        #expect(throws: ArgumentError.self) { try clipGrads(grads, maxNorm: 1, totalNorm: 5) }
    }
    #expect(grad == [3, 4])
}

@Test func inspectingNamesWhatIsWrong() throws {
    let grads: [[Float]] = [[3, 0, -4], [.nan, 1, -.infinity], []]
    let (reports, total) = try grads[0].withUnsafeBufferPointer { first in
        try grads[1].withUnsafeBufferPointer { second in
            try grads[2].withUnsafeBufferPointer { third in
                try inspect([Gradient(reading: first), Gradient(reading: second), Gradient(reading: third)])
            }
        }
    }
    #expect(reports.map(\.norm) == [5, 1, 0])
    #expect(reports.map(\.count) == [3, 3, 0])
    #expect(reports[0].maxAbs == 4)
    #expect(reports[0].mean == -1.0 / 3)
    #expect(reports[0].zeroCount == 1)
    #expect(reports[0].firstNonfinite == nil)
    #expect(reports[1].firstNonfinite == 0)
    #expect(reports[1].nanCount == 1)
    #expect(reports[1].negativeInfinityCount == 1)
    #expect(reports[1].positiveInfinityCount == 0)
    #expect(total.firstNonfinite! == (gradient: 1, element: 0))
    #expect(try inspect([]).reports.isEmpty)
}

@Test func errorsNameArgumentAndValue() {
    var grad: [Float] = [1]
    func text(_ body: () throws -> some Any) -> String {
        do { _ = try body() } catch { return "\(error)" }
        return "no error"
    }
    #expect(text { try clipGradNorm(&grad, maxNorm: -1) } == "maxNorm must be a number >= 0 (got -1.0)")
    #expect(text { try clipGradNorm(&grad, maxNorm: 1, normType: .nan) } == "normType must be a number (got nan)")
    #expect(
        text { try clipGradNorm([], into: [Gradient(float16: .init(start: nil, count: 0))], maxNorm: 1) }
            == "outputs must be as many as the gradients (got 1)")
    var options = ClipOptions()
    options.gradScale = 0
    #expect(
        text { try clipGradNorm(&grad, maxNorm: 1, options: options) } == "gradScale must be finite and > 0 (got 0.0)")
    options.gradScale = 1
    options.threads = -1
    #expect(text { try clipGradNorm(&grad, maxNorm: 1, options: options) } == "threads must be >= 0 (got -1)")
    #expect(text { try scale([], by: .infinity) } == "factor must be finite (got inf)")
    #expect(text { _ = try clipCoef(maxNorm: 1, totalNorm: -1) } == "totalNorm must be a number >= 0 (got -1.0)")
    #expect(grad == [1])
}

@Test func policiesAndOptionsCompare() {
    #expect(Set([NonfinitePolicy.leave, .zero, .leave]).count == 2)
    #expect("\(NonfinitePolicy.propagate)" == "propagate")
    #expect(ClipOptions() == ClipOptions())
    #expect(ClipOptions() != plain)
    let before = maximumThreadCount
    maximumThreadCount = 3
    #expect(maximumThreadCount == 3)
    maximumThreadCount = -1
    #expect(maximumThreadCount == before)
}

@Test func theNormOfAnArrayIsMeasuredWithoutAWrite() throws {
    #expect(try totalNorm(of: [3, 4] as [Float]).totalNorm == 5)
    #expect(try totalNorm(of: [3, -4] as [Double], normType: 1).totalNorm == 7)
    #expect(throws: ArgumentError.self) { try totalNorm(of: [1] as [Float], normType: .nan) }
}

@Test func halvesAreGivenAsTheirBits() throws {
    let halves = UnsafeMutableBufferPointer<UInt16>.allocate(capacity: 2)
    let brains = UnsafeMutableBufferPointer<UInt16>.allocate(capacity: 2)
    defer {
        halves.deallocate()
        brains.deallocate()
    }
    _ = halves.initialize(from: [0x4200, 0x4400])  // 3 and 4 in binary16
    _ = brains.initialize(from: [0x4040, 0xc080])  // 3 and -4 in bfloat16
    let grads = [Gradient(float16: halves), Gradient(bfloat16: brains)]
    #expect(try norms(of: grads) == [5, 5])
    #expect(try totalNorm(of: grads, normType: 1).totalNorm == 14)
    #expect(throws: ArgumentError.self) { try norms(of: grads, normType: .nan) }
}
