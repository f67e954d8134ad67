// The functions of separate steps, parts and examples for gradients in arrays, slices and spans.
#if !hasFeature(Embedded)

/// Measures the norm of each gradient in several arrays or slices; see ``norms(of:normType:options:)-([Gradient],_,_)``.
public func norms<Memory: GradientMemory>(
    of grads: [Memory], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> [Double] {
    try withGradients(reading: grads) { try norms(of: $0, normType: normType, options: options) }
}

/// Clips a gradient in an array, a slice, a span ... out of place, into memory of the same length and type; see
/// ``clipGradNorm(_:into:maxNorm:normType:options:)-([Gradient],_,_,_,_)``.
public func clipGradNorm<
    Memory: GradientMemory & ~Copyable & ~Escapable, Output: MutableGradientMemory & ~Copyable & ~Escapable
>(
    _ grad: borrowing Memory, into output: inout Output, maxNorm: Double, normType: Double = 2,
    options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try output.withMutableGradient { output in
        try withGradients(reading: grad) {
            try clipGradNorm($0, into: [output], maxNorm: maxNorm, normType: normType, options: options)
        }
    }
}

/// The same for gradients in several arrays or slices.
public func clipGradNorm<Memory: GradientMemory, Output: MutableGradientMemory>(
    _ grads: [Memory], into outputs: inout [Output], maxNorm: Double, normType: Double = 2,
    options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withGradients(&outputs) { outputs in
        try withGradients(reading: grads) {
            try clipGradNorm($0, into: outputs, maxNorm: maxNorm, normType: normType, options: options)
        }
    }
}

/// Clips a gradient in an array, a slice, a span ... by a norm that is known already; see
/// ``clipGrads(_:maxNorm:totalNorm:options:)-([Gradient],_,_,_)``.
public func clipGrads<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, maxNorm: Double, totalNorm: Double, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withGradients(&grad) { try clipGrads($0, maxNorm: maxNorm, totalNorm: totalNorm, options: options) }
}

/// The same for gradients in several arrays or slices.
public func clipGrads<Memory: MutableGradientMemory>(
    _ grads: inout [Memory], maxNorm: Double, totalNorm: Double, options: ClipOptions = ClipOptions()
) throws -> ClipResult {
    try withGradients(&grads) { try clipGrads($0, maxNorm: maxNorm, totalNorm: totalNorm, options: options) }
}

// ------------------------------------------------------------------ in parts

/// Clips a gradient in an array, a slice, a span ... by its own norm; see
/// ``clipByNorm(_:maxNorms:normType:options:)-([Gradient],_,_,_)``.
public func clipByNorm<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, maxNorm: Double, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    try withGradients(&grad) { try clipByNorm($0, maxNorms: [maxNorm], normType: normType, options: options) }
}

/// Clips gradients in several arrays or slices, each by its own norm.
public func clipByNorm<Memory: MutableGradientMemory>(
    _ grads: inout [Memory], maxNorms: [Double], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    try withGradients(&grads) { try clipByNorm($0, maxNorms: maxNorms, normType: normType, options: options) }
}

/// Clips groups of gradients in several arrays or slices, each by the norm of the group; see
/// ``clipByGroup(_:groups:maxNorms:normType:options:)-([Gradient],_,_,_,_)``.
public func clipByGroup<Memory: MutableGradientMemory>(
    _ grads: inout [Memory], groups: [Int], maxNorms: [Double], normType: Double = 2,
    options: ClipOptions = ClipOptions()
) throws -> PartResult {
    try withGradients(&grads) {
        try clipByGroup($0, groups: groups, maxNorms: maxNorms, normType: normType, options: options)
    }
}

/// Clips a gradient in an array, a slice, a span ... by its root mean square; see
/// ``clipByBlockRMS(_:threshold:options:)-([Gradient],_,_)``.
public func clipByBlockRMS<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
    _ grad: inout Memory, threshold: Double, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    try withGradients(&grad) { try clipByBlockRMS($0, threshold: threshold, options: options) }
}

/// The same for gradients in several arrays or slices, each by its own.
public func clipByBlockRMS<Memory: MutableGradientMemory>(
    _ grads: inout [Memory], threshold: Double, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    try withGradients(&grads) { try clipByBlockRMS($0, threshold: threshold, options: options) }
}

/// Clips the units of a gradient in an array, a slice, a span ... against those of its weights; see
/// ``adaptiveClipGrad(_:weights:units:clipFactor:eps:normType:options:)-([Gradient],_,_,_,_,_,_)``.
public func adaptiveClipGrad<
    Memory: MutableGradientMemory & ~Copyable & ~Escapable, Weights: GradientMemory & ~Copyable & ~Escapable
>(
    _ grad: inout Memory, weights: borrowing Weights, units: GradientUnits, clipFactor: Double = 0.01,
    eps: Double = 1e-3, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    try grad.withMutableGradient { grad in
        try withGradients(reading: weights) {
            try adaptiveClipGrad(
                [grad], weights: $0, units: [units], clipFactor: clipFactor, eps: eps, normType: normType,
                options: options)
        }
    }
}

/// The same for gradients in several arrays or slices, and their weights.
public func adaptiveClipGrad<Memory: MutableGradientMemory, Weights: GradientMemory>(
    _ grads: inout [Memory], weights: [Weights], units: [GradientUnits], clipFactor: Double = 0.01,
    eps: Double = 1e-3, normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    try withGradients(&grads) { grads in
        try withGradients(reading: weights) {
            try adaptiveClipGrad(
                grads, weights: $0, units: units, clipFactor: clipFactor, eps: eps, normType: normType,
                options: options)
        }
    }
}

// ----------------------------------------------------------------- by example

/// Clips each example's part of a gradient in an array, a slice, a span ..., and adds the parts up; see
/// ``clipPerExample(_:into:examples:maxNorms:rule:options:)-([Gradient],_,_,_,_,_)``.
public func clipPerExample<
    Memory: GradientMemory & ~Copyable & ~Escapable, Sum: MutableGradientMemory & ~Copyable & ~Escapable
>(
    _ grad: borrowing Memory, into sum: inout Sum, examples: Int, maxNorm: Double, rule: ExampleRule = .clip,
    options: ClipOptions = ClipOptions()
) throws -> PerExampleResult {
    try sum.withMutableGradient { sum in
        try withGradients(reading: grad) {
            try clipPerExample(
                $0, into: [sum], examples: examples, maxNorms: [maxNorm], rule: rule, options: options)
        }
    }
}

/// The same for gradients in several arrays or slices, with as many sums.
public func clipPerExample<Memory: GradientMemory, Sum: MutableGradientMemory>(
    _ grads: [Memory], into sums: inout [Sum], examples: Int, maxNorms: [Double], rule: ExampleRule = .clip,
    options: ClipOptions = ClipOptions()
) throws -> PerExampleResult {
    try withGradients(&sums) { sums in
        try withGradients(reading: grads) {
            try clipPerExample(
                $0, into: sums, examples: examples, maxNorms: maxNorms, rule: rule, options: options)
        }
    }
}

// ---------------------------------------------------------------- accumulator

extension NormAccumulator {
    /// Adds gradients in several arrays or slices, one after the other.
    public func add<Memory: GradientMemory>(_ grads: [Memory]) {
        for grad in grads { add(grad) }
    }

    /// Adds the differences of the elements of two arrays, slices, spans ...; see ``addDifference(_:minus:)-([Gradient],_)``.
    public func addDifference<
        Memory: GradientMemory & ~Copyable & ~Escapable, Other: GradientMemory & ~Copyable & ~Escapable
    >(
        _ grad: borrowing Memory, minus other: borrowing Other
    ) throws {
        try grad.withGradient { grad in
            try withGradients(reading: other) { try addDifference([grad], minus: $0) }
        }
    }

    /// The same for gradients in several arrays or slices.
    public func addDifference<Memory: GradientMemory, Other: GradientMemory>(
        _ grads: [Memory], minus others: [Other]
    ) throws {
        try withGradients(reading: grads) { grads in
            try withGradients(reading: others) { try addDifference(grads, minus: $0) }
        }
    }

    /// Clips a gradient in an array, a slice, a span ... by the norm of all that was added; see
    /// ``clip(_:maxNorm:)-([Gradient],_)``.
    public func clip<Memory: MutableGradientMemory & ~Copyable & ~Escapable>(
        _ grad: inout Memory, maxNorm: Double
    ) throws -> ClipResult {
        try withGradients(&grad) { try clip($0, maxNorm: maxNorm) }
    }

    /// The same for gradients in several arrays or slices.
    public func clip<Memory: MutableGradientMemory>(_ grads: inout [Memory], maxNorm: Double) throws -> ClipResult {
        try withGradients(&grads) { try clip($0, maxNorm: maxNorm) }
    }
}

extension MaxNormChooser {
    /// Measures one gradient in an array, a slice, a span ... and decides about it; see
    /// ``decide(index:_:normType:options:)-(Int,Gradient,_,_)``.
    public func decide<Memory: GradientMemory & ~Copyable & ~Escapable>(
        index: Int, _ grad: borrowing Memory, normType: Double = 2, options: ClipOptions = ClipOptions()
    ) throws -> ClipResult {
        try grad.withGradient { try decide(index: index, $0, normType: normType, options: options) }
    }
}
#endif
