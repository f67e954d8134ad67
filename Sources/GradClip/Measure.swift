// The norm pass: every tensor through the kernels, the sums combined, the root
// taken.
import CGradClipKernels
import GradClipKernels

/// The order p of a norm, and how its terms are summed.
struct NormType {
    let power: Double
    let term: UInt32

    init(_ power: Double) {
        // Beyond this p the norm differs from the largest (smallest) magnitude by
        // less than a part in 10^13.
        let limit = 0x1p50
        self.power = power >= limit ? .infinity : power <= -limit ? -.infinity : power == 0 ? 0 : power
        switch self.power {
        case 0, .infinity, -.infinity: term = UInt32(GK_EXTREMES)
        case 1: term = UInt32(GK_ABS)
        case 2: term = UInt32(GK_SQUARE)
        case 3: term = UInt32(GK_CUBE)
        case 4: term = UInt32(GK_FOURTH)
        case 0.5: term = UInt32(GK_ROOT)
        case 1.5: term = UInt32(GK_THREE_HALVES)
        default: term = UInt32(GK_POWER)
        }
    }

    /// p = 1 and 2.
    var hasExactSum: Bool { Int(term) == GK_ABS || Int(term) == GK_SQUARE }
}

/// What is known about a number of elements: sums, extremes, counts.
struct Partial {
    var state = gk_reduction()
    /// How many elements went in (0 where an accumulator came from bytes and p > 0).
    var elements = 0

    /// - Parameter wide: zeroed memory for an exact sum of float64 terms, or nil.
    init(_ type: NormType, scratch: UnsafeMutableRawPointer?, wide: UnsafeMutablePointer<Int64>?) {
        ExactSum.clear(&state.exact, base: ExactSum.fixedBase)
        ExactSum.clear(&state.rounded, base: GK_EMPTY)
        state.power = type.power
        state.term = type.term
        state.exponent = 127
        state.levels = 2
        state.smallest = .max
        state.first = GK_NOWHERE
        state.scratch = scratch
        state.wide = type.hasExactSum ? wide : nil
    }

    /// The same in memory that is there, called rather than repeated in place.
    @inline(never)
    static func prepare(
        _ partial: UnsafeMutablePointer<Partial>, _ type: NormType, scratch: UnsafeMutableRawPointer?,
        wide: UnsafeMutablePointer<Int64>?
    ) {
        partial.initialize(to: Partial(type, scratch: scratch, wide: wide))
    }

    /// What the next block is expected to be like.
    @inline(never) mutating func takeGuesses(from other: Partial) {
        state.exponent = other.state.exponent
        state.levels = other.state.levels
        state.needed = other.state.needed
        state.scale_hint = other.state.scale_hint
    }

    @inline(never) mutating func merge(_ other: inout Partial) {
        ExactSum.merge(&state.exact, &other.state.exact)
        ExactSum.merge(&state.rounded, &other.state.rounded)
        if state.wide != nil, let limbs = other.state.wide {
            WideSum.propagate(&other.state)
            WideSum.merge(&state, limbs, count: Int(GK_WIDE_LIMBS), base: Int(GK_WIDE_BASE))
        }
        state.largest = max(state.largest, other.state.largest)
        state.smallest = min(state.smallest, other.state.smallest)
        state.nonzero &+= other.state.nonzero
        state.nonfinite &+= other.state.nonfinite
        state.nan &+= other.state.nan
        count(other.elements)
    }

    /// More elements: at most Int.max, which an accumulator that is merged with itself reaches.
    mutating func count(_ more: Int) {
        let (sum, overflows) = elements.addingReportingOverflow(more)
        elements = overflows ? .max : sum
    }

    /// The norm of the elements. Non-finite elements count as the formula says
    /// unless they are `omitted`.
    @inline(never) mutating func norm(_ type: NormType, omitsNonfinite: Bool) -> NormValue {
        let power = type.power
        if power == 0 { return .count(state.nonzero &+ (omitsNonfinite ? 0 : state.nonfinite)) }
        if state.nan > 0 && !omitsNonfinite { return .nan }
        if power > 0 {
            if !omitsNonfinite && state.nonfinite > state.nan { return .infinity }
            if power == .infinity { return NormValue(Double(bitPattern: state.largest)) }
            return root(type)
        }
        // Negative orders: a zero makes the norm 0, infinities add nothing.
        let finite = UInt64(elements) &- state.nonfinite
        if elements == 0 || omitsNonfinite && finite == 0 { return .zero }
        if state.nonzero < finite { return .zero }
        if finite == 0 { return .infinity }
        return power == -.infinity ? NormValue(Double(bitPattern: state.smallest)) : root(type)
    }

    /// Moves the sum of narrower elements into the wide sum.
    mutating func moveNarrowPart() {
        ExactSum.propagate(&state.exact)
        WideSum.merge(
            &state, ExactSum.limbs(&state.exact), count: Int(GK_LIMBS), base: Int(ExactSum.fixedBase))
        ExactSum.clear(&state.exact, base: ExactSum.fixedBase)
    }

    private mutating func root(_ type: NormType) -> NormValue {
        if let wide = state.wide {
            moveNarrowPart()
            return NormValue.root(
                of: wide, count: Int(GK_WIDE_LIMBS), base: Int(GK_WIDE_BASE), power: type.power, isExact: true)
        }
        if state.rounded.base == GK_EMPTY {
            return NormValue.root(of: &state.exact, power: type.power, isExact: true)
        }
        // Gradients of float64 and of narrower types: the exact part moves to the other.
        ExactSum.addLimbs(&state.rounded, &state.exact)
        ExactSum.clear(&state.exact, base: ExactSum.fixedBase)
        return NormValue.root(of: &state.rounded, power: type.power, isExact: false)
    }
}

/// What the norm pass found.
struct Measurement {
    var norm = NormValue.zero
    var nonfiniteCount: UInt64 = 0
    var nanCount: UInt64 = 0
    var firstTensor = UInt64.max
    var firstElement = UInt64.max

    /// What is told of it; nothing is multiplied yet.
    func result(_ options: ClipOptions) -> ClipResult {
        var result = ClipResult()
        result.totalNorm = norm.divided(by: options.gradScale).double
        result.nonfiniteCount = nonfiniteCount
        result.nanCount = nanCount
        result.firstTensor = firstTensor
        result.firstElement = firstElement
        result.isNonfinite = nonfiniteCount > 0 && options.nonfinite == .leave
        return result
    }
}

/// Measures all counted tensors. `tensorNorms` receives each tensor's own norm
/// divided by `gradScale`, `parts` what clipping in parts needs.
func measure(
    _ grads: TensorList, normType: Double, options: ClipOptions, tensorNorms: UnsafeMutablePointer<Double>?,
    parts: UnsafeMutablePointer<Parts>? = nil
) -> Measurement {
    let type = NormType(normType)
    var limbs = gk_wide_limbs()
    return withUnsafeMutablePointer(to: &limbs) { limbs in
        let wide = UnsafeMutableRawPointer(limbs).assumingMemoryBound(to: Int64.self)
        var total = Partial(type, scratch: nil, wide: options.exactFloat64 ? wide : nil)
        var pass = NormPass(grads: grads, type: type, options: options, tensorNorms: tensorNorms)
        pass.parts = parts
        pass.run(into: &total)
        var found = Measurement()
        found.nonfiniteCount = total.state.nonfinite
        found.nanCount = total.state.nan
        found.firstTensor = pass.firstTensor
        found.firstElement = pass.firstElement
        found.norm =
            type.power == 0
            ? .count(pass.nonzeroTensors) : total.norm(type, omitsNonfinite: options.nonfinite == .zero)
        return found
    }
}

extension ClipResult {
    /// What is told of a sum in any case; not for p = 0.
    @inline(never)
    init(
        _ total: inout Partial, _ type: NormType, _ options: ClipOptions, _ firstTensor: UInt64, _ firstElement: UInt64
    ) {
        totalNorm = total.norm(type, omitsNonfinite: options.nonfinite == .zero).divided(by: options.gradScale).double
        nonfiniteCount = total.state.nonfinite
        nanCount = total.state.nan
        self.firstTensor = firstTensor
        self.firstElement = firstElement
        isNonfinite = nonfiniteCount > 0 && options.nonfinite == .leave
    }
}

/// Zeroed limbs of a workspace: `index` 0 or 1.
func wideLimbs(_ workspace: UnsafeMutableRawPointer, _ index: Int) -> UnsafeMutablePointer<Int64> {
    let limbs =
        (workspace + Int(GK_SCRATCH + GK_TABLES)).assumingMemoryBound(to: Int64.self) + index &* Int(GK_WIDE_LIMBS)
    for i in 0..<Int(GK_WIDE_LIMBS) { limbs[i] = 0 }
    return limbs
}

/// One pass over a list, added to what is known already.
struct NormPass {
    let grads: TensorList
    let type: NormType
    let options: ClipOptions
    let tensorNorms: UnsafeMutablePointer<Double>?
    var parts: UnsafeMutablePointer<Parts>?
    let kernels = gk_process_kernels().unsafelyUnwrapped
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    /// Tensors whose norm is not 0; counted for p = 0 only.
    var nonzeroTensors: UInt64 = 0
    /// What threads draw segments from.
    var numbers: Int64 = 0
    var total: UnsafeMutablePointer<Partial>?
    /// What was known when the pass began.
    var guesses: Partial

    init(grads: TensorList, type: NormType, options: ClipOptions, tensorNorms: UnsafeMutablePointer<Double>?) {
        self.grads = grads
        self.type = type
        self.options = options
        self.tensorNorms = tensorNorms
        guesses = Partial(type, scratch: nil, wide: nil)
    }

    @inline(never) mutating func run(into total: inout Partial) {
        withUnsafeMutablePointer(to: &total) { total in
            self.total = total
            guesses = total.pointee
            numbers = 0
            ThreadPool.run(grads.threadCount(allowed: options.threads), &self) { context, workspace, isShared in
                let pass = context.unsafelyUnwrapped.assumingMemoryBound(to: NormPass.self)
                var share = NormShare(pass, workspace.unsafelyUnwrapped, isShared: isShared)
                share.run()
            }
        }
    }
}
