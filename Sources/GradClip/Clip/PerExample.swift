// Clipping by example, for differentially private training: tensors hold one gradient
// an example, and what comes out is the sum of the clipped gradients.
//
// Privacy rests on the exact norm of every contribution being at most max_norm. So norms
// are rounded up and factors down, and the products and sums of the second pass are
// rounded towards zero: the contribution of an example is then factor * gradient cut off,
// and no element's sum is off by more than (examples - 1) * 2^-52 of the sum of the
// magnitudes that went into it.
import CGradClipKernels
import CGradClipSystem
import GradClipKernels

package struct ExamplePass {
    let grads: TensorList
    let sums: TensorList?
    let examples: Int
    let maxNorms: UnsafePointer<Double>?
    /// Norms of an example: 1, or one a tensor.
    let layers: Int
    /// 0: min(1, max_norm / (n + eps)); 1: max_norm / (n + eps), larger than 1 for a small
    /// n; 2: 1 if n <= max_norm, otherwise 0.
    let rule: UInt32
    let options: ClipOptions
    let norms: UnsafeMutablePointer<Double>
    let factors: UnsafeMutablePointer<Double>
    let kernels = gk_process_kernels().unsafelyUnwrapped
    var numbers: Int64 = 0
    /// Columns that a thread sums at a time.
    var columns = 0
    // What came of it.
    package var clipped: UInt64 = 0
    package var nonfinite: UInt64 = 0
    package var firstNonfinite = UInt64.max
    package var sensitivity = 0.0
    package var rounding = 0.0

    @inline(never)
    package init(
        grads: TensorList, sums: TensorList?, examples: Int, maxNorms: UnsafePointer<Double>?, layers: Int,
        rule: UInt32, options: ClipOptions, norms: UnsafeMutablePointer<Double>, factors: UnsafeMutablePointer<Double>
    ) {
        self.grads = grads
        self.sums = sums
        self.examples = examples
        self.maxNorms = maxNorms
        self.layers = layers
        self.rule = rule
        self.options = options
        self.norms = norms
        self.factors = factors
    }

    @inline(never) package mutating func run() {
        let threads = grads.threadCount(allowed: options.threads)
        ThreadPool.run(min(threads, examples), &self) { context, workspace, isShared in
            let pass = context.unsafelyUnwrapped.assumingMemoryBound(to: ExamplePass.self)
            Partial.prepare(Self.guesses(workspace.unsafelyUnwrapped), NormType(2), scratch: nil, wide: nil)
            while true {
                let example = Int(gk_take_number(&pass.pointee.numbers))
                if example >= pass.pointee.examples { return }
                let outcome = pass.pointee.measure(example, workspace.unsafelyUnwrapped)
                if outcome == .kept { continue }
                ThreadPool.lock(ifShared: isShared)
                if outcome == .clipped {
                    pass.pointee.clipped &+= 1
                } else {
                    pass.pointee.nonfinite &+= 1
                    pass.pointee.firstNonfinite = min(pass.pointee.firstNonfinite, UInt64(example))
                }
                ThreadPool.unlock(ifShared: isShared)
            }
        }
        bound()
        guard let sums else { return }
        var all = 0
        for i in 0..<sums.count { all &+= sums[i].length }
        columns = max(Int(GK_COLUMNS), min(Int(GK_MOST_COLUMNS), all / (threads &* 8) & ~15))
        numbers = 0
        ThreadPool.run(threads, &self) { context, workspace, _ in
            let pass = context.unsafelyUnwrapped.assumingMemoryBound(to: ExamplePass.self)
            pass.pointee.sum(drawing: &pass.pointee.numbers, workspace.unsafelyUnwrapped)
        }
    }

    // ----------------------------------------------------------------- norms --

    /// What a thread expects the next example to be like; behind it there is room for what
    /// is known of one.
    private static func guesses(_ workspace: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Partial> {
        (workspace + Int(GK_WORKSPACE) - Int(GK_GATHERED)).assumingMemoryBound(to: Partial.self)
    }

    private enum Outcome { case kept, clipped, dropped }

    // What threads run together does not mutate the pass: that would be an access to all of it.

    /// The norms of an example and its factors: all 0 if an element is not finite.
    @inline(never)
    private func measure(_ example: Int, _ workspace: UnsafeMutableRawPointer) -> Outcome {
        let type = NormType(2)
        let guesses = Self.guesses(workspace)
        let own = guesses + 1
        let start = example &* layers
        var (isDropped, isClipped) = (false, false)
        for layer in 0..<layers {
            Partial.prepare(
                own, type, scratch: workspace, wide: options.exactFloat64 ? wideLimbs(workspace, 0) : nil)
            own.pointee.guess = guesses.pointee.guess
            for i in layers == 1 ? 0..<grads.count : layer..<layer &+ 1 {
                let row = row(i, example)
                if row.length > 0 {
                    own.pointee.add(kernels, row.dtype, row.data.unsafelyUnwrapped, row.length)
                }
            }
            guesses.pointee.guess = own.pointee.guess
            var norm = own.pointee.norm(omitsNonfinite: false)
            let maxNorm = maxNorms.unsafelyUnwrapped[layer]
            norms[start &+ layer] = norm.divided(by: options.gradScale).double
            if norms[start &+ layer] > maxNorm { isClipped = true }
            if own.pointee.nonfinite > 0 { isDropped = true }
            norm.roundUp(isExact: own.pointee.rounded.base == GK_EMPTY)
            gk_round_towards_zero(true)
            factors[start &+ layer] = factor(norm, maxNorm)
            gk_round_towards_zero(false)
        }
        if isDropped { for layer in 0..<layers { factors[start &+ layer] = 0 } }
        return isDropped ? .dropped : isClipped ? .clipped : .kept
    }

    /// One example's part of a tensor.
    @inline(never)
    private func row(_ index: Int, _ example: Int) -> Tensor {
        var tensor = grads[index]
        tensor.length = tensor.length / max(1, examples)
        tensor.data = tensor.data.map { $0 + example &* tensor.length &* tensor.dtype.size }
        return tensor
    }

    /// A factor whose product with `norm`, in exact arithmetic, is at most maxNorm. Rounds
    /// towards zero (and is not inlined, so that no arithmetic moves out of it).
    @inline(never) private func factor(_ norm: NormValue, _ maxNorm: Double) -> Double {
        var options = options
        if rule == 2 { options.eps = 0 }
        var coefficient =
            norm.isZero && options.eps == 0 && rule > 0
            ? 1 : clipCoefficient(maxNorm: maxNorm, norm: norm, options: options, most: rule == 1 ? .infinity : 1)
        if rule == 2 && coefficient < 1 { coefficient = 0 }
        // 1 comes of a comparison of doubles, which is exact. Otherwise the denominator may
        // be too small by 2^-51.
        if coefficient == 1 && options.gradScale == 1 { return 1 }
        return min(coefficient / options.gradScale * (1 - 0x1p-50), .greatestFiniteMagnitude)
    }

    /// The bounds that the header states, rounded up.
    private mutating func bound() {
        let up = 1 + 0x1p-40
        var squares = 0.0
        var narrow = 0.0
        for layer in 0..<layers {
            sensitivity = maxNorms.unsafelyUnwrapped[layer]
            squares += sensitivity * sensitivity
        }
        if layers > 1 { sensitivity = gk_square_root(squares) * up }
        if let sums {
            for i in 0..<sums.count where sums[i].dtype == .float32 { narrow += Double(sums[i].length) }
        }
        let total = Double(examples) * sensitivity
        rounding = total * Double(max(0, examples &- 1)) * 0x1p-52 * up
        if narrow > 0 {
            rounding += (total * 0x1p-24 + gk_square_root(narrow) * 0x1p-150) * up
            if total > Double(Float.greatestFiniteMagnitude) { rounding = .infinity }
        }
    }

    // ------------------------------------------------------------------ sums --

    /// Some columns of a tensor at a time, over all examples.
    private func sum(drawing numbers: UnsafeMutablePointer<Int64>, _ workspace: UnsafeMutableRawPointer) {
        let sums = sums.unsafelyUnwrapped
        // Without memory for many columns the workspace has some.
        let memory = gk_allocate(columns &* 8)
        let most = memory == nil ? Int(GK_COLUMNS) : columns
        let totals = (memory ?? workspace).assumingMemoryBound(to: Double.self)
        var index = 0
        var before = 0
        while true {
            let number = Int(gk_take_number(numbers))
            var portions = 0
            while index < sums.count {
                portions = (sums[index].length &+ columns &- 1) / columns
                if number < before &+ portions { break }
                before &+= portions
                index &+= 1
            }
            if index >= sums.count { return gk_release(memory) }
            let output = sums[index]
            let size = output.dtype.size
            var start = (number &- before) &* columns
            let end = min(start &+ columns, output.length)
            while start < end {
                let count = min(most, end &- start)
                gk_round_towards_zero(true)
                add(index, start, count, totals, workspace + Int(GK_COLUMNS) &* 8)
                gk_round_towards_zero(false)
                if output.dtype == .float32 { narrow(totals, count) }
                (output.data.unsafelyUnwrapped + start &* size).copyMemory(from: totals, byteCount: count &* size)
                start &+= count
            }
        }
    }

    /// Four examples at a time; the last ones with a factor of 0 for company.
    @inline(never)
    private func add(
        _ index: Int, _ start: Int, _ count: Int, _ totals: UnsafeMutablePointer<Double>,
        _ scratch: UnsafeMutableRawPointer
    ) {
        UnsafeMutableRawPointer(totals).initializeMemory(as: UInt8.self, repeating: 0, count: (count &+ 15 & ~15) &* 8)
        var rows: (UnsafeRawPointer?, UnsafeRawPointer?, UnsafeRawPointer?, UnsafeRawPointer?) = (nil, nil, nil, nil)
        var four = (0.0, 0.0, 0.0, 0.0)
        withUnsafeMutableBytes(of: &four) { four in
            let four = four.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Double.self)
            withUnsafeMutableBytes(of: &rows) { rows in
                let rows = rows.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UnsafeRawPointer?.self)
                var filled = 0
                for example in 0..<examples {
                    let factor = factors[example &* layers &+ (layers == 1 ? 0 : index)]
                    if factor != 0 {
                        let row = row(index, example)
                        for i in filled..<4 {
                            rows[i] = UnsafeRawPointer(row.data.unsafelyUnwrapped) + start &* row.dtype.size
                            four[i] = 0
                        }
                        four[filled] = factor
                        filled &+= 1
                    }
                    if filled == 4 || filled > 0 && example &+ 1 == examples {
                        kernels.pointee.accumulate(grads[index].dtype, rows, Int64(count), four, totals, scratch)
                        filled = 0
                    }
                }
            }
        }
    }

    /// Float64 becomes float32 in place.
    private func narrow(_ totals: UnsafeMutablePointer<Double>, _ count: Int) {
        let totals = UnsafeMutableRawPointer(totals)
        for i in 0..<(count &+ 7) / 8 {
            let values = (totals + i &* 64).loadUnaligned(as: SIMD8<Double>.self)
            (totals + i &* 32).storeBytes(of: gk_f32_from_f64(values), as: SIMD8<Float>.self)
        }
    }
}

extension NormValue {
    /// The next float64 at or above, subnormal ones included; two more places if the value
    /// itself is not exact.
    @inline(never) mutating func roundUp(isExact: Bool) {
        let rest: UInt64 = (1 << UInt64(min(63, 11 &+ max(0, -1022 &- exponent)))) &- 1
        if significand == 0 || isExact && significand & rest == 0 && !sticky { return }
        let (more, carries) = significand.addingReportingOverflow(isExact ? 0 : 0x1000)
        let (sum, carriesToo) = (more | rest).addingReportingOverflow(1)
        significand = sum & ~rest
        if carries || carriesToo {
            significand = isExact ? 1 << 63 : 1 << 63 | 0x1000
            exponent &+= 1
        }
        sticky = false
    }
}

/// max_norm after a step towards the norm that a share `quantile` of the examples stays
/// below: max_norm * exp(-rate * (unclipped / examples - quantile)), arXiv 1905.03871.
@inline(never)
package func adapted(maxNorm: Double, unclipped: Double, examples: Double, quantile: Double, rate: Double) -> Double {
    let power = rate * (quantile - unclipped / examples)
    if power.magnitude > 1500 { return power < 0 ? 0 : .infinity }
    // 2^(power / ln 2) in fixed point: 53 bits of power times 64 of 1 / ln 2.
    let bits = NormValue(power.magnitude)
    let reciprocal: UInt64 = 0xb8aa_3b29_5c17_f0bc  // 2^63 / ln 2
    let product = bits.significand.multipliedFullWidth(by: reciprocal).high
    let shift = bits.exponent &+ 2
    let fixed = shift >= 0 ? Int128(product) &<< Int128(shift) : Int128(product >> UInt64(0 &- shift))
    let signed = power < 0 ? 0 &- fixed : fixed
    let value = NormValue(
        significand: NormValue.exponential(UInt64(truncatingIfNeeded: signed)),
        exponent: Int(truncatingIfNeeded: signed >> 64), sticky: true)
    return maxNorm * value.double
}
