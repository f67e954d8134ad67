// p = 1 and p = 2 over float32, float16 and bfloat16: exact, by accumulators.
//
// A block is summed with the bound T and the number of accumulators that the
// engine expects. The same loop tracks the largest and the smallest
// magnitude, which tell afterwards whether that was right: no term at or
// above 2^T, none finer than the last accumulator's unit.
import CGradClipKernels

/// The term of an exact sum: the order p (1 or 2), and sum + |x|^p, rounded once.
protocol ExactTerm: Term {
    static var order: Int { get }
    static func plus(_ sum: SIMD8<Double>, _ x: SIMD8<Double>) -> SIMD8<Double>
}
extension Absolute: ExactTerm {
    @inline(__always) static var order: Int { 1 }
    @inline(__always) static func plus(_ sum: SIMD8<Double>, _ x: SIMD8<Double>) -> SIMD8<Double> { sum + magnitude(x) }
}
extension Square: ExactTerm {
    @inline(__always) static var order: Int { 2 }
    @inline(__always) static func plus(_ sum: SIMD8<Double>, _ x: SIMD8<Double>) -> SIMD8<Double> {
        gk_plus_square(sum, x)
    }
}

extension Lanes {
    /// add() for terms that are exact: the multiplications go with additions, if the
    /// hardware fuses them, and half of the work moves from the adders to the multipliers.
    @inline(__always) mutating func addExactly<T: ExactTerm>(_: T.Type, _ x: SIMD8<Double>) {
        let t = T.plus(a, x)
        if L.count >= 2 { carry(T.plus(a - t, x)) }
        a = t
    }
}

/// Finds the largest magnitude and the smallest that is not zero, as bits of floats, in signed
/// comparisons: the only ones SSE2 has.
struct RangeTracker {
    #if GRADCLIP_X86_64_V4
    typealias Lanes = SIMD16<Int32>
    #else
    /// Half as many: with 16 registers a loop has none to spare.
    typealias Lanes = SIMD8<Int32>
    #endif
    var largest = Lanes(repeating: 0)
    /// Bits plus 0x7fff_ffff, which orders zero behind everything.
    var smallest = Lanes(repeating: .max)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ sizes: SIMD16<UInt32>) {
        let signed = unsafeBitCast(sizes, to: SIMD16<Int32>.self)
        let wrapped = signed &+ .max
        #if GRADCLIP_X86_64_V4
        largest = larger(signed, largest)
        smallest = smaller(wrapped, smallest)
        #else
        largest = larger(larger(signed.lowHalf, signed.highHalf), largest)
        smallest = smaller(smaller(wrapped.lowHalf, wrapped.highHalf), smallest)
        #endif
    }

    /// Whether all were finite; the extremes into a block.
    @inline(never) func store(_ block: inout gk_block) -> Bool {
        let most = UInt32(bitPattern: largestLane(largest))
        // The smallest of values is the complement of the largest complement.
        let least = ~largestLane(~smallest)
        block.largest = bits(most)
        block.smallest = least == .max ? .max : bits(UInt32(bitPattern: least &- .max))
        return most < infinityBits
    }

    /// As float64.
    @inline(__always) private func bits(_ float: UInt32) -> UInt64 { Double(Float(bitPattern: float)).bitPattern }
}

private struct ExactVisitor<T: ExactTerm, L: Levels>: Visitor {
    var cascade: Cascade<T, L>
    var tracker = RangeTracker()

    @inline(__always) init(bound: Int) { cascade = Cascade(bound: bound) }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        tracker.see(magnitudes(values))
        cascade.low.addExactly(T.self, gk_f64_from_f32(values.lowHalf))
        cascade.high.addExactly(T.self, gk_f64_from_f32(values.highHalf))
    }
}

@inline(never)
private func sumExactly<E: NarrowElement, T: ExactTerm, L: Levels>(
    _: E.Type, _: T.Type, _: L.Type, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ block: inout gk_block
) {
    var visitor = ExactVisitor<T, L>(bound: T.order &* exponent)
    visitInAnyOrder(E.self, data, count, &visitor)
    visitor.cascade.store(&block)
    judge(T.self, L.self, E.significandBits, visitor.tracker, exponent, &block)
}

#if GRADCLIP_HARDWARE_F16
/// Three accumulators and more: in one set of lanes, since two would not fit into sixteen registers. So a lane gets twice
/// as many terms, and a block goes in two stretches.
private struct DeepVisitor<T: ExactTerm, L: Levels>: Visitor {
    var lanes: Lanes<L>
    var tracker: RangeTracker

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        tracker.see(magnitudes(values))
        lanes.addExactly(T.self, gk_f64_from_f32(values.lowHalf))
        lanes.addExactly(T.self, gk_f64_from_f32(values.highHalf))
    }
}

@inline(never)
private func sumDeeply<E: NarrowElement, T: ExactTerm, L: Levels>(
    _: E.Type, _: T.Type, _: L.Type, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ block: inout gk_block
) {
    let bound = T.order &* exponent
    block.bound = Int32(truncatingIfNeeded: bound)
    var tracker = RangeTracker()
    let stretch = Int(GK_BLOCK) / 2
    var start = 0
    while start < count {
        var visitor = DeepVisitor<T, L>(lanes: Lanes(bound: bound), tracker: tracker)
        visitInAnyOrder(E.self, data + start &* E.size, min(stretch, count &- start), &visitor)
        visitor.lanes.store(bound: bound, &block)
        tracker = visitor.tracker
        start &+= stretch
    }
    judge(T.self, L.self, E.significandBits, tracker, exponent, &block)
}
#endif

/// Whether the sum of a block is exact, by what its elements turned out to be.
@inline(__always)
private func judge<T: ExactTerm, L: Levels>(
    _: T.Type, _: L.Type, _ bits: Int, _ tracker: RangeTracker, _ exponent: Int, _ block: inout gk_block
) {
    block.holds = tracker.store(&block)
    if block.holds && block.largest > 0 {
        let lowest = exponentAbove(Double(bitPattern: block.smallest))
        block.holds =
            exponentAbove(Double(bitPattern: block.largest)) <= exponent
            && levelsNeeded(order: T.order, exponent: exponent, lowest: lowest, bits: bits) <= L.count
    }
}

/// How many accumulators there are loops with: beyond that the bins are as fast (Bins.swift).
@inline(__always)
func mostLevels<E: NarrowElement>(_: E.Type, _ term: TermKind) -> Int {
    #if GRADCLIP_HARDWARE_F16
    E.significandBits < 24 ? 3 : term == .square ? 5 : 4
    #else
    2
    #endif
}

/// Two accumulators and more for squares, one and more for magnitudes: what their exponents ask for in practice.
@inline(__always)
func sumExactly<E: NarrowElement>(
    _: E.Type, _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, levels: Int,
    _ block: inout gk_block
) {
    #if GRADCLIP_HARDWARE_F16
    let deep = mostLevels(E.self, term)
    switch (term, levels) {
    case (.square, 5...) where deep >= 5:
        sumDeeply(E.self, Square.self, Five.self, data, count, exponent: exponent, &block)
    case (.square, 4...) where deep >= 4:
        sumDeeply(E.self, Square.self, Four.self, data, count, exponent: exponent, &block)
    case (.square, 3...): sumDeeply(E.self, Square.self, Three.self, data, count, exponent: exponent, &block)
    case (.square, _): sumExactly(E.self, Square.self, Two.self, data, count, exponent: exponent, &block)
    case (_, 4...) where deep >= 4:
        sumDeeply(E.self, Absolute.self, Four.self, data, count, exponent: exponent, &block)
    case (_, 3...): sumDeeply(E.self, Absolute.self, Three.self, data, count, exponent: exponent, &block)
    case (_, 2): sumExactly(E.self, Absolute.self, Two.self, data, count, exponent: exponent, &block)
    case (_, _): sumExactly(E.self, Absolute.self, One.self, data, count, exponent: exponent, &block)
    }
    #else
    if term == .square {
        sumExactly(E.self, Square.self, Two.self, data, count, exponent: exponent, &block)
    } else {
        sumExactly(E.self, Absolute.self, Two.self, data, count, exponent: exponent, &block)
    }
    #endif
}
