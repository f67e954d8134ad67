// p = 1 and p = 2 over float64, exact (the option exact_f64), by accumulators.
//
// A square of 53 bits has 106: its float64 value and the remainder, which a fused
// multiply-add gives exactly. Both go down a
// cascade of four accumulators (Cascade.swift). Stretches of a quarter of a block leave room for the
// second stream: 128 elements to a lane, of which two streams go into the second
// accumulator and those behind it.
import CGradClipKernels

#if GRADCLIP_HARDWARE_F16
@inline(__always) var mostWideLevels: Int { Four.count }

/// One set of lanes only: two would not fit into sixteen registers.
private struct ExactWideVisitor: WideVisitor {
    var lanes: Lanes<Four>
    var largest = SIMD8<Double>(repeating: 0)
    /// Bits less 1, which makes a NaN of zero.
    var smallest = SIMD8<Double>(repeating: .infinity)
    /// 1 in all lanes: p = 1. (A vector, so that one loop serves both orders.)
    let isAbsolute: SIMD8<Double>

    @inline(__always) init(bound: Int, order: Int) {
        lanes = Lanes(bound: bound)
        isAbsolute = SIMD8(repeating: order == 1 ? 1 : 0)
    }

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        add(magnitude(values.0))
        add(magnitude(values.1))
    }

    @inline(__always) private mutating func add(_ x: SIMD8<Double>) {
        largest = larger(x, largest)
        let wrapped = unsafeBitCast(x, to: SIMD8<UInt64>.self) &+ .max
        smallest = smaller(unsafeBitCast(wrapped, to: SIMD8<Double>.self), smallest)
        // The remainder of |x| * 1 is 0.
        let y = choose(isAbsolute, above: SIMD8(repeating: 0), isAbsolute, else: x)
        let term = x * y
        let remainder = gk_remainder(x, y, term)
        lanes.add(term)
        lanes.carry(remainder)
    }
}

/// T beyond which a product leaves the range of float64.
@inline(__always) private var usableExponents: ClosedRange<Int> { -300...440 }

@inline(never)
func sumWideExactly(
    _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ block: inout gk_block
) {
    let order = term == .square ? 2 : 1
    let bound = order &* exponent
    var largest = SIMD8<Double>(repeating: 0)
    var smallest = SIMD8<Double>(repeating: .infinity)
    var isFinite = true
    let stretch = Int(GK_BLOCK) / 4
    var start = 0
    while start < count {
        var visitor = ExactWideVisitor(bound: bound, order: order)
        visit(Float64Element.self, data + start &* 8, min(stretch, count &- start), &visitor)
        largest = larger(visitor.largest, largest)
        smallest = smaller(visitor.smallest, smallest)
        let lanes = visitor.lanes
        isFinite = isFinite && isAllZero(lanes.a - lanes.a)
        lanes.store(bound: bound, &block)
        start &+= stretch
    }
    block.bound = Int32(truncatingIfNeeded: bound)
    let most = largestLane(largest)
    block.largest = most.bitPattern
    let least = largestLane(-smallest).magnitude
    block.smallest = least < .infinity ? least.bitPattern &+ 1 : .max
    block.holds = isFinite && usableExponents.contains(exponent)
    if block.holds && most > 0 {
        let lowest = exponentAbove(Double(bitPattern: block.smallest))
        block.holds =
            exponentAbove(most) <= exponent
            && levelsNeeded(order: order, exponent: exponent, lowest: lowest, bits: 53) <= Four.count
    }
}
#else
/// The baseline has no fused multiply-add.
@inline(__always) var mostWideLevels: Int { 0 }

func sumWideExactly(
    _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ block: inout gk_block
) { block.holds = false }
#endif
