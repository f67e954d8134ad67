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
        self.power = power >= limit ? .infinity : power <= -limit ? -.infinity : power
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
}

/// What is known about a number of elements: sums, extremes, counts.
struct Partial {
    var state = gk_reduction()
    /// How many elements went in.
    var elements = 0

    init(_ type: NormType, scratch: UnsafeMutableRawPointer) {
        ExactSum.clear(&state.exact, base: ExactSum.fixedBase)
        ExactSum.clear(&state.rounded, base: GK_EMPTY)
        state.power = type.power
        state.term = type.term
        state.exponent = 127
        state.levels = 2
        state.smallest = .max
        state.first = GK_NOWHERE
        state.scratch = scratch
    }

    mutating func merge(_ other: inout Partial) {
        ExactSum.merge(&state.exact, &other.state.exact)
        ExactSum.merge(&state.rounded, &other.state.rounded)
        state.largest = max(state.largest, other.state.largest)
        state.smallest = min(state.smallest, other.state.smallest)
        state.nonzero &+= other.state.nonzero
        state.nonfinite &+= other.state.nonfinite
        state.nan &+= other.state.nan
        elements &+= other.elements
    }

    /// The norm of the elements. Non-finite elements count as the formula says
    /// unless they are `omitted`.
    mutating func norm(_ type: NormType, omitsNonfinite: Bool) -> NormValue {
        let power = type.power
        let infinities = omitsNonfinite ? 0 : state.nonfinite &- state.nan
        let finite = UInt64(elements) &- state.nonfinite
        if elements == 0 || omitsNonfinite && finite == 0 { return .zero }
        if power == 0 { return .count(state.nonzero &+ (omitsNonfinite ? 0 : state.nonfinite)) }
        if state.nan > 0 && !omitsNonfinite { return .nan }
        if power > 0 {
            if infinities > 0 { return .infinity }
            if power == .infinity { return NormValue(Double(bitPattern: state.largest)) }
            return root(type)
        }
        // Negative orders: a zero makes the norm 0, infinities add nothing.
        if state.nonzero < finite { return .zero }
        if finite == 0 { return .infinity }
        return power == -.infinity ? NormValue(Double(bitPattern: state.smallest)) : root(type)
    }

    private mutating func root(_ type: NormType) -> NormValue {
        if state.rounded.base == GK_EMPTY {
            return NormValue.root(of: &state.exact, power: type.power, isExact: true)
        }
        // Gradients of float64 and of narrower types: the exact part joins the other.
        ExactSum.addLimbs(&state.rounded, &state.exact)
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
    var job = MeasureJob(grads: grads, type: NormType(normType), options: options, tensorNorms: tensorNorms)
    gk_with_scratch(
        { context, scratch in
            context.unsafelyUnwrapped.assumingMemoryBound(to: MeasureJob.self).pointee.run(scratch.unsafelyUnwrapped)
        }, &job)
    return job.found
}

/// The norm pass over a list.
private struct MeasureJob {
    let grads: TensorList
    let type: NormType
    let options: ClipOptions
    let tensorNorms: UnsafeMutablePointer<Double>?
    let kernels = gk_process_kernels().unsafelyUnwrapped
    var found = Measurement()

    mutating func run(_ scratch: UnsafeMutableRawPointer) {
        let omits = options.nonfinite == .zero
        let isPerTensor = tensorNorms != nil || type.power == 0
        var total = Partial(type, scratch: scratch)
        var nonzeroTensors: UInt64 = 0
        for i in 0..<grads.count {
            let tensor = grads[i]
            if tensor.length == 0 || !tensor.isCounted {
                tensorNorms?[i] = 0
                continue
            }
            if isPerTensor {
                var own = Partial(type, scratch: scratch)
                add(tensor, i, to: &own)
                let norm = own.norm(type, omitsNonfinite: omits)
                if !norm.isZero { nonzeroTensors &+= 1 }
                tensorNorms?[i] = norm.divided(by: options.gradScale).double
                total.merge(&own)
            } else {
                add(tensor, i, to: &total)
            }
        }
        found.nonfiniteCount = total.state.nonfinite
        found.nanCount = total.state.nan
        found.norm =
            type.power == 0
            ? .count(nonzeroTensors) : total.norm(type, omitsNonfinite: omits)
    }

    private mutating func add(_ tensor: Tensor, _ index: Int, to partial: inout Partial) {
        partial.state.offset = 0
        kernels.pointee.reduce(tensor.dtype, tensor.data, Int64(tensor.length), &partial.state)
        partial.elements &+= tensor.length
        if partial.state.first != GK_NOWHERE && found.firstTensor == .max {
            found.firstTensor = UInt64(index)
            found.firstElement = partial.state.first
        }
    }
}
