// A sum that is never rounded.
//
// A value v * 2^e is added as an integer, cut into pieces of 40 bits at absolute
// bit positions ("bins"). Each limb is an Int64, so 2^23 pieces fit before a
// carry has to move, and integer addition makes the order irrelevant.
//
// Sums of float32 squares need bits -298 ... 319: sixteen limbs from bin -8
// hold all of it. For other terms the window floats: its top bin is one above
// the highest bin that any value reached, and what lies more than 560 bits
// below that is dropped. The top depends on the values only, not on their order.
import CGradClipKernels

package enum ExactSum {
    package typealias Sum = UnsafeMutablePointer<gk_sum>
    /// The bin of the lowest limb of a sum of float32 terms.
    package static var fixedBase: Int64 { -8 }
    @inline(__always) static var mask: UInt64 { 1 << 40 - 1 }

    @inline(__always) package static func limbs(_ sum: Sum) -> UnsafeMutablePointer<Int64> {
        UnsafeMutableRawPointer(sum).assumingMemoryBound(to: Int64.self)
    }

    package static func clear(_ sum: Sum, base: Int64) {
        let limbs = limbs(sum)
        for i in 0..<Int(GK_LIMBS) { limbs[i] = 0 }
        sum.pointee.base = base
        sum.pointee.pending = 0
    }

    /// Adds value * 2^exponent. |value| < 2^62.
    package static func add(_ sum: Sum, _ value: Int64, exponent: Int) {
        if value == 0 { return }
        let top = pieces(value, exponent: exponent).top
        if sum.pointee.base == GK_EMPTY || top &+ 2 > Int(sum.pointee.base) &+ Int(GK_LIMBS) { raise(sum, top) }
        addPieces(limbs(sum), base: Int(sum.pointee.base), value, exponent: exponent)
        sum.pointee.pending &+= 1
        if sum.pointee.pending >= 1 << 22 { propagate(sum) }
    }

    /// The pieces of |value| * 2^exponent, the bin of the lowest and that of the
    /// highest that is not zero.
    @inline(__always)
    static func pieces(_ value: Int64, exponent: Int) -> (low: UInt64, middle: UInt64, high: UInt64, bin: Int, top: Int)
    {
        let magnitude = value.magnitude
        let bin = exponent >= 0 ? exponent / 40 : -((39 &- exponent) / 40)
        let shift = UInt64(truncatingIfNeeded: exponent &- bin &* 40)
        let middle = (magnitude &>> (40 &- shift)) & mask
        let high = shift > 16 ? magnitude &>> (80 &- shift) : 0
        let top = bin &+ (high != 0 ? 2 : middle != 0 ? 1 : 0)
        return ((magnitude &<< shift) & mask, middle, high, bin, top)
    }

    /// Adds value * 2^exponent to limbs that start at bin `base`; what lies below is dropped.
    @inline(__always)
    static func addPieces(_ limbs: UnsafeMutablePointer<Int64>, base: Int, _ value: Int64, exponent: Int) {
        let pieces = pieces(value, exponent: exponent)
        let first = pieces.bin &- base
        addPiece(limbs, first, pieces.low, value < 0)
        addPiece(limbs, first &+ 1, pieces.middle, value < 0)
        addPiece(limbs, first &+ 2, pieces.high, value < 0)
    }

    @inline(__always)
    static func addPiece(_ limbs: UnsafeMutablePointer<Int64>, _ index: Int, _ piece: UInt64, _ negative: Bool) {
        if piece == 0 || index < 0 { return }
        let signed = Int64(bitPattern: piece)
        limbs[index] &+= negative ? 0 &- signed : signed
    }

    /// Moves the window up so that `top` is its last bin but one.
    @inline(never) static func raise(_ sum: Sum, _ top: Int) {
        let base = Int64(top &+ 2 &- Int(GK_LIMBS))
        if sum.pointee.base != GK_EMPTY {
            let limbs = limbs(sum)
            let by = base &- sum.pointee.base
            for i in 0..<Int(GK_LIMBS) {
                let from = Int64(i) &+ by
                limbs[i] = from < Int64(GK_LIMBS) ? limbs[Int(from)] : 0
            }
        }
        sum.pointee.base = base
    }

    /// Brings every limb but the last into 0 ..< 2^40.
    @inline(never) package static func propagate(_ sum: Sum) {
        propagate(limbs(sum), count: Int(GK_LIMBS))
        sum.pointee.pending = 1
    }

    @inline(never) package static func propagate(_ limbs: UnsafeMutablePointer<Int64>, count: Int) {
        for i in 0..<count &- 1 {
            limbs[i &+ 1] &+= limbs[i] >> 40
            limbs[i] &= Int64(bitPattern: mask)
        }
    }

    /// sum += other.
    package static func merge(_ sum: Sum, _ other: Sum) {
        if other.pointee.base == GK_EMPTY { return }
        if sum.pointee.base == GK_EMPTY { sum.pointee = other.pointee; return }
        propagate(sum)
        propagate(other)
        if other.pointee.base > sum.pointee.base {
            raise(sum, Int(other.pointee.base) &+ Int(GK_LIMBS) &- 2)
        }
        let down = Int(sum.pointee.base &- other.pointee.base)
        let limbs = limbs(sum)
        let others = Self.limbs(other)
        var i = 0
        while i &+ down < Int(GK_LIMBS) {
            limbs[i] &+= others[i &+ down]
            i &+= 1
        }
        sum.pointee.pending = 2
    }
}

extension ExactSum {
    /// sum += other, limb by limb: the window of `sum` moves only as far as the value needs.
    package static func addLimbs(_ sum: Sum, _ other: Sum) {
        propagate(other)
        let limbs = limbs(other)
        for i in 0..<Int(GK_LIMBS) { add(sum, limbs[i], exponent: (Int(other.pointee.base) &+ i) &* 40) }
    }
}

// GK_EMPTY as Swift sees it.
@inline(__always) package var GK_EMPTY: Int64 { .min }
