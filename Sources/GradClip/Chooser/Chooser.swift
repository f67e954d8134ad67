// Choosers of max_norm: each is told the norm of every step, and decides about the step.
import CGradClipKernels
import CGradClipSystem

/// What a chooser is made of. The layout is that of gradclip_chooser_options, which
/// documents the fields.
package struct ChooserOptions {
    package var structSize = UInt64(MemoryLayout<ChooserOptions>.size)
    package var kind: UInt32
    package var mode: UInt32 = 0
    package var window: UInt64 = 0
    package var warmupSteps: UInt64 = 0
    package var percentile = 10.0
    package var decay = 0.97
    package var zThreshold = 2.5
    package var maxNorm = Double.infinity
    package var lambdaRel = 1.05
    package var clipFactor = 1.0
    package var eps = 1e-6
    package var skipUpdateOnSpike: UInt32 = 0
    package var reserved: UInt32 = 0

    static var autoClip: UInt32 { 1 }
    static var zClip: UInt32 { 2 }
    static var adaGC: UInt32 { 3 }
    static var skipStep: UInt32 { 4 }

    @inline(never) @_optimize(size)
    package init(kind: UInt32) {
        self.kind = kind
        if kind == Self.zClip { warmupSteps = 25 }
        if kind == Self.adaGC {
            warmupSteps = 100
            decay = 0.98
            maxNorm = 1
            eps = 1e-8
        }
        if kind == Self.skipStep {
            window = 128
            zThreshold = 6
        }
    }

    /// Every field is in its range, whether this kind uses it or not.
    @inline(never)
    package func check() throws(ArgumentError) {
        if kind &- 1 > 3 {
            throw ArgumentError("kind", "must be GRADCLIP_AUTOCLIP to SKIPSTEP", .unsigned(UInt64(kind)))
        }
        if mode > (kind == Self.autoClip ? 1 : kind == Self.zClip ? 2 : 0) {
            throw ArgumentError("mode", "is none of this kind", .unsigned(UInt64(mode)))
        }
        if window > UInt64(History.limit) || kind == Self.skipStep && window < 2 {
            throw ArgumentError("window", "must be at most 10^6, and for SKIPSTEP at least 2", .unsigned(window))
        }
        if !(percentile >= 0 && percentile <= 100) {
            throw ArgumentError("percentile", "must be between 0 and 100", .number(percentile))
        }
        if !(decay >= 0 && decay <= 1) { throw ArgumentError("decay", "must be between 0 and 1", .number(decay)) }
        try GradClip.check(proper: zThreshold, "z_threshold")
        try GradClip.check(maxNorm: maxNorm)
        try GradClip.check(proper: lambdaRel, "lambda_rel")
        try GradClip.check(proper: clipFactor, "clip_factor")
        try GradClip.check(eps: eps)
        if skipUpdateOnSpike > 1 {
            throw ArgumentError("skip_update_on_spike", "must be 0 or 1", .unsigned(UInt64(skipUpdateOnSpike)))
        }
        if reserved != 0 { throw ArgumentError("reserved", "must be 0", .unsigned(UInt64(reserved))) }
    }
}

/// What is to be done with a step. The layout is that of gradclip_decision, which
/// documents the fields.
package struct ChooserDecision {
    package var structSize: UInt64 = 0
    package var threshold = Double.infinity
    package var clipCoef = 1.0
    package var mean = 0.0
    package var deviation = 0.0
    package var steps: UInt64 = 0
    package var action: UInt32 = 0
    package var recorded: UInt32 = 0
    package var tensorThresholds: UnsafeMutablePointer<Double>?
    package var tensorCoefs: UnsafeMutablePointer<Double>?

    package static var clip: UInt32 { 1 }
    package static var skip: UInt32 { 2 }

    package init() {}

    mutating func multiply(by coefficient: Double) {
        clipCoef = coefficient
        action = coefficient == 1 ? 0 : Self.clip
    }
}

/// How a step came out. The numbers are those of gradclip_status.
package enum ChooserVerdict: Int32 {
    case done = 0
    case nonfinite = 1
    case skip = 2
}

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
    @inline(never) @_optimize(size)
    package static func create(_ options: ChooserOptions) -> UnsafeMutablePointer<Chooser>? {
        guard let memory = gk_allocate(MemoryLayout<Chooser>.size) else { return nil }
        let chooser = memory.assumingMemoryBound(to: Chooser.self)
        chooser.pointee.options = options
        return chooser
    }

    @inline(never) @_optimize(size)
    package static func destroy(_ chooser: UnsafeMutablePointer<Chooser>) {
        chooser.pointee.release()
        gk_release(chooser)
    }

    @inline(never) @_optimize(size)
    package func release() {
        norms.release()
        losses.release()
    }

    @inline(never) @_optimize(size)
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

    // ---------------------------------------------------------------- feeding

    /// Decides about a step by its total norm.
    ///
    /// - Parameters:
    ///   - isUsable: false if gradients are not finite and so left alone.
    ///   - isHistory: whether the history may take the norm in; it never takes one that
    ///     is not finite.
    @inline(never) @_optimize(size)
    mutating func decide(
        _ norm: Double, loss: Double?, isUsable: Bool, isHistory: Bool, eps: Double,
        into decision: inout ChooserDecision
    ) throws(ArgumentError) -> ChooserVerdict {
        let kind = options.kind
        let loss = kind == ChooserOptions.skipStep ? loss : nil
        let isUsable = isUsable && loss.map { $0.isFinite } ?? true
        var records = isHistory && isUsable && norm.isFinite
        if records && kind != ChooserOptions.zClip {
            if !norms.reserve(window, quantile) || loss != nil && !losses.reserve(window, quantile) {
                throw Self.noMemory
            }
        }
        // -0 becomes +0: the order of values is that of their bits.
        let norm = norm + 0
        var isSpike = false
        if kind == ChooserOptions.skipStep {
            isSpike = look(norm, &norms, records, &decision)
            if let loss {
                var unused = ChooserDecision()
                if look(loss, &losses, records, &unused) { isSpike = true }
            }
        } else {
            if kind == ChooserOptions.zClip {
                decision.threshold = zClip(norm, &records, &decision)
            } else {
                if records && options.mode == 0 { norms.append(norm, quantile) }
                let quantile = norms.quantile(quantile)
                decision.threshold = quantile < .infinity ? quantile * options.clipFactor : quantile
                if records && options.mode == 1 { norms.append(norm, self.quantile) }
            }
            if isUsable {
                decision.multiply(by: clipCoefficient(maxNorm: decision.threshold, totalNorm: norm, eps: eps))
            }
        }
        return note(records, isUsable: isUsable, isSpike: isSpike, &decision)
    }

    @inline(never) @_optimize(size)
    mutating func note(
        _ records: Bool, isUsable: Bool, isSpike: Bool, _ decision: inout ChooserDecision
    ) -> ChooserVerdict {
        if records { steps &+= 1 }
        decision.recorded = records ? 1 : 0
        decision.steps = steps
        if isUsable && !isSpike { return .done }
        decision.action = ChooserDecision.skip
        return isUsable ? .skip : .nonfinite
    }

    /// The threshold; `records` becomes false if the statistics do not change.
    @inline(never) @_optimize(size)
    private mutating func zClip(
        _ norm: Double, _ records: inout Bool, _ decision: inout ChooserDecision
    ) -> Double {
        let warmup = max(1, options.warmupSteps)
        let isWarm = steps < warmup
        let (z, deviation) = (options.zThreshold, gk_square_root(variance))
        var threshold = Double.infinity
        if !isWarm {
            let limit = mean + z * deviation
            let score = (norm - mean) / (deviation + options.eps)
            if options.mode == 2 {
                if norm > limit { threshold = limit }
            } else if score > z {
                threshold = options.mode == 1 ? mean : (mean + z * deviation / (score / z)) * options.clipFactor
            }
        }
        let isSpike = threshold < .infinity
        if isSpike && options.skipUpdateOnSpike == 1 { records = false }
        let x = isSpike ? threshold : norm
        var (m, v) = (mean, variance)
        let n = Double(steps &+ 1)
        if isWarm {
            m += (x - mean) / n
            v += (x - mean) * (x - m)
        } else {
            m = options.decay * m + (1 - options.decay) * x
            v = options.decay * v + (1 - options.decay) * ((x - m) * (x - m))
        }
        // Squares of norms beyond 1e154 are infinite, and would stay so.
        if !v.isFinite { records = false }
        if records {
            if steps &+ 1 == warmup { v /= n }
            (mean, variance) = (m, v)
        }
        decision.mean = mean
        let isFirst = isWarm && !(records && steps &+ 1 == warmup)
        decision.deviation = isFirst ? .infinity : gk_square_root(variance)
        return min(threshold, options.maxNorm)
    }

    /// Whether a value is an outlier of a history of SkipStep's, which then takes it in.
    @inline(never) @_optimize(size)
    private func look(
        _ value: Double, _ history: inout History, _ records: Bool, _ decision: inout ChooserDecision
    ) -> Bool {
        var (mean, deviation) = (0.0, Double.infinity)
        if history.count >= 2 && history.count &+ 1 >= window / 2 { (mean, deviation) = history.statistics() }
        decision.mean = mean
        decision.deviation = deviation
        // (0 * infinity is NaN, and above nothing.)
        let distance = options.zThreshold * deviation
        if deviation < .infinity { decision.threshold = mean + distance }
        if records { history.append(value, quantile) }
        return value - mean > distance
    }

    /// Decides by norms: the total norm, or for AdaGC that of each tensor.
    @inline(never) @_optimize(size)
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
        try take(count: count)
        // Scaled, so that no square overflows.
        for i in 0..<count where given[i] > 0 { total += given[i] / largest * (given[i] / largest) }
        return decide(
            tensors: given, count: count, total: largest * gk_square_root(total), isUsable: isFinite,
            isHistory: true, into: &decision)
    }

    // --------------------------------------------------------------- clipping

    /// Measures, decides, and clips in place.
    @inline(never) @_optimize(size)
    package mutating func clip(
        _ grads: TensorList, normType: Double, loss: Double?, options: ClipOptions,
        tensorNorms: UnsafeMutablePointer<Double>?, into decision: inout ChooserDecision, result: inout ClipResult
    ) throws(ArgumentError) -> ChooserVerdict {
        var coefficients: UnsafeMutablePointer<Double>?
        if isPerTensor {
            try take(count: grads.count)
            coefficients = norms.scratch
        }
        let found = measure(grads, normType: normType, options: options, tensorNorms: coefficients ?? tensorNorms)
        result = found.result(options)
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
        result.clipCoef = decision.clipCoef
        result.factor = decision.clipCoef / options.gradScale
        if let coefficients {
            for i in 0..<grads.count { coefficients[i] /= options.gradScale }
        }
        scale(
            grads, to: nil, by: result.factor, each: coefficients,
            zeroNonfinite: options.nonfinite == .zero && result.nonfiniteCount > 0, threads: options.threads)
        return verdict
    }
}
