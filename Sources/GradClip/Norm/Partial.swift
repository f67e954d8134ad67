// What is known about a number of elements: sums, extremes, counts.
import CGradClipKernels
import GradClipKernels

/// Non-finite elements are counted, and left out of everything else.
struct Partial {
    /// Of terms that are exact in float64 (p = 1, 2 over float32, float16, bfloat16).
    var exact = gk_sum()
    /// Of all other terms: each block's sum, correct to about 2^-60.
    var rounded = gk_sum()
    /// Of float64 terms where they are summed exactly too.
    var wide: WideSum?
    let type: NormType
    /// Bits of the largest |x| and of the smallest but zero, as float64, and how many elements are not
    /// zero; for orders other than those above.
    var largest: UInt64 = 0
    var smallest = UInt64.max
    var nonzero: UInt64 = 0
    var nonfinite: UInt64 = 0
    var nan: UInt64 = 0
    /// How many elements went in (0 where an accumulator came from bytes and p > 0).
    var elements = 0
    /// Index of the first non-finite element of the tensor at hand, or GK_NOWHERE.
    var first = GK_NOWHERE
    /// Index of the next element in its tensor.
    var offset: UInt64 = 0
    var guess = Guess()
    /// GK_SCRATCH bytes, then a gk_power_tables for orders that need it; while elements are added.
    var scratch: UnsafeMutableRawPointer?

    /// - Parameter wide: zeroed memory for an exact sum of float64 terms, or nil.
    init(_ type: NormType, scratch: UnsafeMutableRawPointer?, wide: UnsafeMutablePointer<Int64>?) {
        self.type = type
        self.scratch = scratch
        if type.hasExactSum, let wide { self.wide = WideSum(wide) }
        ExactSum.clear(&exact, base: ExactSum.fixedBase)
        ExactSum.clear(&rounded, base: GK_EMPTY)
    }

    /// The same in memory that is there, called rather than repeated in place.
    @inline(never)
    static func prepare(
        _ partial: UnsafeMutablePointer<Partial>, _ type: NormType, scratch: UnsafeMutableRawPointer?,
        wide: UnsafeMutablePointer<Int64>?
    ) {
        partial.initialize(to: Partial(type, scratch: scratch, wide: wide))
    }

    @inline(never) mutating func merge(_ other: inout Partial) {
        ExactSum.merge(&exact, &other.exact)
        ExactSum.merge(&rounded, &other.rounded)
        other.wide?.propagate()
        if let theirs = other.wide {
            wide?.merge(theirs.limbs, count: Int(GK_WIDE_LIMBS), base: Int(GK_WIDE_BASE))
        }
        largest = max(largest, other.largest)
        smallest = min(smallest, other.smallest)
        nonzero &+= other.nonzero
        nonfinite &+= other.nonfinite
        nan &+= other.nan
        count(other.elements)
    }

    /// More elements: at most Int.max, which an accumulator that is merged with itself reaches.
    mutating func count(_ more: Int) {
        let (sum, overflows) = elements.addingReportingOverflow(more)
        elements = overflows ? .max : sum
    }

    /// The norm of the elements. Non-finite elements count as the formula says
    /// unless they are `omitted`.
    @inline(never) mutating func norm(omitsNonfinite: Bool) -> NormValue {
        let power = type.power
        if power == 0 { return .count(nonzero &+ (omitsNonfinite ? 0 : nonfinite)) }
        if nan > 0 && !omitsNonfinite { return .nan }
        if power > 0 {
            if !omitsNonfinite && nonfinite > nan { return .infinity }
            if power == .infinity { return NormValue(Double(bitPattern: largest)) }
            return root()
        }
        // Negative orders: a zero makes the norm 0, infinities add nothing.
        let finite = UInt64(elements) &- nonfinite
        if elements == 0 || omitsNonfinite && finite == 0 { return .zero }
        if nonzero < finite { return .zero }
        if finite == 0 { return .infinity }
        return power == -.infinity ? NormValue(Double(bitPattern: smallest)) : root()
    }

    /// Moves the sum of narrower elements into the wide sum.
    mutating func moveNarrowPart() {
        ExactSum.propagate(&exact)
        wide?.merge(ExactSum.limbs(&exact), count: Int(GK_LIMBS), base: Int(ExactSum.fixedBase))
        ExactSum.clear(&exact, base: ExactSum.fixedBase)
    }

    private mutating func root() -> NormValue {
        if let wide {
            moveNarrowPart()
            return NormValue.root(
                of: wide.limbs, count: Int(GK_WIDE_LIMBS), base: Int(GK_WIDE_BASE), power: type.power, isExact: true)
        }
        if rounded.base == GK_EMPTY {
            return NormValue.root(of: &exact, power: type.power, isExact: true)
        }
        // Gradients of float64 and of narrower types: the exact part moves to the other.
        ExactSum.addLimbs(&rounded, &exact)
        ExactSum.clear(&exact, base: ExactSum.fixedBase)
        return NormValue.root(of: &rounded, power: type.power, isExact: false)
    }
}

/// What the next block is expected to be like: as the one before. Wrong guesses cost time, and no bit.
struct Guess {
    /// All |x| < 2^exponent.
    var exponent: Int32 = 1
    /// How many accumulators it takes; 6: the bins.
    var levels: Int32 = 2
    /// How many the block before took.
    var needed: Int32 = 0
    /// How many blocks in a row did with accumulators, up to four.
    var sinceBins: Int32 = 4
    /// Whether something is not finite.
    var hasNonfinite = false
    /// T of a sum that is rounded.
    var bound: Int32 = 0

    /// What to expect after a block whose largest element has this exponent: what was, while it is not far too
    /// large.
    @inline(__always)
    static func exponent(after kept: Int, _ found: Int) -> Int32 {
        Int32(truncatingIfNeeded: found <= kept && kept < found &+ 4 ? kept : found)
    }
}
