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

    /// What the next block is expected to be like.
    mutating func takeGuesses(from other: Partial) {
        state.exponent = other.state.exponent
        state.levels = other.state.levels
        state.scale_hint = other.state.scale_hint
    }

    mutating func merge(_ other: inout Partial) {
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
    mutating func norm(_ type: NormType, omitsNonfinite: Bool) -> NormValue {
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
}

/// Measures all counted tensors. `tensorNorms` receives each tensor's own norm
/// divided by `gradScale`.
func measure(
    _ grads: TensorList, normType: Double, options: ClipOptions, tensorNorms: UnsafeMutablePointer<Double>?
) -> Measurement {
    let type = NormType(normType)
    var limbs = gk_wide_limbs()
    return withUnsafeMutablePointer(to: &limbs) { limbs in
        let wide = UnsafeMutableRawPointer(limbs).assumingMemoryBound(to: Int64.self)
        var total = Partial(type, scratch: nil, wide: options.exactFloat64 ? wide : nil)
        var pass = NormPass(grads: grads, type: type, options: options, tensorNorms: tensorNorms)
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

/// Zeroed limbs of a workspace: `index` 0 or 1.
func wideLimbs(_ workspace: UnsafeMutableRawPointer, _ index: Int) -> UnsafeMutablePointer<Int64> {
    let limbs = (workspace + Int(GK_SCRATCH)).assumingMemoryBound(to: Int64.self) + index &* Int(GK_WIDE_LIMBS)
    for i in 0..<Int(GK_WIDE_LIMBS) { limbs[i] = 0 }
    return limbs
}

/// One pass over a list, added to what is known already.
struct NormPass {
    let grads: TensorList
    let type: NormType
    let options: ClipOptions
    let tensorNorms: UnsafeMutablePointer<Double>?
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
            ThreadPool.run(grads.threadCount(allowed: options.threads), &self) { context, workspace in
                let pass = context.unsafelyUnwrapped.assumingMemoryBound(to: NormPass.self)
                var share = NormShare(pass, workspace.unsafelyUnwrapped)
                share.run()
            }
        }
    }
}

/// What one thread does of a pass.
private struct NormShare {
    let pass: UnsafeMutablePointer<NormPass>
    let workspace: UnsafeMutableRawPointer
    let grads: TensorList
    let type: NormType
    var partial: Partial
    var firstTensor = UInt64.max
    var firstElement = UInt64.max
    var nonzeroTensors: UInt64 = 0

    init(_ pass: UnsafeMutablePointer<NormPass>, _ workspace: UnsafeMutableRawPointer) {
        self.pass = pass
        self.workspace = workspace
        grads = pass.pointee.grads
        type = pass.pointee.type
        partial = Partial(
            type, scratch: workspace, wide: pass.pointee.options.exactFloat64 ? wideLimbs(workspace, 0) : nil)
        partial.takeGuesses(from: pass.pointee.guesses)
    }

    mutating func run() {
        let isPerTensor = pass.pointee.tensorNorms != nil || type.power == 0
        var draw = SegmentDraw(grads, &pass.pointee.numbers)
        while let segment = draw.next() {
            if !isPerTensor {
                for i in segment.tensors {
                    let first = Self.reduce(pass, segment, i, &partial)
                    noteFirst(i, first)
                }
            } else if !segment.isPart {
                for i in segment.tensors { addApart(segment, i) }
            } else if segment.start == 0 {
                // A norm of its own: the thread that draws the first part does the whole tensor.
                addApart(Segment(tensors: segment.tensors), segment.tensors.lowerBound)
            }
        }
        hand()
    }

    /// Adds a segment of a tensor; returns the index of its first non-finite element.
    @inline(__always)
    private static func reduce(
        _ pass: UnsafeMutablePointer<NormPass>, _ segment: Segment, _ index: Int, _ partial: inout Partial
    ) -> UInt64 {
        let tensor = pass.pointee.grads[index]
        let length = segment.isPart ? segment.length : tensor.length
        if length == 0 || !tensor.isCounted { return GK_NOWHERE }
        let offset = segment.start &* elementSize(tensor.dtype)
        partial.state.offset = UInt64(segment.start)
        partial.state.first = GK_NOWHERE
        pass.pointee.kernels.pointee.reduce(
            tensor.dtype, tensor.data.unsafelyUnwrapped + offset, Int64(length), &partial.state)
        partial.elements &+= length
        return partial.state.first
    }

    /// Segments come in order, so the first that this thread finds is the first it has.
    private mutating func noteFirst(_ index: Int, _ element: UInt64) {
        if element != GK_NOWHERE && firstTensor == .max {
            firstTensor = UInt64(index)
            firstElement = element
        }
    }

    /// Adds a tensor and notes its own norm.
    private mutating func addApart(_ segment: Segment, _ index: Int) {
        let options = pass.pointee.options
        var own = Partial(type, scratch: workspace, wide: options.exactFloat64 ? wideLimbs(workspace, 1) : nil)
        own.takeGuesses(from: partial)
        noteFirst(index, Self.reduce(pass, segment, index, &own))
        partial.merge(&own)
        partial.takeGuesses(from: own)
        let norm = own.elements == 0 ? .zero : own.norm(type, omitsNonfinite: options.nonfinite == .zero)
        if !norm.isZero { nonzeroTensors &+= 1 }
        pass.pointee.tensorNorms?[index] = norm.divided(by: options.gradScale).double
    }

    /// Adds this thread's share to the total.
    private mutating func hand() {
        gk_pool_lock()
        pass.pointee.total.unsafelyUnwrapped.pointee.merge(&partial)
        pass.pointee.total.unsafelyUnwrapped.pointee.takeGuesses(from: partial)
        if (firstTensor, firstElement) < (pass.pointee.firstTensor, pass.pointee.firstElement) {
            pass.pointee.firstTensor = firstTensor
            pass.pointee.firstElement = firstElement
        }
        pass.pointee.nonzeroTensors &+= nonzeroTensors
        gk_pool_unlock()
    }
}
