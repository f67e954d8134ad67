// Clipping by tensor, by group, and by the units of the weights, for Swift callers.
#if !hasFeature(Embedded)
import CGradClip
import CGradClipKernels
import CGradClipSystem

/// What clipping in parts found.
public struct PartResult: Sendable, Equatable {
    /// The norm of all gradients together, and the smallest coefficient.
    public var total = ClipResult()
    /// The coefficient of each gradient, group or unit.
    public var clipCoefs: [Double] = []
    /// The norm of each gradient or group; of units there are none.
    public var norms: [Double] = []
}

/// Clips each gradient by its own norm, as `tf.clip_by_norm` does.
///
/// - Parameters:
///   - grads: the gradients, which must not overlap.
///   - maxNorms: one limit for all, or one for each; `>= 0`, may be infinite.
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Throws: ``ArgumentError`` for an argument out of range, ``NonfiniteError`` for gradients that
///   are left alone; nothing is written then.
public func clipByNorm(
    _ grads: [Gradient], maxNorms: [Double], normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    if maxNorms.count != 1 && maxNorms.count != grads.count {
        throw ArgumentError("max_norms", "must be 1 or as many as the gradients", .integer(maxNorms.count))
    }
    return try clipParts(grads, groups: nil, maxNorms, normType, options, isRootMeanSquare: false)
}

/// Clips groups of gradients, each by the norm of the group.
///
/// - Parameters:
///   - grads: the gradients, which must not overlap.
///   - groups: for each gradient its group, below `maxNorms.count`.
///   - maxNorms: the limit of each group; `>= 0`; infinite: only measured.
///   - normType: the order p; any number but NaN.
///   - options: what differs from the defaults.
/// - Throws: as ``clipByNorm(_:maxNorms:normType:options:)-([Gradient],_,_,_)``.
public func clipByGroup(
    _ grads: [Gradient], groups: [Int], maxNorms: [Double], normType: Double = 2,
    options: ClipOptions = ClipOptions()
) throws -> PartResult {
    if groups.count != grads.count {
        throw ArgumentError("groups", "must be as many as the gradients", .integer(groups.count))
    }
    for i in groups.indices where UInt32(exactly: groups[i]) == nil {
        throw ArgumentError("groups", "must be below group_count", .integer(groups[i]), index: i)
    }
    return try clipParts(grads, groups: groups.map(UInt32.init), maxNorms, normType, options, isRootMeanSquare: false)
}

/// Clips each gradient by its root mean square, as `optax.clip_by_block_rms` does.
///
/// - Throws: as ``clipByNorm(_:maxNorms:normType:options:)-([Gradient],_,_,_)``.
public func clipByBlockRMS(
    _ grads: [Gradient], threshold: Double, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    return try clipParts(grads, groups: nil, [threshold], 2, options, isRootMeanSquare: true)
}

private func clipParts(
    _ grads: [Gradient], groups: [UInt32]?, _ maxNorms: [Double], _ normType: Double, _ options: ClipOptions,
    isRootMeanSquare: Bool
) throws -> PartResult {
    let count = groups == nil ? grads.count : maxNorms.count
    var made = PartResult()
    made.clipCoefs = [Double](repeating: 1, count: count)
    made.norms = [Double](repeating: 0, count: count)
    // (A list without gradients or groups has arrays without addresses, and the engine asks for one.)
    let groups = groups.map { $0 + [0] }
    let limits = maxNorms + [0]
    made.total = try withList(grads, writes: true) { list throws(ArgumentError) in
        try options.check()
        try check(normType: normType)
        return try limits.withUnsafeBufferPointer { limits throws(ArgumentError) in
            try withOptional(groups) { groups throws(ArgumentError) in
                try made.clipCoefs.withUnsafeMutableBufferPointer { coefs throws(ArgumentError) in
                    try made.norms.withUnsafeMutableBufferPointer { norms throws(ArgumentError) in
                        let parts = Parts(
                            groups: groups, count: count, maxNorms: limits.baseAddress,
                            stride: groups == nil && maxNorms.count == 1 ? 0 : 1, isRootMeanSquare: isRootMeanSquare)
                        try parts.check(tensors: grads.count)
                        return try clip(
                            list, in: parts, normType: normType, options: options,
                            tensorNorms: groups == nil ? norms.baseAddress : nil,
                            partNorms: groups == nil ? nil : norms.baseAddress, clipCoefs: coefs.baseAddress)
                    }
                }
            }
        }
    }.checked()
    return made
}

private func withOptional<R>(
    _ values: [UInt32]?, _ body: (UnsafePointer<UInt32>?) throws(ArgumentError) -> R
) throws(ArgumentError) -> R {
    guard let values else { return try body(nil) }
    return try values.withUnsafeBufferPointer { values throws(ArgumentError) in try body(values.baseAddress) }
}

/// How a gradient is divided into units: in memory it is an array of the shape `[outer, reduced,
/// inner]`, and all elements that differ only in the middle index are one unit.
public struct GradientUnits: Sendable, Hashable {
    public var outer: Int
    public var reduced: Int
    public var inner: Int

    /// `outer * reduced * inner` is the gradient's length.
    public init(outer: Int, reduced: Int, inner: Int = 1) {
        self.outer = outer
        self.reduced = reduced
        self.inner = inner
    }

    /// (Of an empty gradient there may be any number of units, which nobody asks for.)
    func shape(length: Int) -> gradclip_units {
        if length == 0 && (outer == 0 || reduced == 0 || inner == 0) { return gradclip_units() }
        return gradclip_units(
            outer: UInt64(bitPattern: Int64(outer)), reduced: UInt64(bitPattern: Int64(reduced)),
            inner: UInt64(bitPattern: Int64(inner)))
    }
}

/// Adaptive gradient clipping: each unit of a gradient by its norm against that of the same unit
/// of the weights (Brock et al., arXiv 2102.06171; `gradclip.h` has the formula and the units of
/// timm and optax).
///
/// - Parameters:
///   - grads: the gradients, which must not overlap.
///   - weights: as many, each as long as its gradient; read only.
///   - units: how each gradient is divided.
///   - clipFactor: finite, `>= 0`.
///   - eps: what the norm of a unit of weights counts at least; finite, `>= 0`.
///   - normType: the order p, `> 0`.
///   - options: what differs from the defaults; eps is not used.
/// - Returns: The coefficients of the units, gradient by gradient.
/// - Throws: as ``clipByNorm(_:maxNorms:normType:options:)-([Gradient],_,_,_)``; weights that are not finite are an
///   ``ArgumentError``, too, except under ``NonfinitePolicy/propagate``.
public func adaptiveClipGrad(
    _ grads: [Gradient], weights: [Gradient], units: [GradientUnits], clipFactor: Double = 0.01, eps: Double = 1e-3,
    normType: Double = 2, options: ClipOptions = ClipOptions()
) throws -> PartResult {
    if weights.count != grads.count {
        throw ArgumentError("weights", "must be as many as the gradients", .integer(weights.count))
    }
    if units.count != grads.count {
        throw ArgumentError("units", "must be as many as the gradients", .integer(units.count))
    }
    // (One more, so that there is an address.)
    let shapes = grads.indices.map { units[$0].shape(length: grads[$0].length) } + [gradclip_units()]
    var made = PartResult()
    made.total = try withList(grads, writes: true) { list throws(ArgumentError) in
        try options.check()
        return try withList(weights, "weights", writes: false) { others throws(ArgumentError) in
            try shapes.withUnsafeBufferPointer { shapes throws(ArgumentError) in
                let count = try UnitPass.check(
                    grads: list, weights: others, shapes: shapes.baseAddress, clipFactor: clipFactor, eps: eps,
                    normType: normType)
                let bytes = UnitPass.size &+ min(count, Int.max / 64) &* MemoryLayout<Double>.stride
                guard let memory = gk_allocate(bytes) else { throw .noMemory("units", bytes: bytes) }
                defer { gk_release(memory) }
                var found = ClipResult()
                var pass = UnitPass(
                    grads: list, weights: others, shapes: shapes.baseAddress.unsafelyUnwrapped, clipFactor: clipFactor,
                    eps: eps, normType: normType, options: options, memory: memory)
                try pass.run(count, &found)
                made.clipCoefs = Array(UnsafeBufferPointer(start: pass.coefs, count: count))
                return found
            }
        }
    }.checked()
    return made
}
#endif
