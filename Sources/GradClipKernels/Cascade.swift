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

/// 2^exponent, for exponents of normal numbers.
@inline(__always) func powerOfTwo(_ exponent: Int) -> Double {
    Double(bitPattern: UInt64(truncatingIfNeeded: exponent &+ 1023) &<< 52)
}

/// How far the unit of accumulator 1, 2, 3 lies below T.
@inline(__always) func unitDepth(_ level: Int) -> Int { level &* 44 &- 1 }

struct Cascade<T: Term, L: Levels> {
    var lanes: Lanes

    /// `bound` is T.
    @inline(__always) init(bound: Int) { lanes = Lanes(bound: bound, levels: L.count) }

    @inline(__always) mutating func add(_ x: (SIMD8<Double>, SIMD8<Double>)) {
        Self.add(T.apply(x.0), &lanes.a0, &lanes.b0, &lanes.c0)
        Self.add(T.apply(x.1), &lanes.a1, &lanes.b1, &lanes.c1)
    }

    @inline(__always) static func add(
        _ s: SIMD8<Double>, _ a: inout SIMD8<Double>, _ b: inout SIMD8<Double>, _ c: inout SIMD8<Double>
    ) {
        let t = a + s
        if L.count >= 2 {
            let r = s - (t - a)
            let u = b + r
            if L.count >= 3 { c += r - (u - b) }
            b = u
        }
        a = t
    }
}

/// The accumulators, and what is done once per block.
struct Lanes {
    var a0, a1, b0, b1, c0, c1: SIMD8<Double>
    let bound: Int

    @inline(__always) init(bound: Int, levels: Int) {
        self.bound = bound
        let a = SIMD8(repeating: 1.5 * powerOfTwo(bound &+ 9))
        let b = SIMD8(repeating: levels >= 2 ? 1.5 * powerOfTwo(bound &- 35) : 0)
        let c = SIMD8(repeating: levels >= 3 ? 1.5 * powerOfTwo(bound &- 79) : 0)
        (a0, a1, b0, b1, c0, c1) = (a, a, b, b, c, c)
    }

    /// First accumulators only.
    @inline(__always) init(_ a0: SIMD8<Double>, _ a1: SIMD8<Double>, bound: Int) {
        self.init(bound: bound, levels: 1)
        (self.a0, self.a1) = (a0, a1)
    }

    /// The integer sum that an accumulator holds, over all its lanes.
    @inline(__always) static func total(_ low: SIMD8<Double>, _ high: SIMD8<Double>, start: Double) -> Int64 {
        let start = Int64(bitPattern: start.bitPattern)
        let sum =
            (unsafeBitCast(low, to: SIMD8<Int64>.self) &- start)
            &+ (unsafeBitCast(high, to: SIMD8<Int64>.self) &- start)
        let four = sum.lowHalf &+ sum.highHalf
        let two = four.lowHalf &+ four.highHalf
        return two.x &+ two.y
    }

    /// What the first `levels` accumulators hold.
    @inline(never) func sums(_ levels: Int) -> CascadeSums {
        CascadeSums(
            bound: bound,
            first: Self.total(a0, a1, start: 1.5 * powerOfTwo(bound &+ 9)),
            second: levels >= 2 ? Self.total(b0, b1, start: 1.5 * powerOfTwo(bound &- 35)) : 0,
            third: levels >= 3 ? Self.total(c0, c1, start: 1.5 * powerOfTwo(bound &- 79)) : 0)
    }

    /// False if an accumulator met a NaN or an infinity.
    @inline(never) var isFinite: Bool {
        let zero = (a0 - a0) + (a1 - a1)
        let four = zero.lowHalf + zero.highHalf
        let two = four.lowHalf + four.highHalf
        return two.x + two.y == 0
    }
}

/// The integers that the accumulators of a cascade stand for.
struct CascadeSums {
    let bound: Int
    let first, second, third: Int64

    /// Adds them, times 2^shift, to a sum.
    @inline(never) func add(to sum: ExactSum.Sum, shift: Int = 0) {
        ExactSum.add(sum, first, exponent: bound &- unitDepth(1) &+ shift)
        ExactSum.add(sum, second, exponent: bound &- unitDepth(2) &+ shift)
        ExactSum.add(sum, third, exponent: bound &- unitDepth(3) &+ shift)
    }

    /// Their sum, rounded; of the first two.
    @inline(__always) var rounded: Double {
        Double(first) * powerOfTwo(bound &- unitDepth(1)) + Double(second) * powerOfTwo(bound &- unitDepth(2))
    }
}
