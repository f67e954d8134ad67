// NaN and infinities: found by the loops that sum, counted here.
import CGradClipKernels

/// How many elements of a block are not finite, and the first of them.
@inline(never)
func countNonfinite<E: NarrowElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int) -> gk_nonfinite {
    var visitor = CountingVisitor()
    visit(E.self, data, count, &visitor)
    return gk_nonfinite(
        count: UInt64(visitor.nonfinite.wrappedSum()), nan: UInt64(visitor.nan.wrappedSum()), first: visitor.first)
}

private struct CountingVisitor: Visitor {
    var nonfinite = SIMD16<UInt32>(repeating: 0)
    var nan = SIMD16<UInt32>(repeating: 0)
    var first = GK_NOWHERE
    private var index: UInt64 = 0

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let sizes = magnitudes(values)
        let (most, infinity) = (SIMD16<UInt32>(repeating: infinityBits - 1), SIMD16<UInt32>(repeating: infinityBits))
        let (one, zero) = (SIMD16<UInt32>(repeating: 1), SIMD16<UInt32>(repeating: 0))
        let flags = choose(sizes, above: most, one, else: zero)
        nonfinite = nonfinite &+ flags
        nan = nan &+ choose(sizes, above: infinity, one, else: zero)
        if first == GK_NOWHERE && gk_any(flags) {
            var lane = 0
            while flags[lane] == 0 { lane &+= 1 }
            first = index &+ UInt64(lane)
        }
        index &+= 16
    }
}

/// The same for float64.
@inline(never)
func countNonfinite(_ data: UnsafeRawPointer, _ count: Int) -> gk_nonfinite {
    var visitor = WideCountingVisitor()
    visit(Float64Element.self, data, count, &visitor)
    var first = 0
    if visitor.nonfinite.wrappedSum() > 0 {
        while (data + first &* 8).loadUnaligned(as: Double.self).magnitude < .infinity { first &+= 1 }
    }
    let total = visitor.nonfinite.wrappedSum()
    return gk_nonfinite(count: total, nan: visitor.nan.wrappedSum(), first: total > 0 ? UInt64(first) : GK_NOWHERE)
}

private struct WideCountingVisitor: WideVisitor {
    var nonfinite = SIMD8<UInt64>(repeating: 0)
    var nan = SIMD8<UInt64>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        see(values.0)
        see(values.1)
    }

    @inline(__always) private mutating func see(_ values: SIMD8<Double>) {
        let sizes = unsafeBitCast(magnitude(values), to: SIMD8<UInt64>.self)
        let infinity = SIMD8<UInt64>(repeating: 0x7ff0_0000_0000_0000)
        let (one, zero) = (SIMD8<UInt64>(repeating: 1), SIMD8<UInt64>(repeating: 0))
        nonfinite = nonfinite &+ choose(sizes, above: infinity &- 1, one, else: zero)
        nan = nan &+ choose(sizes, above: infinity, one, else: zero)
    }
}

/// Whether all elements are finite.
@inline(never)
func isFinite<E: NarrowElement>(_: E.Type, _ data: UnsafeRawPointer, _ count: Int) -> Bool {
    var visitor = LargestVisitor()
    visitInAnyOrder(E.self, data, count, &visitor)
    return largestLane(visitor.largest) < infinityBits
}

private struct LargestVisitor: Visitor {
    var largest = SIMD16<UInt32>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: SIMD16<Float>) { largest = larger(magnitudes(values), largest) }
}

/// The same for float64.
@inline(never)
func isFinite(_ data: UnsafeRawPointer, _ count: Int) -> Bool {
    var block = gk_block()
    findExtremes(data, count, &block)
    return block.holds
}

// GK_NOWHERE as Swift sees it.
@inline(__always) package var GK_NOWHERE: UInt64 { .max }
