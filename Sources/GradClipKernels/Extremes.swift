// The largest and the smallest magnitude and how many elements are not zero:
// all that p = infinity, -infinity and 0 need, and the first look of any other
// power at a block. Exact by nature.
import CGradClipKernels

struct Extremes {
    /// Bits of float64 magnitudes; `smallest` is of those that are not zero.
    var largest: UInt64 = 0
    var smallest: UInt64 = .max
    var nonzero: UInt64 = 0

    @inline(__always) func merge(into r: Reduction) {
        if largest > r.pointee.largest { r.pointee.largest = largest }
        if smallest < r.pointee.smallest { r.pointee.smallest = smallest }
        r.pointee.nonzero &+= nonzero
    }
}

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

/// Nil if an element is not finite.
@inline(never) @_optimize(speed)
func floatExtremes(_ data: UnsafeRawPointer, _ count: Int) -> Extremes? {
    var visitor = ExtremesVisitor()
    visit(Float32Element.self, data, count, &visitor)
    let range = visitor.tracker.range
    if !range.isFinite { return nil }
    var result = Extremes()
    result.largest = Double(Float(bitPattern: range.largest)).bitPattern
    if range.smallest != .max { result.smallest = Double(Float(bitPattern: range.smallest)).bitPattern }
    result.nonzero = padded(count) &- UInt64(visitor.zeros.wrappedSum())
    return result
}

/// The elements that a visitor sees of `count`.
@inline(__always) private func padded(_ count: Int) -> UInt64 { UInt64((count &+ 15) & ~15) }

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

    @inline(never) var isFinite: Bool {
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

@inline(never) @_optimize(speed)
func extremes(_ data: UnsafeRawPointer, _ count: Int) -> Extremes? {
    var visitor = WideExtremesVisitor()
    visit(Float64Element.self, data, count, &visitor)
    if !visitor.tracker.isFinite { return nil }
    var result = Extremes()
    result.largest = largestLane(visitor.tracker.largest).bitPattern
    let least = largestLane(-visitor.smallest).magnitude
    if least < .infinity { result.smallest = least.bitPattern &+ 1 }
    result.nonzero = padded(count) &- visitor.zeros.wrappedSum()
    return result
}

@inline(__always)
func reduceFloatExtremes(_ data: UnsafeRawPointer, _ length: Int, _ r: Reduction) {
    forEachBlock(data, length, 4, r) { block, count in
        if let found = floatExtremes(block, count) { return found.merge(into: r) }
        separateNonfinite(Float32Element.self, block, count, r)
        floatExtremes(UnsafeRawPointer(r.pointee.scratch), count)?.merge(into: r)
    }
}

@inline(__always)
func reduceExtremes(_ data: UnsafeRawPointer, _ length: Int, _ r: Reduction) {
    forEachBlock(data, length, 8, r) { block, count in
        if let found = extremes(block, count) { return found.merge(into: r) }
        separateNonfinite(block, count, r)
        extremes(UnsafeRawPointer(r.pointee.scratch), count)?.merge(into: r)
    }
}
