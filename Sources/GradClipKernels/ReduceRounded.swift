// Sums whose terms are rounded to float64: float64 itself, and p = 3, 4, 1/2, 3/2.
//
// Every term is correct to 2^-53 or so, and all are positive, so their exact sum
// would be as well. The two accumulators of the cascade lose another 2^-71 of the
// largest term. T follows from the block's largest magnitude, rounded up to a
// multiple of 16 so that the guess from the block before nearly always holds;
// the bits of a block's sum depend on that block only.
import CGradClipKernels

/// T for terms |x|^(twiceOrder / 2) of elements below 2^exponent, rounded up to a
/// multiple of 16.
@inline(__always) func roundedBound(_ twiceOrder: Int, exponent: Int) -> Int {
    (((twiceOrder &* exponent &+ 1) >> 1) &+ 15) & ~15
}

/// The order of a term, doubled.
@inline(__always) func twiceOrder(_ term: Int) -> Int {
    switch term {
    case GK_ABS: Absolute.twiceOrder
    case GK_SQUARE: Square.twiceOrder
    case GK_CUBE: Cube.twiceOrder
    case GK_FOURTH: Fourth.twiceOrder
    case GK_ROOT: Root.twiceOrder
    default: ThreeHalves.twiceOrder
    }
}

/// Bounds at which neither the accumulators nor terms worth keeping leave the
/// range of float64.
@inline(__always) var usableBounds: ClosedRange<Int> { -900...900 }

/// The e with 2^(e-1) <= x < 2^e, for finite x > 0.
@inline(__always) func exponentAbove(_ x: Double) -> Int {
    let field = Int(x.bitPattern &>> 52)
    if field > 0 { return field &- 1022 }
    return -1010 &- x.bitPattern.leadingZeroBitCount
}

struct RoundedBlock {
    let sums: CascadeSums
    let isFinite: Bool
    /// The largest magnitude, if all elements are finite.
    let largest: Double
}

@inline(__always)
func sumBlock<E: WideElement, V: RoundingVisitor>(
    _: E.Type, _ data: UnsafeRawPointer, _ length: Int, _ visitor: consuming V
) -> RoundedBlock {
    visit(E.self, data, length, &visitor)
    let lanes = visitor.lanes
    return RoundedBlock(
        sums: lanes.sums(2), isFinite: lanes.isFinite,
        largest: largestLane(visitor.largest))
}

/// Sums terms, and tracks the largest magnitude.
protocol RoundingVisitor: WideVisitor {
    var lanes: Lanes { get }
    var largest: SIMD8<Double> { get }
}

private struct TermVisitor<T: Term>: RoundingVisitor {
    var cascade: Cascade<T, Two>
    var largest = SIMD8<Double>(repeating: 0)
    @inline(__always) var lanes: Lanes { cascade.lanes }

    @inline(__always) init(_: T.Type, bound: Int) { cascade = Cascade(bound: bound) }

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        largest = larger(larger(magnitude(values.0), magnitude(values.1)), largest)
        cascade.add(values)
    }
}

#if GRADCLIP_HARDWARE_F16
/// Cubes of floats, whose magnitudes are tracked as integers: other execution units.
private struct FloatCubeVisitor: Visitor {
    var cascade: Cascade<Cube, Two>
    var largest = SIMD16<UInt32>(repeating: 0)

    @inline(__always) init(bound: Int) { cascade = Cascade(bound: bound) }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        largest = larger(magnitudes(values), largest)
        cascade.add((gk_f64_from_f32(values.lowHalf), gk_f64_from_f32(values.highHalf)))
    }
}

@inline(never) @_optimize(speed)
private func sumCubes(_ data: UnsafeRawPointer, _ length: Int, bound: Int) -> RoundedBlock {
    var visitor = FloatCubeVisitor(bound: bound)
    visit(Float32Element.self, data, length, &visitor)
    let largest = largestLane(visitor.largest)
    return RoundedBlock(
        sums: visitor.cascade.lanes.sums(2), isFinite: largest < infinityBits,
        largest: Double(Float(bitPattern: largest)))
}
#endif

private struct AnyTermVisitor: RoundingVisitor {
    let term: Int
    /// Of terms, which are their own magnitudes.
    var cascade: Cascade<Absolute, Two>
    var largest = SIMD8<Double>(repeating: 0)
    @inline(__always) var lanes: Lanes { cascade.lanes }

    @inline(__always) init(_ term: Int, bound: Int) {
        self.term = term
        cascade = Cascade(bound: bound)
    }

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        largest = larger(larger(magnitude(values.0), magnitude(values.1)), largest)
        cascade.add((AnyTerm.apply(values.0, term), AnyTerm.apply(values.1, term)))
    }
}

@inline(never) @_optimize(speed)
func sumBlock<E: WideElement>(
    _: E.Type, _ term: Int, _ data: UnsafeRawPointer, _ length: Int, bound: Int
) -> RoundedBlock {
    // Of floats p = 1 and 2 are exact (ReduceExact.swift).
    switch term {
    #if GRADCLIP_HARDWARE_F16
    case GK_ABS where E.size == 8: sumBlock(E.self, data, length, TermVisitor(Absolute.self, bound: bound))
    case GK_SQUARE where E.size == 8: sumBlock(E.self, data, length, TermVisitor(Square.self, bound: bound))
    case GK_CUBE where E.size == 4: sumCubes(data, length, bound: bound)
    #endif
    default: sumBlock(E.self, data, length, AnyTermVisitor(term, bound: bound))
    }
}

@inline(never) @_optimize(speed)
func reduceRounded<E: WideElement>(_: E.Type, _ data: UnsafeRawPointer, _ length: Int, _ r: Reduction) {
    let term = Int(r.pointee.term)
    let twiceOrder = twiceOrder(term)
    forEachBlock(data, length, E.size, r) { block, count in
        let bound = Int(r.pointee.scale_hint)
        let found = sumBlock(E.self, term, block, count, bound: bound)
        if found.isFinite {
            if found.largest == 0 { return }
            if roundedBound(twiceOrder, exponent: exponentAbove(found.largest)) == bound {
                return found.sums.add(to: &r.pointee.rounded)
            }
        }
        sumAgain(E.self, term, block, count, r)
    }
}

/// A block for which the guess was wrong, or that is not finite, or so large or
/// small that its terms would leave the range of float64.
@inline(never)
func sumAgain<E: WideElement>(_: E.Type, _ term: Int, _ data: UnsafeRawPointer, _ count: Int, _ r: Reduction) {
    let twiceOrder = twiceOrder(term)
    let range = wideRange(E.self, data, count)
    if range.isFinite {
        let bound = roundedBound(twiceOrder, exponent: exponentAbove(range.largest))
        if usableBounds.contains(bound) {
            r.pointee.scale_hint = Int32(truncatingIfNeeded: bound)
            return sumBlock(E.self, term, data, count, bound: bound).sums.add(to: &r.pointee.rounded)
        }
    }
    let scratch = r.pointee.scratch.unsafelyUnwrapped
    separate(E.self, data, count, r)
    let largest = wideRange(Float64Element.self, UnsafeRawPointer(scratch), count).largest
    if largest == 0 { return }
    var exponent = exponentAbove(largest)
    var bound = roundedBound(twiceOrder, exponent: exponent)
    var shift = 0
    if !usableBounds.contains(bound) {
        // Even, so that shift is an integer for half-integer orders.
        exponent = (exponent &+ 1) & ~1
        scale(scratch.assumingMemoryBound(to: Double.self), count, by: 0 &- exponent)
        shift = twiceOrder &* exponent / 2
        bound = roundedBound(twiceOrder, exponent: 0)
    }
    sumBlock(Float64Element.self, term, UnsafeRawPointer(scratch), count, bound: bound)
        .sums.add(to: &r.pointee.rounded, shift: shift)
}

/// Copies a block as float64 to the scratch memory, non-finite elements counted and zeroed.
@inline(__always)
func separate<E: WideElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ r: Reduction) {
    if E.size == 8 { return separateNonfinite(data, count, r) }
    separateNonfinite(Float32Element.self, data, count, r)
    let scratch = r.pointee.scratch.unsafelyUnwrapped
    convert(UnsafeRawPointer(scratch), count, toDoubles: scratch)
}

/// x *= 2^exponent for |exponent| up to about 1100.
@inline(never) @_optimize(speed) func scale(_ x: UnsafeMutablePointer<Double>, _ count: Int, by exponent: Int) {
    let half = exponent / 2
    let (first, second) = (powerOfTwo(half), powerOfTwo(exponent &- half))
    for i in 0..<count { x[i] = x[i] * first * second }
}

/// Finite or not, and the largest magnitude if so.
@inline(never) @_optimize(speed)
func wideRange<E: WideElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int) -> (isFinite: Bool, largest: Double) {
    var visitor = RangeVisitor()
    visit(E.self, data, count, &visitor)
    return (visitor.tracker.isFinite, largestLane(visitor.tracker.largest))
}

private struct RangeVisitor: WideVisitor {
    var tracker = WideTracker()

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        tracker.see(magnitude(values.0))
        tracker.see(magnitude(values.1))
    }
}
