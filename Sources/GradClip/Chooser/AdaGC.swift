// AdaGC: each tensor by its own history. The step's tensors come together, or each when it
// has its gradient.
import CGradClip
import CGradClipSystem

extension Chooser {
    /// Notes how many tensors there are, at the first call.
    @inline(never)
    mutating func check(count: Int) throws(ArgumentError) {
        if norms.count == 0 && count > 0 {
            if !norms.allocate(count) { throw Self.noMemory }
            norms.count = count
            for i in 0..<count { norms.values[i] = -1 }
        }
        if norms.count != count {
            throw ArgumentError("count", "must be the number of tensors of the first step", .size(count))
        }
    }

    /// AdaGC's decision by the norm of each tensor, negative for one that has no
    /// gradient. The coefficients are left in `norms.scratch`, which `tensors` may be.
    @inline(never)
    mutating func decide(
        tensors: UnsafePointer<Double>, count: Int, total: Double, isUsable: Bool, isHistory: Bool,
        into decision: inout ChooserDecision
    ) -> ChooserVerdict {
        var records = isHistory && isUsable && total.isFinite
        for i in 0..<count where !tensors[i].isFinite { records = false }
        let isWarm = steps &+ 1 < options.warmup_steps
        let eps = options.eps
        let common = clipCoefficient(maxNorm: options.max_norm, totalNorm: total, eps: eps)
        hasMarks = false
        for i in 0..<count {
            let (norm, gamma) = (tensors[i], norms.values[i])
            var (threshold, coefficient, next) = (Double.infinity, 1.0, gamma)
            if norm < 0 {
            } else if isWarm || gamma < 0 {
                decision.threshold = options.max_norm
                (coefficient, next) = Self.together(norm, gamma, common)
            } else {
                (threshold, coefficient, next) = apart(norm, gamma)
            }
            if records { norms.values[i] = next }
            if !isUsable { coefficient = 1 }
            norms.scratch[i] = coefficient
            decision.tensor_thresholds?[i] = threshold
            decision.tensor_coefs?[i] = coefficient
            if !(coefficient >= decision.clip_coef) { decision.multiply(by: coefficient) }
        }
        return note(records, isUsable: isUsable, isSpike: false, &decision)
    }

    /// While all are clipped by one coefficient: it, and the next gamma.
    private static func together(_ norm: Double, _ gamma: Double, _ coefficient: Double) -> (Double, Double) {
        (coefficient, gamma < 0 ? coefficient * norm : min(gamma, coefficient * norm))
    }

    /// Threshold, coefficient and the next gamma of a tensor that has a history.
    private func apart(_ norm: Double, _ gamma: Double) -> (Double, Double, Double) {
        let eps = options.eps
        let threshold = options.lambda_rel * max(gamma, eps)
        let coefficient = clipCoefficient(maxNorm: threshold, totalNorm: norm <= eps ? eps : norm, eps: 0)
        return (threshold, coefficient, gamma + (1 - options.decay) * (coefficient * norm - gamma))
    }

    // ------------------------------------------------------- one after the other

    /// Measures the gradient of one tensor and decides about it. Several threads may do so at a
    /// time: what they share is read and written under the lock.
    ///
    /// - Parameter grad: a list of one, which is counted.
    @inline(never)
    package static func feed(
        _ chooser: UnsafeMutablePointer<Chooser>, tensor index: Int, _ grad: TensorList, normType: Double,
        options: ClipOptions, into result: inout ClipResult
    ) throws(ArgumentError) -> ChooserVerdict {
        if !chooser.pointee.isPerTensor { throw ArgumentError("chooser", "must be of the kind ADAGC", .none) }
        if index < 0 || index >= History.limit { throw ArgumentError("index", "must be below 10^6", .size(index)) }
        var options = options
        options.nonfinite = .leave
        result = ClipResult(measure(grad, normType: normType, options: options, tensorNorms: nil), options)
        if result.isNonfinite {
            result.firstTensor = UInt64(index)
            return .nonfinite
        }
        if !result.totalNorm.isFinite { return .skip }
        var coefficient = 1.0
        if !grad.isEmpty {
            ThreadPool.lock(ifShared: true)
            defer { ThreadPool.unlock(ifShared: true) }
            coefficient = try chooser.pointee.decide(tensor: index, result.totalNorm)
        }
        result.clip(by: coefficient, options)
        return .done
    }

    /// The coefficient of one tensor.
    @inline(never)
    private mutating func decide(tensor index: Int, _ norm: Double) throws(ArgumentError) -> Double {
        if index >= norms.count && !norms.extend(to: index &+ 1) { throw Self.noMemory }
        let marks = norms.scratch
        if !hasMarks {
            for i in 0..<norms.count { marks[i] = Double(steps) }
            hasMarks = true
        }
        // A tensor that was fed in this step begins the next.
        if marks[index] == Double(steps) { steps &+= 1 }
        marks[index] = Double(steps)
        let gamma = norms.values[index]
        var (coefficient, next) = (1.0, gamma)
        if steps < options.warmup_steps || gamma < 0 {
            let own = clipCoefficient(maxNorm: options.max_norm, totalNorm: norm, eps: options.eps)
            (coefficient, next) = Self.together(norm, gamma, own)
        } else {
            (_, coefficient, next) = apart(norm, gamma)
        }
        norms.values[index] = next
        return coefficient
    }
}

extension History {
    /// Room for so many tensors: new ones have no gamma yet, and the mark of no step.
    @inline(never)
    fileprivate mutating func extend(to count: Int) -> Bool {
        if count > capacity {
            var larger = History()
            // (max of three takes an array, of a symbol that is not this library's own.)
            if !larger.allocate(max(max(64, 2 &* capacity), count)) { return false }
            larger.count = self.count
            for i in 0..<self.count {
                larger.values[i] = values[i]
                larger.scratch[i] = scratch[i]
            }
            release()
            self = larger
        }
        for i in self.count..<count { (values[i], scratch[i]) = (-1, -1) }
        self.count = count
        return true
    }
}
