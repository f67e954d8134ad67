// The largest and the smallest magnitude and how many elements are not zero:
// all that p = infinity, -infinity and 0 need, and the first look of any other
// power at a block. Exact by nature.
import CGradClipKernels

private struct ExtremesVisitor: Visitor {
    var tracker = RangeTracker()
    var zeros = SIMD16<UInt32>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let sizes = magnitudes(values)
        tracker.see(sizes)
        count(sizes, below: 1, &zeros)
    }
}

@inline(never)
func findExtremes<E: NarrowElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ block: inout gk_block) {
    var visitor = ExtremesVisitor()
    visitInAnyOrder(E.self, data, count, &visitor)
    block.holds = visitor.tracker.store(&block)
    block.zeros = UInt64(visitor.zeros.wrappedSum()) &- padding(count)
}

/// Zeros that a visitor sees behind `count` elements.
@inline(__always) func padding(_ count: Int) -> UInt64 { UInt64(((count &+ 15) & ~15) &- count) }

/// The largest magnitude of float64 elements, if all are finite.
struct WideTracker {
    var largest = SIMD8<Double>(repeating: 0)
    /// Has the highest bit set where an exponent field was all ones.
    var carries = SIMD8<UInt64>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ size: SIMD8<Double>) {
        largest = larger(size, largest)
        carries = carries | (unsafeBitCast(size, to: SIMD8<UInt64>.self) &+ 1 << 52)
    }

    @inline(__always) var isFinite: Bool {
        let four = carries.lowHalf | carries.highHalf
        let two = four.lowHalf | four.highHalf
        return (two.x | two.y) &>> 63 == 0
    }
}

private struct WideExtremesVisitor: WideVisitor {
    var tracker = WideTracker()
    /// Bits less 1, which makes a NaN of zero.
    var smallest = SIMD8<Double>(repeating: .infinity)
    var zeros = SIMD8<UInt64>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        see(magnitude(values.0))
        see(magnitude(values.1))
    }

    @inline(__always) private mutating func see(_ size: SIMD8<Double>) {
        tracker.see(size)
        let wrapped = unsafeBitCast(size, to: SIMD8<UInt64>.self) &+ .max
        smallest = smaller(unsafeBitCast(wrapped, to: SIMD8<Double>.self), smallest)
        count(size, below: .leastNonzeroMagnitude, &zeros)
    }
}

@inline(never)
func findExtremes(_ data: UnsafeRawPointer, _ count: Int, _ block: inout gk_block) {
    var visitor = WideExtremesVisitor()
    visit(Float64Element.self, data, count, &visitor)
    block.holds = visitor.tracker.isFinite
    block.largest = largestLane(visitor.tracker.largest).bitPattern
    let least = largestLane(-visitor.smallest).magnitude
    block.smallest = least < .infinity ? least.bitPattern &+ 1 : .max
    block.zeros = visitor.zeros.wrappedSum() &- padding(count)
}
