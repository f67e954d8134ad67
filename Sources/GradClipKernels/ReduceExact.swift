// p = 1 and p = 2 over float32, float16 and bfloat16: exact. Elements of two bytes
// are converted first, a block at a time, where ReduceHalves.swift does not serve.
//
// A block is summed with the bound T and the number of accumulators that the
// block before it needed. The same loop tracks the largest and the smallest
// magnitude, which tell afterwards whether the guess was good: no term at or
// above 2^T, none finer than the last accumulator's unit. If not, the block is
// summed again with what it needs. The result is the exact sum either way.
import CGradClipKernels

typealias Reduction = UnsafeMutablePointer<gk_reduction>

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

extension Cascade where T: ExactTerm {
    /// add() for terms that are exact: the multiplications go with additions, if the
    /// hardware fuses them, and half of the work moves from the adders to the multipliers.
    @inline(__always) mutating func addExactly(_ x: (SIMD8<Double>, SIMD8<Double>)) {
        Self.addExactly(x.0, &lanes.a0, &lanes.b0, &lanes.c0)
        Self.addExactly(x.1, &lanes.a1, &lanes.b1, &lanes.c1)
    }

    @inline(__always) private static func addExactly(
        _ x: SIMD8<Double>, _ a: inout SIMD8<Double>, _ b: inout SIMD8<Double>, _ c: inout SIMD8<Double>
    ) {
        let t = T.plus(a, x)
        if L.count >= 2 {
            let r = T.plus(a - t, x)
            let u = b + r
            if L.count >= 3 { c += r - (u - b) }
            b = u
        }
        a = t
    }
}

/// How many accumulators hold the terms of a block exactly; 4: none do.
///
/// A magnitude with exponent field f lies below 2^(f-126) and is a multiple of
/// 2^(f-150); subnormals behave as f = 1. `exponent` is the field that gives T.
@inline(__always)
func levelsNeeded<T: ExactTerm>(_: T.Type, _ range: BlockRange, exponent: Int) -> Int {
    if range.smallest == .max { return 1 }
    let unit = range.lowestField &- 150
    let depth = T.order &* (exponent &- 126 &- unit)
    return depth <= unitDepth(1) ? 1 : depth <= unitDepth(2) ? 2 : depth <= unitDepth(3) ? 3 : 4
}

/// The largest magnitude of a block and the smallest that is not zero, as bits.
struct BlockRange {
    let largest: UInt32
    /// `UInt32.max` if all are zero.
    let smallest: UInt32
    @inline(__always) var field: Int { Int(largest &>> 23) }
    @inline(__always) var isFinite: Bool { largest < infinityBits }
    @inline(__always) var lowestField: Int { smallest == .max ? 255 : max(1, Int(smallest &>> 23)) }
}

/// Finds a BlockRange, in signed comparisons: the only ones SSE2 has.
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

    @inline(never) var range: BlockRange {
        // The smallest of values is the complement of the largest complement.
        let least = ~largestLane(~smallest)
        return BlockRange(
            largest: UInt32(bitPattern: largestLane(largest)),
            smallest: least == .max ? .max : UInt32(bitPattern: least &- .max))
    }
}

@inline(__always)
func sumBlock<T: ExactTerm, L: Levels>(
    _: T.Type, _: L.Type, _ data: UnsafeRawPointer, _ length: Int, exponent: Int
) -> (Cascade<T, L>, BlockRange) {
    var visitor = ExactVisitor<T, L>(bound: T.order &* (exponent &- 126))
    visit(Float32Element.self, data, length, &visitor)
    return (visitor.cascade, visitor.tracker.range)
}

private struct ExactVisitor<T: ExactTerm, L: Levels>: Visitor {
    var cascade: Cascade<T, L>
    var tracker = RangeTracker()

    @inline(__always) init(bound: Int) { cascade = Cascade(bound: bound) }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        tracker.see(magnitudes(values))
        cascade.addExactly((gk_f64_from_f32(values.lowHalf), gk_f64_from_f32(values.highHalf)))
    }
}

/// Sums a block if `exponent` and L suffice for it; otherwise adds nothing.
@inline(never) @_optimize(speed)
func trySum<T: ExactTerm, L: Levels>(
    _: T.Type, _: L.Type, _ data: UnsafeRawPointer, _ length: Int, exponent: Int, _ r: Reduction
) -> (done: Bool, range: BlockRange) {
    let (cascade, range) = sumBlock(T.self, L.self, data, length, exponent: exponent)
    guard
        range.isFinite && range.field <= exponent
            && levelsNeeded(T.self, range, exponent: exponent) <= L.count
    else { return (false, range) }
    cascade.lanes.sums(L.count).add(to: &r.pointee.exact)
    withUnsafeMutableBytes(of: &r.pointee.paths) { paths in
        paths.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt64.self)[L.count &- 1] &+= 1
    }
    return (true, range)
}

/// Two and three accumulators for squares, one and two for magnitudes: what their
/// exponents ask for in practice. The integers take over beyond that.
@inline(__always)
func trySum<T: ExactTerm>(
    _: T.Type, _ data: UnsafeRawPointer, _ length: Int, exponent: Int, levels: Int, _ r: Reduction
) -> (done: Bool, range: BlockRange) {
    #if GRADCLIP_HARDWARE_F16
    if T.order == 2 {
        return levels <= 2
            ? trySum(T.self, Two.self, data, length, exponent: exponent, r)
            : trySum(T.self, Three.self, data, length, exponent: exponent, r)
    }
    return levels <= 1
        ? trySum(T.self, One.self, data, length, exponent: exponent, r)
        : trySum(T.self, Two.self, data, length, exponent: exponent, r)
    #else
    // The baseline has one loop for each order, with as many as may be needed: slower where
    // fewer would do, and half the room.
    return T.order == 2
        ? trySum(T.self, Three.self, data, length, exponent: exponent, r)
        : trySum(T.self, Two.self, data, length, exponent: exponent, r)
    #endif
}

/// The sum of one block, element by element, for exponents too far apart for
/// three accumulators.
@inline(never)
func sumInIntegers<T: ExactTerm>(
    _: T.Type, _ data: UnsafeRawPointer, _ length: Int, _ r: Reduction
) {
    r.pointee.paths.3 &+= 1
    var i = 0
    while i < length {
        let count = min(16, length &- i)
        let values = magnitudes(loadTail(Float32Element.self, data + i &* 4, count))
        for lane in 0..<count {
            let bits = values[lane]
            let field = max(1, Int(bits &>> 23))
            let significand = Int64((bits & 0x7f_ffff) | (bits >= 0x80_0000 ? 0x80_0000 : 0))
            let term = T.order == 2 ? significand &* significand : significand
            ExactSum.add(&r.pointee.exact, term, exponent: T.order &* (field &- 150))
        }
        i &+= 16
    }
}

@inline(__always)
func reduceExactly<T: ExactTerm>(
    _: T.Type, _ data: UnsafeRawPointer, _ length: Int, _ r: Reduction
) {
    forEachBlock(data, length, 4, r) { block, count in addBlock(T.self, block, count, r) }
}

@inline(never) @_optimize(speed)
func addBlock<T: ExactTerm>(
    _: T.Type, _ data: UnsafeRawPointer, _ count: Int, _ r: Reduction
) {
    let guess = Int(r.pointee.exponent)
    let first = trySum(T.self, data, count, exponent: guess, levels: Int(r.pointee.levels), r)
    if !first.done {
        if !first.range.isFinite {
            separateNonfinite(Float32Element.self, data, count, r)
            return addBlock(
                T.self, UnsafeRawPointer(r.pointee.scratch.unsafelyUnwrapped), count, r)
        }
        addFiniteBlock(T.self, data, count, first.range, r)
    }
    // T stays while it is not far too large. A third accumulator is expected only after
    // two blocks in a row that needed one: few do.
    let exponent = first.done && first.range.field &+ 4 > guess ? guess : first.range.field
    let needed = Int32(truncatingIfNeeded: levelsNeeded(T.self, first.range, exponent: exponent))
    r.pointee.exponent = Int32(truncatingIfNeeded: exponent)
    r.pointee.levels = needed > 2 && r.pointee.needed <= 2 ? 2 : needed
    r.pointee.needed = needed
}

/// Sums a block whose range is known.
@inline(__always)
func addFiniteBlock<T: ExactTerm>(
    _: T.Type, _ data: UnsafeRawPointer, _ count: Int, _ range: BlockRange, _ r: Reduction
) {
    let levels = levelsNeeded(T.self, range, exponent: range.field)
    if !trySum(T.self, data, count, exponent: range.field, levels: levels, r).done {
        sumInIntegers(T.self, data, count, r)
    }
}
