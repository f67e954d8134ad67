// Choosers, parts, examples and the monitor from Swift.
import Foundation
import GradClip
import Testing

private let plain = ClipOptions(eps: 0)

@Test func aChooserDecidesFromTheNormsBeforeAndIsEncodedWithThem() throws {
    // The median of the norms so far, this one among them.
    let chooser = try MaxNormChooser(.autoClip(percentile: 50))
    for (norm, threshold) in [(1.0, 1.0), (2, 1.5), (3, 2)] {
        #expect(try chooser.decide(totalNorm: norm).threshold == threshold)
    }
    let copy = try JSONDecoder().decode(MaxNormChooser.self, from: JSONEncoder().encode(chooser))
    for chooser in [chooser, copy] {
        var grad: [Float] = [3, 4]
        let (result, decision) = try chooser.clip(&grad, options: plain)  // of 1, 2, 3, 5: 2.5
        #expect(result.totalNorm == 5)
        #expect(decision.threshold == 2.5)
        #expect(decision.action == .clip && decision.steps == 4 && decision.isRecorded)
        #expect(grad == [1.5, 2])
        chooser.reset()
        #expect(try chooser.decide(totalNorm: 7).steps == 1)
    }
    #expect(throws: ArgumentError.self) { try copy.restore(bytes: Array(chooser.bytes.dropFirst())) }
    #expect(throws: ArgumentError.self) { try copy.restore(bytes: []) }
    let error = #expect(throws: ArgumentError.self) { try MaxNormChooser(.autoClip(percentile: 101)) }
    #expect("\(error!)" == "percentile must be between 0 and 100 (got 101.0)")
    #expect(throws: ArgumentError.self) { try MaxNormChooser(.skipStep(window: -1)) }
    #expect(throws: ArgumentError.self) { try chooser.decide(totalNorm: -1) }
    #expect(throws: ArgumentError.self) { try chooser.decide(tensorNorms: [1, 2]) }
}

@Test func aStepThatIsToBeSkippedIsAnError() throws {
    let chooser = try MaxNormChooser(.skipStep(window: 8))
    for norm in [1, 1.1, 0.9, 1, 1.05, 0.95] { #expect(try chooser.decide(totalNorm: norm, loss: 1).action == .pass) }
    var grad: [Float] = [300, 400]
    let skipped = #expect(throws: SkipStepError.self) { try chooser.clip(&grad, loss: 1) }
    #expect(skipped!.result.totalNorm == 500 && skipped!.decision.action == .skip)
    #expect(throws: SkipStepError.self) { try chooser.decide(totalNorm: 1e9, loss: 1) }
    #expect(throws: NonfiniteError.self) { try chooser.decide(totalNorm: .nan) }
    #expect(throws: NonfiniteError.self) { try chooser.decide(totalNorm: 1, loss: .infinity) }
    grad[1] = .nan
    let left = #expect(throws: NonfiniteError.self) { try chooser.clip(&grad, loss: 1) }
    #expect(left!.result.firstNonfinite! == (gradient: 0, element: 1))
    #expect(grad[0] == 300)
}

@Test(arguments: [1.0, 4])
func aChooserToldANormGivesAnOptimizerTheSameFactor(scale: Double) throws {
    // Measured whole, and piece by piece.
    let (whole, told) = (try MaxNormChooser(.zClip(warmupSteps: 5)), try MaxNormChooser(.zClip(warmupSteps: 5)))
    let options = ClipOptions(gradScale: scale)
    let sum = try NormAccumulator(options: options)
    for step in 0..<30 {
        var layers: [[Float]] = [[3, 0], [step == 20 ? 4000 : 4 + Float(step % 3)]]
        sum.reset()
        for layer in layers { sum.add(layer) }
        let measured = try sum.finish()
        let decision = try told.decide(totalNorm: measured.totalNorm)
        let (result, same) = try whole.clip(&layers, options: options)
        #expect(decision == same)
        #expect(abs(decision.clipCoef * measured.factor - result.factor) <= 1e-15)
        #expect((step == 20) == (decision.action == .clip))
    }
}

@Test func adaGCGivesEachGradientItsOwnCoefficient() throws {
    let chooser = try MaxNormChooser(.adaGC(warmupSteps: 1, maxNorm: 100))
    #expect(try chooser.decide(tensorNorms: [3, -1, 4]).clipCoef == 1)
    let decision = try chooser.decide(tensorNorms: [30, -1, 4])
    #expect(abs(decision.tensorCoefs[0] - 0.105) < 1e-8)  // lambdaRel 1.05 times what it was
    #expect(decision.tensorCoefs[2] == 1 && decision.tensorThresholds.count == 3)
    #expect(throws: ArgumentError.self) { try chooser.decide(tensorNorms: [1]) }
}

@Test func eachGradientGroupOrUnitByItsOwnNorm() throws {
    var grads: [[Float]] = [[3, 0], [4]]
    var found = try withGradients(&grads) { try clipByNorm($0, maxNorms: [6, 2], options: plain) }
    #expect(found.norms == [3, 4] && found.clipCoefs == [1, 0.5] && found.total.totalNorm == 5)
    #expect(grads == [[3, 0], [2]])
    grads = [[3, 0], [4]]
    found = try withGradients(&grads) { try clipByGroup($0, groups: [1, 1], maxNorms: [1, 2.5, 7], options: plain) }
    #expect(found.norms == [0, 5, 0] && found.clipCoefs == [1, 0.5, 1] && grads == [[1.5, 0], [2]])
    #expect(throws: ArgumentError.self) { try clipByGroup([], groups: [0], maxNorms: [1]) }
    #expect(throws: ArgumentError.self) {
        try withGradients(&grads) { try clipByGroup($0, groups: [0, 1], maxNorms: [1]) }
    }
    #expect(throws: ArgumentError.self) { try withGradients(&grads) { try clipByNorm($0, maxNorms: [1, -1]) } }
    #expect(throws: ArgumentError.self) { try withGradients(&grads) { try clipByNorm($0, maxNorms: [1, 2, 3]) } }
    #expect(try clipByGroup([], groups: [], maxNorms: []).clipCoefs.isEmpty)
    var rms: [Double] = [3, 3, 3, 3]
    found = try withGradients(&rms) { try clipByBlockRMS($0, threshold: 1.5) }
    #expect(found.norms == [6] && rms == [1.5, 1.5, 1.5, 1.5])
    // Two units of two: the first has 5 of 0.5, the second 0.25 of 0.05.
    var grad: [Float] = [3, 4, 0.25, 0]
    let weights: [Double] = [30, 40, 3, 4]
    func adaptive(_ units: GradientUnits) throws -> PartResult {
        try withGradients(&grad) { grads in
            try withGradients(reading: weights) { try adaptiveClipGrad(grads, weights: $0, units: [units]) }
        }
    }
    #expect(try adaptive(GradientUnits(outer: 2, reduced: 2)).clipCoefs == [0.01 * 50 / 5, 0.05 / 0.25])
    #expect(grad[0] == 0.3)
    for (wrong, says) in [
        (GradientUnits(outer: 2, reduced: 3), "units[0] must have as product"),
        (GradientUnits(outer: .max, reduced: 2, inner: .max), "units[0].outer is too many with the others"),
    ] {
        let error = #expect(throws: ArgumentError.self) { try adaptive(wrong) }
        #expect("\(error!)".hasPrefix(says))
    }
}

@Test func examplesByTheirOwnNorms() throws {
    // Three examples of two elements: norms 5, 10, and one with a NaN.
    let grad: [Float] = [3, 4, 6, 8, .nan, 1]
    var sum = [Double](repeating: 9, count: 2)
    let found = try withGradients(reading: grad) { grads in
        try withGradients(&sum) { try clipPerExample(grads, into: $0, examples: 3, maxNorms: [5], rule: .threshold) }
    }
    #expect(sum == [3, 4] && found.factors == [1, 0, 0] && found.norms[..<2] == [5, 10] && found.norms[2].isNaN)
    #expect(found.clippedCount == 1 && found.nonfiniteCount == 1 && found.firstNonfinite == 2)
    #expect(found.sensitivity == 5 && found.roundingBound > 0)
    withGradients(reading: grad) { grads in
        #expect(throws: ArgumentError.self) { try clipPerExample(grads, examples: 4, maxNorms: [5]) }
        #expect(throws: ArgumentError.self) { try clipPerExample(grads, examples: 3, maxNorms: [-5]) }
        #expect(throws: ArgumentError.self) { try clipPerExample(grads, into: grads, examples: 3, maxNorms: [5]) }
    }
    #expect(try adaptedMaxNorm(2, unclipped: 5, examples: 10) == 2)
    #expect(throws: ArgumentError.self) { try adaptedMaxNorm(2, unclipped: 5, examples: 0) }
}

@Test func aMonitorWritesALineAStepAndEachWarningOnce() throws {
    var (lines, warnings): ([String], [String]) = ([], [])
    var monitor = TrainingMonitor { kind, line in
        if kind == .csv { lines.append(line) } else { warnings.append(line) }
    }
    var grad: [Float] = [3, 4]
    monitor.log(try clipGradNorm(&grad, maxNorm: 2.5, options: plain), learningRate: 0.25, loss: 1.5)
    grad[1] = .nan
    for _ in 0..<2 {
        let left = #expect(throws: NonfiniteError.self) { try clipGradNorm(&grad, maxNorm: 1) }
        monitor.log(left!.result, loss: .nan)
    }
    #expect(lines[0].hasPrefix("step,grad_norm,clip_coef,"))
    #expect(lines[1...] == ["1,5,0.5,0.25,1.5,0,,,,", "2,nan,1,,nan,1,0,1,,", "3,nan,1,,nan,1,0,1,,"])
    #expect(
        warnings == [
            "step 2: NaN or infinite gradients, elements: 1, the first: element 1 of tensor 0",
            "step 2: the loss is NaN or infinite",
        ])
    #expect(monitor.step == 4 && monitor.said == [.header, .nonfinite, .loss])
    var resumed = TrainingMonitor(step: monitor.step, said: monitor.said) { lines.append("\($1)") }
    resumed.log(ClipResult())
    #expect(lines.last == "step 4: all gradients are zero")
    let (result, decision) = try MaxNormChooser(.autoClip(clipFactor: 0.5)).clip([])
    resumed.log(result, decision: decision)
    #expect(lines.last == "5,0,0,,,0,,,0,clip")
}

@Test func accumulatorsAreEncodedAndAddedUpAsWords() throws {
    let (a, b) = (try NormAccumulator(options: plain), try NormAccumulator(options: plain))
    a.add([3, 12] as [Float])
    b.add([4] as [Float])
    let copy = try JSONDecoder().decode(NormAccumulator.self, from: JSONEncoder().encode(a))
    let sums = zip(try copy.words(maxNorm: 6.5), try b.words(maxNorm: 6.5)).map(+)
    try b.read(words: sums, maxNorm: 6.5)
    #expect(try b.finish(maxNorm: 6.5).factor == 0.5)
    #expect(throws: ArgumentError.self) { try a.read(words: sums, maxNorm: 7) }
    #expect(throws: ArgumentError.self) { try a.read(words: [], maxNorm: 7) }
    let refused = zip(try a.words(maxNorm: 1), NormAccumulator.refusalWords()).map(+)
    #expect(throws: ArgumentError.self) { try a.read(words: refused, maxNorm: 1) }
}

@Test func gradientsThatShareMemoryAreNamed() throws {
    let arena = UnsafeMutableBufferPointer<Float>.allocate(capacity: 10)
    defer { arena.deallocate() }
    let (front, back) = (Gradient(.init(rebasing: arena[..<5])), Gradient(.init(rebasing: arena[4...])))
    #expect(try overlap(in: [back, front])! == (first: 0, second: 1))
    #expect(try overlap(in: [front]) == nil)
}

@Test func adaGCIsToldOneGradientAfterTheOther() throws {
    let chooser = try MaxNormChooser(.adaGC(warmupSteps: 2, maxNorm: 100))
    func fed(_ index: Int, _ values: [Double]) throws -> ClipResult {
        try values.withUnsafeBufferPointer { try chooser.decide(index: index, Gradient(reading: $0)) }
    }
    for index in [1, 0, 1, 0] {
        let result = try fed(index, [3, 4])
        #expect(result.totalNorm == 5 && result.factor == 1)
    }
    #expect(abs(try fed(1, [30, 40]).factor - 0.105) < 1e-12)
    let left = #expect(throws: NonfiniteError.self) { try fed(7, [1, .nan]) }
    #expect(left?.result.firstTensor == 7 && left?.result.firstElement == 1)
    let beyond = #expect(throws: SkipStepError.self) { try fed(7, [1e308, 1.7e308]) }
    #expect(beyond?.decision.action == .skip)
    #expect(throws: ArgumentError.self) { try fed(1_000_000, [1]) }
    #expect(throws: ArgumentError.self) { try fed(-1, [1]) }
    let none = Gradient(reading: UnsafeBufferPointer<Float>(start: nil, count: 0))
    #expect(throws: ArgumentError.self) { try MaxNormChooser(.zClip()).decide(index: 0, none) }
    // What whole steps decide after the warm-up, and the bytes of their state.
    let whole = try MaxNormChooser(.adaGC(warmupSteps: 2, maxNorm: 100))
    for _ in 0..<2 { _ = try whole.decide(tensorNorms: [5, 5]) }
    _ = try whole.decide(tensorNorms: [-1, 50])
    #expect(chooser.bytes == whole.bytes)
}
