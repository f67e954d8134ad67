// From a finding to what a caller is told, and from a coefficient to what elements are multiplied by:
// once, for the C functions and for the Swift API.

extension ClipOptions {
    /// What elements are multiplied by where a coefficient clips them.
    func factor(of coefficient: Double) -> Double { coefficient / gradScale }
}

extension ClipResult {
    /// What is told of a finding; nothing is multiplied yet.
    @inline(never)
    init(_ found: Finding, _ options: ClipOptions) {
        totalNorm = found.norm.double(dividedBy: options.gradScale)
        nonfiniteCount = found.nonfiniteCount
        nanCount = found.nanCount
        firstTensor = found.first.tensor
        firstElement = found.first.element
        isNonfinite = nonfiniteCount > 0 && options.nonfinite == .leave
    }

    /// The same with what clipping by `maxNorm` multiplies by, unless the gradients are left alone.
    @inline(never)
    init(_ found: Finding, clippedTo maxNorm: Double, _ options: ClipOptions) {
        self.init(found, options)
        if !isNonfinite { clip(by: clipCoefficient(maxNorm: maxNorm, norm: found.norm, options: options), options) }
    }

    mutating func clip(by coefficient: Double, _ options: ClipOptions) {
        clipCoef = coefficient
        factor = options.factor(of: coefficient)
    }

    /// Whether a write replaces what is not finite.
    func zeroes(_ options: ClipOptions) -> Bool { options.nonfinite == .zero && nonfiniteCount > 0 }

    /// Whether there is something to write in place.
    func writes(_ options: ClipOptions) -> Bool { clipCoef != 1 || options.gradScale != 1 || zeroes(options) }

    /// The result where nothing is written: what the policy `zero` would replace is still
    /// there, and the optimizer would read it.
    func deferred(_ options: ClipOptions) -> ClipResult {
        var result = self
        if zeroes(options) { result.isNonfinite = true }
        return result
    }

    /// Coefficients of parts or units: the smallest is the result's. All become 1 where gradients are left
    /// alone.
    @inline(never)
    mutating func settle(_ coefs: UnsafeMutablePointer<Double>, _ count: Int, _ options: ClipOptions) {
        var smallest = 1.0
        for i in 0..<count {
            if isNonfinite { coefs[i] = 1 }
            if coefs[i] < smallest || coefs[i] != coefs[i] { smallest = coefs[i] }
        }
        if !isNonfinite { clip(by: smallest, options) }
    }
}
