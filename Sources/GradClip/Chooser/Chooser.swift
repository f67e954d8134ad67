// Choosers of max_norm: each is told the norm of every step, and decides about the step.
import CGradClip
import CGradClipKernels
import CGradClipSystem

package struct Chooser {
    package internal(set) var options: ChooserOptions
    /// Norms that the history has taken in.
    var steps: UInt64 = 0
    /// ZClip's; during the warm-up the second is the sum of squared differences from the mean.
    var mean = 0.0
    var variance = 0.0
    /// AutoClip's and SkipStep's norms; AdaGC's gamma of each tensor, negative before the first.
    var norms = History()
    /// SkipStep's losses.
    var losses = History()
    /// Whether `norms.scratch` has, for each tensor of AdaGC's, the number of the step in which it was last fed alone.
    var hasMarks = false

    /// (Zeroed memory is an empty history.)
    @inline(never)
    package static func create(_ options: ChooserOptions) -> UnsafeMutablePointer<Chooser>? {
        guard let memory = gk_allocate(MemoryLayout<Chooser>.size) else { return nil }
        let chooser = memory.assumingMemoryBound(to: Chooser.self)
        chooser.pointee.options = options
        return chooser
    }

    @inline(never)
    package static func destroy(_ chooser: UnsafeMutablePointer<Chooser>) {
        chooser.pointee.release()
        gk_release(chooser)
    }

    @inline(never)
    package func release() {
        norms.release()
        losses.release()
    }

    @inline(never)
    package mutating func reset() {
        release()
        self = Chooser(options: options)
    }

    /// A history that could not grow. Nothing has changed then.
    static var noMemory: ArgumentError {
        ArgumentError("chooser", "could not get memory for its history", .none, reason: .outOfMemory())
    }

    package var isPerTensor: Bool { options.kind == ChooserOptions.adaGC }
    var quantile: Double { options.percentile / 100 }
    var window: Int { Int(truncatingIfNeeded: options.window) }

    /// Decides by norms: the total norm, or for AdaGC that of each tensor.
    @inline(never)
    package mutating func feed(
        _ given: UnsafePointer<Double>, count: Int, loss: Double?, into decision: inout ChooserDecision
    ) throws(ArgumentError) -> ChooserVerdict {
        var (largest, total, isFinite) = (0.0, 0.0, true)
        for i in 0..<count {
            if !given[i].isFinite { isFinite = false }
            largest = max(largest, given[i])
        }
        if !isPerTensor {
            return try decide(
                given[0], loss: loss, isUsable: isFinite, isHistory: true, eps: ClipOptions().eps, into: &decision)
        }
        try check(count: count)
        // Scaled, so that no square overflows.
        for i in 0..<count where given[i] > 0 { total += given[i] / largest * (given[i] / largest) }
        return decide(
            tensors: given, count: count, total: largest * gk_square_root(total), isUsable: isFinite,
            isHistory: true, into: &decision)
    }

    /// Measures, decides, and clips in place.
    @inline(never)
    package mutating func clip(
        _ grads: TensorList, normType: Double, loss: Double?, options: ClipOptions,
        tensorNorms: UnsafeMutablePointer<Double>?, into decision: inout ChooserDecision, result: inout ClipResult
    ) throws(ArgumentError) -> ChooserVerdict {
        var coefficients: UnsafeMutablePointer<Double>?
        if isPerTensor {
            try check(count: grads.count)
            coefficients = norms.scratch
        }
        let found = measure(grads, normType: normType, options: options, tensorNorms: coefficients ?? tensorNorms)
        result = ClipResult(found, options)
        let isHistory = found.nonfiniteCount == 0 || options.nonfinite == .zero
        var verdict = ChooserVerdict.done
        if let coefficients {
            for i in 0..<grads.count {
                tensorNorms?[i] = coefficients[i]
                if grads[i].length == 0 { coefficients[i] = -1 }
            }
            verdict = decide(
                tensors: coefficients, count: grads.count, total: result.totalNorm,
                isUsable: !result.isNonfinite, isHistory: isHistory, into: &decision)
            // Finite gradients of an infinite norm have no coefficient.
            if isHistory && result.totalNorm == .infinity {
                decision.multiply(by: 1)
                decision.action = ChooserDecision.skip
                verdict = .skip
            }
        } else {
            verdict = try decide(
                result.totalNorm, loss: loss, isUsable: !result.isNonfinite, isHistory: isHistory, eps: options.eps,
                into: &decision)
            if verdict == .done && self.options.kind != ChooserOptions.skipStep {
                decision.multiply(by: clipCoefficient(maxNorm: decision.threshold, norm: found.norm, options: options))
            }
        }
        if verdict != .done { return verdict }
        result.clip(by: decision.clip_coef, options)
        if let coefficients {
            for i in 0..<grads.count { coefficients[i] = options.factor(of: coefficients[i]) }
        }
        scale(grads, to: nil, as: result, each: coefficients, options)
        return verdict
    }
}
