// The rules for arguments of clipping by part, by unit and by example, each in one place.
import CGradClip
import CGradClipKernels

extension Parts {
    /// Limits and groups of a list of so many tensors.
    package func check(tensors: Int) throws(ArgumentError) {
        for i in 0..<(stride == 0 ? 1 : count) {
            let limit = maxNorms.unsafelyUnwrapped[i]
            if limit >= 0 { continue }
            if isRootMeanSquare { throw ArgumentError("threshold", "must be a number >= 0", .number(limit)) }
            throw ArgumentError("max_norms", "must be a number >= 0", .number(limit), index: i)
        }
        guard let groups else { return }
        for i in 0..<tensors where Int(groups[i]) >= count {
            throw ArgumentError("groups", "must be below group_count", .unsigned(UInt64(groups[i])), index: i)
        }
    }
}

extension UnitPass {
    /// Returns how many units there are, Int.max for more.
    package static func check(
        grads: TensorList, weights: TensorList, shapes: UnsafePointer<gradclip_units>?, clipFactor: Double, eps: Double,
        normType: Double
    ) throws(ArgumentError) -> Int {
        if grads.count > 0 && shapes == nil { throw .null("units") }
        var count = 0
        for i in 0..<grads.count {
            let expected = grads[i].length
            let found = weights[i].length
            if found != expected {
                throw ArgumentError("weights", "must be that of the gradient", .size(found), index: i, field: ".length")
            }
            let shape = shapes.unsafelyUnwrapped[i]
            try shape.check(expected, i)
            // (Of empty tensors there may be any number of units.)
            let (sum, overflows) = count.addingReportingOverflow(shape.count)
            count = overflows ? Int.max : sum
        }
        try GradClip.check(proper: clipFactor, "clip_factor")
        try GradClip.check(proper: eps, "eps")
        if !(normType > 0) { throw ArgumentError("norm_type", "must be a number > 0", .number(normType)) }
        return count
    }
}

extension gradclip_units {
    /// outer * reduced * inner must be the length of the gradient.
    fileprivate func check(_ length: Int, _ index: Int) throws(ArgumentError) {
        try Self.check(outer, ".outer", index)
        try Self.check(reduced, ".reduced", index)
        try Self.check(inner, ".inner", index)
        let (first, overflows) = Int(outer).multipliedReportingOverflow(by: Int(inner))
        let (all, overflow) = first.multipliedReportingOverflow(by: Int(reduced))
        if overflows || overflow {
            throw ArgumentError("units", "is too many with the others", .unsigned(outer), index: index, field: ".outer")
        }
        if all != length {
            throw ArgumentError(
                "units", "must have as product of outer, reduced and inner the gradient's length", .size(all),
                index: index)
        }
    }

    private static func check(_ extent: UInt64, _ field: StaticString, _ index: Int) throws(ArgumentError) {
        if extent > Int.max {
            throw ArgumentError("units", "is more than memory can hold", .unsigned(extent), index: index, field: field)
        }
    }
}

extension ExampleClip {
    /// Of no examples, as Poisson sampling may draw them, gradients have no elements, and sums any length.
    package static func check(
        grads: TensorList, sums: TensorList?, examples: Int, maxNorms: UnsafePointer<Double>?, layers: Int
    ) throws(ArgumentError) {
        if examples < 0 { throw ArgumentError("examples", "is more than memory can hold", .size(examples)) }
        for i in 0..<grads.count {
            let length = grads[i].length
            if examples == 0 ? length != 0 : length % examples != 0 {
                throw ArgumentError(
                    "grads", "must be a multiple of examples", .size(length), index: i, field: ".length")
            }
            guard let sum = sums?[i] else { continue }
            if sum.dtype != .float32 && sum.dtype != .float64 {
                throw ArgumentError(
                    "sums", "must be GRADCLIP_F32 or F64", .unsigned(UInt64(sum.dtype.rawValue)), index: i,
                    field: ".dtype")
            }
            if examples > 0 && sum.length != length / examples {
                throw ArgumentError(
                    "sums", "must be that of one example", .size(sum.length), index: i, field: ".length")
            }
        }
        if layers != 1 && layers != grads.count {
            throw ArgumentError("max_norm_count", "must be 1 or count", .size(layers))
        }
        if layers > 0 && maxNorms == nil { throw .null("max_norms") }
        for i in 0..<layers {
            let limit = maxNorms.unsafelyUnwrapped[i]
            try GradClip.check(proper: limit, "max_norms", index: i)
            // (A subnormal one is below what norms are rounded up to.)
            if limit > 0 && limit < .leastNormalMagnitude {
                throw ArgumentError("max_norms", "must be 0 or at least DBL_MIN", .number(limit), index: i)
            }
        }
    }
}

/// For `adapted(maxNorm:unclipped:examples:quantile:rate:)`.
package func checkAdapted(
    maxNorm: Double, unclipped: Double, examples: Double, quantile: Double, rate: Double
) throws(ArgumentError) {
    try check(proper: maxNorm, "max_norm")
    if !unclipped.isFinite { throw ArgumentError("unclipped", "must be finite", .number(unclipped)) }
    if !(examples > 0 && examples < .infinity) {
        throw ArgumentError("examples", "must be finite and > 0", .number(examples))
    }
    if !(quantile >= 0 && quantile <= 1) {
        throw ArgumentError("quantile", "must be between 0 and 1", .number(quantile))
    }
    try check(proper: rate, "rate")
}
