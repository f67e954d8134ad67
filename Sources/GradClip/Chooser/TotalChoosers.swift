// The rules that go by the total norm: AutoClip, ZClip, SkipStep.
import CGradClip
import CGradClipKernels

extension Chooser {
    /// Decides about a step by its total norm.
    ///
    /// - Parameters:
    ///   - isUsable: false if gradients are not finite and so left alone.
    ///   - isHistory: whether the history may take the norm in; it never takes one that
    ///     is not finite.
    @inline(never)
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
                var unused = ChooserDecision.pass
                if look(loss, &losses, records, &unused) { isSpike = true }
            }
        } else {
            if kind == ChooserOptions.zClip {
                decision.threshold = zClip(norm, &records, &decision)
            } else {
                if records && options.mode == 0 { norms.append(norm, quantile) }
                let quantile = norms.quantile(quantile)
                decision.threshold = quantile < .infinity ? quantile * options.clip_factor : quantile
                if records && options.mode == 1 { norms.append(norm, self.quantile) }
            }
            if isUsable {
                decision.multiply(by: clipCoefficient(maxNorm: decision.threshold, totalNorm: norm, eps: eps))
            }
        }
        return note(records, isUsable: isUsable, isSpike: isSpike, &decision)
    }

    @inline(never)
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
    @inline(never)
    private mutating func zClip(
        _ norm: Double, _ records: inout Bool, _ decision: inout ChooserDecision
    ) -> Double {
        let warmup = max(1, options.warmup_steps)
        let isWarm = steps < warmup
        let (z, deviation) = (options.z_threshold, gk_square_root(variance))
        var threshold = Double.infinity
        if !isWarm {
            let limit = mean + z * deviation
            let score = (norm - mean) / (deviation + options.eps)
            if options.mode == 2 {
                if norm > limit { threshold = limit }
            } else if score > z {
                threshold = options.mode == 1 ? mean : (mean + z * deviation / (score / z)) * options.clip_factor
            }
        }
        let isSpike = threshold < .infinity
        if isSpike && options.skip_update_on_spike == 1 { records = false }
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
        return min(threshold, options.max_norm)
    }

    /// Whether a value is an outlier of a history of SkipStep's, which then takes it in.
    @inline(never)
    private func look(
        _ value: Double, _ history: inout History, _ records: Bool, _ decision: inout ChooserDecision
    ) -> Bool {
        var (mean, deviation) = (0.0, Double.infinity)
        if history.count >= 2 && history.count &+ 1 >= window / 2 { (mean, deviation) = history.statistics() }
        decision.mean = mean
        decision.deviation = deviation
        // (0 * infinity is NaN, and above nothing.)
        let distance = options.z_threshold * deviation
        if deviation < .infinity { decision.threshold = mean + distance }
        if records { history.append(value, quantile) }
        return value - mean > distance
    }
}
