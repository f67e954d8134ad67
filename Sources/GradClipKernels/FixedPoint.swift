// p = 2 over float16 and bfloat16: exact, in fixed point.
//
// An element of two bytes has at most 11 significant bits, so the elements of a block
// mostly are small multiples of one unit. With t the exponent field that bounds them
// (what the engine expects), |x| < 2^(t - 126), and the unit is 2^(t - 155): if
// all are multiples of it, they are integers below 2^29, their squares integers below
// 2^58, and a lane of 64 bits holds the 64 squares that a block puts into it. The
// scaling by a power of two and the conversion to integers are then exact, and nothing
// else can round.
//
// The same loop tracks whether an element was too large (or not finite) or too
// small. Such a block goes another way. Of normally distributed bfloat16 it is about
// one block in 150; with fewer bits it would be more.
import CGradClipKernels

/// What the lanes hold: a quarter of a block.
@inline(__always) private var stretch: Int { Int(GK_BLOCK) / 4 }
/// Magnitudes are integers of as many bits: twice that and 6 for a lane's 64 terms are 64.
@inline(__always) private var fixedPointBits: Int { 29 }

#if GRADCLIP_HARDWARE_F16
protocol HalfElement: NarrowElement {
    /// By how much an exponent field is below that of the same value as a float.
    static var fieldOffset: Int { get }
    /// The guesses t that serve.
    static var bounds: ClosedRange<Int> { get }
    /// What `loadScaled` needs to know.
    associatedtype Scale
    static func scale(bound: Int) -> Scale
    /// Sixteen elements, in any order, in units of 2^(t - 155). Zeros become less than a unit.
    static func loadScaled(_ place: UnsafeRawPointer, _ scale: Scale) -> SIMD16<Float>
}

extension BFloat16Element: HalfElement {
    @inline(__always) static var fieldOffset: Int { 0 }
    /// In between no exponent field that is in use overflows.
    @inline(__always) static var bounds: ClosedRange<Int> { 29...155 }
    /// Added to the exponent field, which takes one instruction for sixteen elements. A
    /// zero becomes 2^(28 - t) by it.
    @inline(__always) static func scale(bound: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: 126 &+ fixedPointBits &- bound) &<< 7
    }
    @inline(__always) static func loadScaled(_ place: UnsafeRawPointer, _ scale: UInt16) -> SIMD16<Float> {
        gk_f32_from_bf16_in_pairs(place.loadUnaligned(as: SIMD16<UInt16>.self) &+ scale)
    }
}

extension Float16Element: HalfElement {
    @inline(__always) static var fieldOffset: Int { 112 }
    /// From the first all elements below it are multiples of the unit, 2^-24; to the last all
    /// are finite.
    @inline(__always) static var bounds: ClosedRange<Int> { 131...142 }
    @inline(__always) static func scale(bound: Int) -> Float {
        Float(bitPattern: UInt32(truncatingIfNeeded: 126 &+ fixedPointBits &- bound &+ 127) &<< 23)
    }
    @inline(__always) static func loadScaled(_ place: UnsafeRawPointer, _ scale: Float) -> SIMD16<Float> {
        gk_f32_from_f16_at(place) * scale
    }
}

@inline(never)
func sumInFixedPoint<E: HalfElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, exponent: Int, _ block: inout gk_block
) {
    let bound = min(max(exponent &+ 126, E.bounds.lowerBound), E.bounds.upperBound)
    // Elements of field f are multiples of 2^(f - 126 - significandBits).
    let lowest = bound &- fixedPointBits &+ E.significandBits &- E.fieldOffset
    let bits = UInt16(truncatingIfNeeded: E.significandBits &- 1)
    var visitor = FixedPointVisitor<E>(
        smallest: lowest <= 1 ? 1 : UInt16(truncatingIfNeeded: lowest) &<< bits,
        largest: UInt16(truncatingIfNeeded: bound &- E.fieldOffset &+ 1) &<< bits &- 1,
        scale: E.scale(bound: bound))
    block.bound = Int32(truncatingIfNeeded: 2 &* (bound &- 126))
    block.holds = false
    var sum = FixedPointSum()
    var done = 0
    while done < count {
        visitor.even = SIMD8(repeating: 0)
        visitor.odd = SIMD8(repeating: 0)
        visit(E.size, data + done &* E.size, min(stretch, count &- done), &visitor)
        if !visitor.isExact { return }
        sum.add(visitor.even, visitor.odd)
        done &+= stretch
    }
    block.sums.0 = FixedPointSum.total(sum.low)
    block.sums.1 = FixedPointSum.total(sum.high)
    block.holds = true
}

private struct FixedPointVisitor<E: HalfElement>: PlaceVisitor {
    var even = SIMD8<UInt64>(repeating: 0)
    var odd = SIMD8<UInt64>(repeating: 0)
    /// The largest magnitude, as bits, or the largest of the range.
    var above: SIMD16<UInt16>
    /// The smallest of the range or the smallest magnitude but zero, less one: so zeros
    /// come behind everything.
    var below: SIMD16<UInt16>
    let smallest, largest: UInt16
    let scale: E.Scale

    @inline(__always) init(smallest: UInt16, largest: UInt16, scale: E.Scale) {
        (self.smallest, self.largest, self.scale) = (smallest, largest, scale)
        above = SIMD16(repeating: largest)
        below = SIMD16(repeating: smallest &- 1)
    }

    @inline(__always) mutating func see(at place: UnsafeRawPointer) {
        let sizes = place.loadUnaligned(as: SIMD16<UInt16>.self) & 0x7fff
        above = larger(sizes, above)
        below = smaller(sizes &- 1, below)
        let integers = gk_i32_from_f32(E.loadScaled(place, scale))
        even &+= gk_square_even(integers)
        odd &+= gk_square_odd(integers)
    }

    /// Whether no element was outside the range.
    @inline(__always) var isExact: Bool {
        let outside = SIMD32(lowHalf: above ^ largest, highHalf: below ^ (smallest &- 1))
        return !gk_any(unsafeBitCast(outside, to: SIMD16<UInt32>.self))
    }
}

/// The lanes' sums over a block, in two parts.
private struct FixedPointSum {
    var low = SIMD8<UInt64>(repeating: 0)
    var high = SIMD8<UInt64>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func add(_ even: SIMD8<UInt64>, _ odd: SIMD8<UInt64>) {
        let mask: UInt64 = 0xffff_ffff
        low &+= (even & mask) &+ (odd & mask)
        high &+= (even &>> 32) &+ (odd &>> 32)
    }

    @inline(__always) static func total(_ lanes: SIMD8<UInt64>) -> Int64 {
        let four = lanes.lowHalf &+ lanes.highHalf
        let two = four.lowHalf &+ four.highHalf
        return Int64(bitPattern: two.x &+ two.y)
    }
}
#endif
