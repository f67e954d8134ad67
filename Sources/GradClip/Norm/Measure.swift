// The norm pass: every tensor through the kernels, the sums combined, the root
// taken.
import CGradClipKernels
import GradClipKernels

/// The order p of a norm, and how its terms are summed.
struct NormType {
    let power: Double
    let term: TermKind

    init(_ power: Double) {
        // Beyond this p the norm differs from the largest (smallest) magnitude by
        // less than a part in 10^13.
        let limit = 0x1p50
        self.power = power >= limit ? .infinity : power <= -limit ? -.infinity : power == 0 ? 0 : power
        switch self.power {
        case 0, .infinity, -.infinity: term = .nothing
        case 1: term = .absolute
        case 2: term = .square
        case 3: term = .cube
        case 4: term = .fourth
        case 0.5: term = .root
        case 1.5: term = .threeHalves
        default: term = .power
        }
    }

    /// 2p, for orders that have a term of their own.
    var twiceOrder: Int {
        switch term {
        case .absolute: 2
        case .square: 4
        case .cube: 6
        case .fourth: 8
        case .root: 1
        case .threeHalves: 3
        case .nothing, .power: 0
        }
    }

    /// p = 1 and 2.
    var hasExactSum: Bool { term == .absolute || term == .square }
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
        var pass = NormPass(grads, type, options, tensorNorms: tensorNorms, parts: parts)
        pass.run(into: &total)
        var found = Measurement()
        found.nonfiniteCount = total.nonfinite
        found.nanCount = total.nan
        found.firstTensor = pass.firstTensor
        found.firstElement = pass.firstElement
        found.norm =
            type.power == 0
            ? .count(pass.nonzeroTensors) : total.norm(omitsNonfinite: options.nonfinite == .zero)
        return found
    }
}

extension ClipResult {
    /// What is told of a sum in any case; not for p = 0.
    @inline(never)
    init(
        _ total: inout Partial, _ type: NormType, _ options: ClipOptions, _ firstTensor: UInt64, _ firstElement: UInt64
    ) {
        totalNorm = total.norm(omitsNonfinite: options.nonfinite == .zero).divided(by: options.gradScale).double
        nonfiniteCount = total.nonfinite
        nanCount = total.nan
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
