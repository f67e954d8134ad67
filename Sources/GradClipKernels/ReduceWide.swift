// p = 1 and p = 2 over float64, exact (the option exact_f64).
//
// A square of 53 bits has 106: its float64 value and the remainder, which a fused
// multiply-add gives exactly. Both go down a
// cascade of four accumulators (Cascade.swift). Smaller blocks leave room for the
// second stream. Blocks whose exponents lie too far apart, or near the ends of
// float64's range, are summed in integers.
import CGradClipKernels

/// Elements of a block: 128 to a lane, of which two streams go into the second
/// accumulator and those behind it.
@inline(__always) private var wideBlock: Int { Int(GK_BLOCK) / 4 }

/// A sum over all bits that terms of float64 elements can have.
package enum WideSum {
    /// Adds value * 2^exponent. |value| < 2^62.
    @inline(never) static func add(_ r: Reduction, _ value: Int64, exponent: Int) {
        let limbs = r.pointee.wide.unsafelyUnwrapped
        ExactSum.addPieces(limbs, base: Int(GK_WIDE_BASE), value, exponent: exponent)
        r.pointee.wide_pending &+= 1
        if r.pointee.wide_pending >= 1 << 22 { propagate(r) }
    }

    @inline(never) package static func propagate(_ r: UnsafeMutablePointer<gk_reduction>) {
        ExactSum.propagate(r.pointee.wide.unsafelyUnwrapped, count: Int(GK_WIDE_LIMBS))
        r.pointee.wide_pending = 1
    }

    /// r += limbs of another sum, whose carries are propagated.
    package static func merge(
        _ r: UnsafeMutablePointer<gk_reduction>, _ others: UnsafePointer<Int64>, count: Int, base: Int
    ) {
        propagate(r)
        let limbs = r.pointee.wide.unsafelyUnwrapped + (base &- Int(GK_WIDE_BASE))
        for i in 0..<count { limbs[i] &+= others[i] }
        propagate(r)
    }
}

#if GRADCLIP_HARDWARE_F16
/// Four accumulators for terms and their remainders. One set of lanes only: two would
/// not fit into sixteen registers.
private struct WideVisitor4: WideVisitor {
    var a, b, c, d: SIMD8<Double>
    var tracker = WideRange()
    /// 1 in all lanes: p = 1. (A vector, so that one loop serves both orders.)
    let isAbsolute: SIMD8<Double>

    @inline(__always) init(bound: Int, order: Int) {
        let starts = Self.starts(bound)
        a = SIMD8(repeating: starts.a)
        b = SIMD8(repeating: starts.b)
        c = SIMD8(repeating: starts.c)
        d = SIMD8(repeating: starts.d)
        isAbsolute = SIMD8(repeating: order == 1 ? 1 : 0)
    }

    @inline(__always) static func starts(_ bound: Int) -> (a: Double, b: Double, c: Double, d: Double) {
        (
            1.5 * powerOfTwo(bound &+ 9), 1.5 * powerOfTwo(bound &- 35), 1.5 * powerOfTwo(bound &- 79),
            1.5 * powerOfTwo(bound &- 123)
        )
    }

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        add(magnitude(values.0))
        add(magnitude(values.1))
    }

    @inline(__always) private mutating func add(_ x: SIMD8<Double>) {
        tracker.see(x)
        // The remainder of |x| * 1 is 0.
        let y = choose(isAbsolute, above: SIMD8(repeating: 0), isAbsolute, else: x)
        let term = x * y
        let remainder = gk_remainder(x, y, term)
        let t = a + term
        carry(term - (t - a))
        a = t
        carry(remainder)
    }

    @inline(__always) private mutating func carry(_ r: SIMD8<Double>) {
        let u = b + r
        let s = r - (u - b)
        b = u
        let v = c + s
        d += s - (v - c)
        c = v
    }

    @inline(never) func finish(_ bound: Int, _ r: Reduction) {
        let starts = Self.starts(bound)
        WideSum.add(r, total(a, starts.a), exponent: bound &- unitDepth(1))
        WideSum.add(r, total(b, starts.b), exponent: bound &- unitDepth(2))
        WideSum.add(r, total(c, starts.c), exponent: bound &- unitDepth(3))
        WideSum.add(r, total(d, starts.d), exponent: bound &- unitDepth(4))
    }

    @inline(__always) private func total(_ lanes: SIMD8<Double>, _ start: Double) -> Int64 {
        Lanes.total(lanes, SIMD8(repeating: start), start: start)
    }
}

/// The largest magnitude and the smallest that is not zero; NaN is passed over.
private struct WideRange {
    var largest = SIMD8<Double>(repeating: 0)
    /// Bits less 1, which makes a NaN of zero.
    var smallest = SIMD8<Double>(repeating: .infinity)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ sizes: SIMD8<Double>) {
        largest = larger(sizes, largest)
        let wrapped = unsafeBitCast(sizes, to: SIMD8<UInt64>.self) &+ .max
        smallest = smaller(unsafeBitCast(wrapped, to: SIMD8<Double>.self), smallest)
    }
}

/// Sums a block if four accumulators with T from `exponent` hold its terms exactly,
/// and no product leaves the range of float64; otherwise adds nothing.
@inline(never) @_optimize(speed)
private func tryWideSum(_ order: Int, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ r: Reduction) -> Bool {
    if exponent > 440 || exponent < -300 { return false }
    let bound = order &* exponent
    var visitor = WideVisitor4(bound: bound, order: order)
    visit(Float64Element.self, data, count, &visitor)
    let largest = largestLane(visitor.tracker.largest)
    let smallest = Double(bitPattern: largestLane(-visitor.tracker.smallest).magnitude.bitPattern &+ 1)
    guard Lanes(visitor.a, visitor.a, bound: bound).isFinite else { return false }
    if largest == 0 { return true }
    // Elements are multiples of 2^(e - 53) for an e with |x| >= 2^(e-1).
    let depth = order &* (exponent &- (exponentAbove(smallest) &- 53))
    guard exponentAbove(largest) <= exponent && depth <= unitDepth(4) else { return false }
    visitor.finish(bound, r)
    return true
}
#else
/// The baseline has no fused multiply-add and goes element by element.
private func tryWideSum(_ order: Int, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ r: Reduction) -> Bool {
    false
}
#endif

@inline(never) @_optimize(speed)
func reduceWide(_ data: UnsafeRawPointer, _ length: Int, _ r: Reduction) {
    let order = Int(r.pointee.term) == GK_SQUARE ? 2 : 1
    var start = 0
    while start < length {
        let count = min(wideBlock, length &- start)
        addWideBlock(order, data + start &* 8, count, r)
        r.pointee.offset &+= UInt64(truncatingIfNeeded: count)
        start &+= count
    }
}

@inline(never) @_optimize(speed)
private func addWideBlock(_ order: Int, _ data: UnsafeRawPointer, _ count: Int, _ r: Reduction) {
    if tryWideSum(order, data, count, exponent: Int(r.pointee.scale_hint), r) { return }
    guard let found = extremes(data, count) else {
        separateNonfinite(data, count, r)
        return sumInIntegers(order, UnsafeRawPointer(r.pointee.scratch.unsafelyUnwrapped), count, r)
    }
    if found.nonzero == 0 { return }
    let exponent = exponentAbove(Double(bitPattern: found.largest))
    r.pointee.scale_hint = Int32(truncatingIfNeeded: exponent)
    if !tryWideSum(order, data, count, exponent: exponent, r) { sumInIntegers(order, data, count, r) }
}

/// Element by element.
@inline(never)
private func sumInIntegers(_ order: Int, _ data: UnsafeRawPointer, _ count: Int, _ r: Reduction) {
    r.pointee.paths.3 &+= 1
    for i in 0..<count {
        let bits = (data + i &* 8).loadUnaligned(as: UInt64.self) & 0x7fff_ffff_ffff_ffff
        let field = max(1, Int(bits &>> 52))
        let significand = (bits & 0xf_ffff_ffff_ffff) | (bits >= 1 << 52 ? 1 << 52 : 0)
        let exponent = order &* (field &- 1075)
        if order == 1 {
            WideSum.add(r, Int64(significand), exponent: exponent)
        } else {
            let square = significand.multipliedFullWidth(by: significand)
            // 106 bits in two parts of at most 60.
            WideSum.add(r, Int64(square.low & (1 << 60 - 1)), exponent: exponent)
            WideSum.add(r, Int64(square.high &<< 4 | square.low &>> 60), exponent: exponent &+ 60)
        }
    }
}
