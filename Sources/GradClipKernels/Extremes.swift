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
        zeros = zeros &+ ones(SIMD16(repeating: 1), above: sizes)
    }
}

/// Nil if an element is not finite.
@inline(never)
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

private struct WideExtremesVisitor: WideVisitor {
    var largest = SIMD8<UInt64>(repeating: 0)
    /// Bits less 1, which orders zero behind everything.
    var smallest = SIMD8<UInt64>(repeating: .max)
    var zeros = SIMD8<UInt64>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        see(unsafeBitCast(magnitude(values.0), to: SIMD8<UInt64>.self))
        see(unsafeBitCast(magnitude(values.1), to: SIMD8<UInt64>.self))
    }

    @inline(__always) private mutating func see(_ sizes: SIMD8<UInt64>) {
        largest = larger(sizes, largest)
        let wrapped = sizes &- 1
        smallest = smaller(wrapped, smallest)
        let one = SIMD8<UInt64>(repeating: 1)
        zeros = zeros &+ choose(one, above: sizes, one, else: SIMD8(repeating: 0))
    }
}

@inline(never)
func extremes(_ data: UnsafeRawPointer, _ count: Int) -> Extremes? {
    var visitor = WideExtremesVisitor()
    visit(Float64Element.self, data, count, &visitor)
    var result = Extremes()
    result.largest = visitor.largest.max()
    if result.largest >= Double.infinity.bitPattern { return nil }
    let least = visitor.smallest.min()
    if least != .max { result.smallest = least &+ 1 }
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
