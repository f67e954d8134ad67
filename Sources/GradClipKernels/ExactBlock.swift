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
    visit(E.self, data, count, &visitor)
    visitor.cascade.store(&block)
    block.holds = visitor.tracker.store(&block)
    if block.holds && block.largest > 0 {
        let lowest = exponentAbove(Double(bitPattern: block.smallest))
        block.holds =
            exponentAbove(Double(bitPattern: block.largest)) <= exponent
            && levelsNeeded(order: T.order, exponent: exponent, lowest: lowest, bits: E.significandBits) <= L.count
    }
}

/// Two and three accumulators for squares, one to three for magnitudes: what their exponents ask
/// for in practice. The bins take over beyond that (Bins.swift): a loop with five is no faster.
@inline(__always)
func sumExactly<E: NarrowElement>(
    _: E.Type, _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, levels: Int,
    _ block: inout gk_block
) {
    #if GRADCLIP_HARDWARE_F16
    switch (term, levels) {
    case (.square, ...2): sumExactly(E.self, Square.self, Two.self, data, count, exponent: exponent, &block)
    case (.square, _): sumExactly(E.self, Square.self, Three.self, data, count, exponent: exponent, &block)
    case (_, ...1): sumExactly(E.self, Absolute.self, One.self, data, count, exponent: exponent, &block)
    case (_, 2): sumExactly(E.self, Absolute.self, Two.self, data, count, exponent: exponent, &block)
    default: sumExactly(E.self, Absolute.self, Three.self, data, count, exponent: exponent, &block)
    }
    #else
    // The baseline has one loop for each order: beyond it the bins are nearly as fast.
    if term == .square {
        sumExactly(E.self, Square.self, Two.self, data, count, exponent: exponent, &block)
    } else {
        sumExactly(E.self, Absolute.self, Two.self, data, count, exponent: exponent, &block)
    }
    #endif
}
