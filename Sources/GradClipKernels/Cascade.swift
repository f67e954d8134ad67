// The inner loop of every sum: accumulators that lose nothing.
//
// With T such that every term s < 2^T, the first accumulator starts at
// A = 1.5 * 2^(T+9). A lane receives at most 256 terms of a block, so A stays in
// its binade, where all its values are multiples of 2^(T-43). t = A + s is then s
// rounded to such a multiple, q = t - A is that multiple exactly, and s - q,
// exact too, is at most 2^(T-44) and goes into the second accumulator, which
// starts at 1.5 * 2^(T-35) and counts in units of 2^(T-87); what that one
// rounds off goes into the third, in units of 2^(T-131).
//
// So as long as every term is a multiple of the last accumulator's unit, no
// operation rounds, and the bit patterns of the accumulators, less those of the
// starting values, are integers: the sums in units. Nothing depends on the
// order, and fused multiply-adds change nothing.
import CGradClipKernels

protocol Levels { static var count: Int { get } }
enum One: Levels { @inline(__always) static var count: Int { 1 } }
enum Two: Levels { @inline(__always) static var count: Int { 2 } }
enum Three: Levels { @inline(__always) static var count: Int { 3 } }
enum Four: Levels { @inline(__always) static var count: Int { 4 } }
enum Five: Levels { @inline(__always) static var count: Int { 5 } }

/// 2^exponent, for exponents of normal numbers.
@inline(__always) package func powerOfTwo(_ exponent: Int) -> Double {
    Double(bitPattern: UInt64(truncatingIfNeeded: exponent &+ 1023) &<< 52)
}

/// How far the unit of an accumulator, 1 for the first, lies below T.
@inline(__always) package func unitDepth(_ level: Int) -> Int { level &* 44 &- 1 }

/// Where an accumulator starts: `level` is 1 for the first.
@inline(__always) func start(_ bound: Int, _ level: Int) -> Double { 1.5 * powerOfTwo(bound &+ 53 &- 44 &* level) }

/// The accumulators of eight lanes; of the levels that a sum does not have nothing is used.
struct Lanes<L: Levels> {
    var a, b, c, d, e: SIMD8<Double>

    /// `bound` is T.
    @inline(__always) init(bound: Int) {
        a = SIMD8(repeating: start(bound, 1))
        b = SIMD8(repeating: L.count >= 2 ? start(bound, 2) : 0)
        c = SIMD8(repeating: L.count >= 3 ? start(bound, 3) : 0)
        d = SIMD8(repeating: L.count >= 4 ? start(bound, 4) : 0)
        e = SIMD8(repeating: L.count >= 5 ? start(bound, 5) : 0)
    }

    @inline(__always) mutating func add(_ term: SIMD8<Double>) {
        let t = a + term
        if L.count >= 2 { carry(term - (t - a)) }
        a = t
    }

    /// Adds what the first accumulator rounded off, and so on.
    @inline(__always) mutating func carry(_ r: SIMD8<Double>) {
        let u = b + r
        if L.count >= 3 {
            let s = r - (u - b)
            let v = c + s
            if L.count >= 4 {
                let q = s - (v - c)
                let w = d + q
                if L.count >= 5 { e = e + (q - (w - d)) }
                d = w
            }
            c = v
        }
        b = u
    }
}

/// The accumulators of sixteen lanes.
struct Cascade<T: Term, L: Levels> {
    var low, high: Lanes<L>
    let bound: Int

    /// `bound` is T.
    @inline(__always) init(bound: Int) {
        (low, high) = (Lanes(bound: bound), Lanes(bound: bound))
        self.bound = bound
    }

    @inline(__always) mutating func add(_ x: (SIMD8<Double>, SIMD8<Double>)) {
        low.add(T.apply(x.0))
        high.add(T.apply(x.1))
    }

    /// What the accumulators hold, added to a block.
    @inline(__always) func store(_ block: inout gk_block) {
        block.bound = Int32(truncatingIfNeeded: bound)
        block.sums.0 &+= integers(low.a, high.a, start: start(bound, 1))
        if L.count >= 2 { block.sums.1 &+= integers(low.b, high.b, start: start(bound, 2)) }
        if L.count >= 3 { block.sums.2 &+= integers(low.c, high.c, start: start(bound, 3)) }
        if L.count >= 4 { block.sums.3 &+= integers(low.d, high.d, start: start(bound, 4)) }
    }

    /// False if an accumulator met a NaN or an infinity.
    @inline(__always) var isFinite: Bool { isAllZero((low.a - low.a) + (high.a - high.a)) }
}

@inline(__always) func isAllZero(_ v: SIMD8<Double>) -> Bool {
    let four = v.lowHalf + v.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y == 0
}

extension Lanes {
    /// What the accumulators hold, added to a block.
    @inline(__always) func store(bound: Int, _ block: inout gk_block) {
        block.sums.0 &+= integers(a, start: start(bound, 1))
        if L.count >= 2 { block.sums.1 &+= integers(b, start: start(bound, 2)) }
        if L.count >= 3 { block.sums.2 &+= integers(c, start: start(bound, 3)) }
        if L.count >= 4 { block.sums.3 &+= integers(d, start: start(bound, 4)) }
        if L.count >= 5 { block.sums.4 &+= integers(e, start: start(bound, 5)) }
    }
}

/// The integer sum that an accumulator holds, over all its lanes.
@inline(__always) func integers(_ lanes: SIMD8<Double>, start: Double) -> Int64 {
    integers(lanes, SIMD8(repeating: start), start: start)
}

@inline(__always) func integers(_ low: SIMD8<Double>, _ high: SIMD8<Double>, start: Double) -> Int64 {
    let start = Int64(bitPattern: start.bitPattern)
    let sum =
        (unsafeBitCast(low, to: SIMD8<Int64>.self) &- start) &+ (unsafeBitCast(high, to: SIMD8<Int64>.self) &- start)
    let four = sum.lowHalf &+ sum.highHalf
    let two = four.lowHalf &+ four.highHalf
    return two.x &+ two.y
}

extension gk_block {
    /// The sum of the first two accumulators, rounded.
    @inline(__always) var rounded: Double {
        Double(sums.0) * powerOfTwo(Int(bound) &- unitDepth(1)) + Double(sums.1)
            * powerOfTwo(Int(bound) &- unitDepth(2))
    }
}

/// How many accumulators hold the terms of a block exactly; 6: none do. All |x| < 2^exponent, the
/// smallest but zero is at least 2^(lowest - 1), and has `bits` significant bits. Two reach as far as `reach`.
@inline(__always)
package func levelsNeeded(order: Int, exponent: Int, lowest: Int, bits: Int, reach: Int = unitDepth(2)) -> Int {
    let depth = order &* (exponent &- lowest &+ bits)
    for level in 1...5 where depth <= (level == 2 ? reach : unitDepth(level)) { return level }
    return 6
}

/// The e with 2^(e-1) <= x < 2^e, for finite x > 0.
@inline(__always) package func exponentAbove(_ x: Double) -> Int {
    let field = Int(x.bitPattern &>> 52)
    if field > 0 { return field &- 1022 }
    return -1010 &- x.bitPattern.leadingZeroBitCount
}
