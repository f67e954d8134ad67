// Vector operations that the kernels share.
import CGradClipKernels

// The standard library's operators go lane by lane, and leave it to the optimiser to
// find the vectors again.
@inline(__always) func & (a: SIMD8<UInt64>, b: UInt64) -> SIMD8<UInt64> { gk_and_u64(a, SIMD8(repeating: b)) }
@inline(__always) func | (a: SIMD8<UInt64>, b: SIMD8<UInt64>) -> SIMD8<UInt64> { gk_or_u64(a, b) }
@inline(__always) func &+ (a: SIMD8<UInt64>, b: SIMD8<UInt64>) -> SIMD8<UInt64> { gk_add_u64(a, b) }
@inline(__always) func &+ (a: SIMD8<UInt64>, b: UInt64) -> SIMD8<UInt64> { a &+ SIMD8(repeating: b) }
@inline(__always) func + (a: SIMD8<Double>, b: SIMD8<Double>) -> SIMD8<Double> { gk_add_f64(a, b) }
@inline(__always) func - (a: SIMD8<Double>, b: SIMD8<Double>) -> SIMD8<Double> { gk_subtract_f64(a, b) }
@inline(__always) func * (a: SIMD8<Double>, b: SIMD8<Double>) -> SIMD8<Double> { gk_multiply_f64(a, b) }
@inline(__always) func + (a: Double, b: SIMD8<Double>) -> SIMD8<Double> { SIMD8(repeating: a) + b }
@inline(__always) func + (a: SIMD8<Double>, b: Double) -> SIMD8<Double> { a + SIMD8(repeating: b) }
@inline(__always) func - (a: SIMD8<Double>, b: Double) -> SIMD8<Double> { a - SIMD8(repeating: b) }
@inline(__always) func * (a: SIMD8<Double>, b: Double) -> SIMD8<Double> { a * SIMD8(repeating: b) }

/// x in the lanes where a > b, y in the others (NaN: y). Of UInt32 a and b must be
/// below 2^31, as magnitudes are: SSE2 has no unsigned comparisons.
@inline(__always)
func choose(_ a: SIMD16<UInt32>, above b: SIMD16<UInt32>, _ x: SIMD16<UInt32>, else y: SIMD16<UInt32>) -> SIMD16<UInt32>
{
    gk_choose_u32(unsafeBitCast(a, to: SIMD16<Int32>.self), unsafeBitCast(b, to: SIMD16<Int32>.self), x, y)
}

@inline(__always)
func choose(_ a: SIMD16<Float>, above b: SIMD16<Float>, _ x: SIMD16<Float>, else y: SIMD16<Float>) -> SIMD16<Float> {
    gk_choose_f32(a, b, x, y)
}

@inline(__always)
func choose(_ a: SIMD8<UInt64>, above b: SIMD8<UInt64>, _ x: SIMD8<UInt64>, else y: SIMD8<UInt64>) -> SIMD8<UInt64> {
    gk_choose_u64(a, b, x, y)
}

@inline(__always)
func choose(_ a: SIMD8<Double>, above b: SIMD8<Double>, _ x: SIMD8<Double>, else y: SIMD8<Double>) -> SIMD8<Double> {
    gk_choose_f64(a, b, x, y)
}

/// Lanes of magnitude bits a above b become +0.
@inline(__always)
func zeroing(_ values: SIMD16<Float>, where a: SIMD16<UInt32>, above b: UInt32) -> SIMD16<Float> {
    let bits = unsafeBitCast(values, to: SIMD16<UInt32>.self)
    return unsafeBitCast(
        choose(a, above: SIMD16(repeating: b), SIMD16(repeating: 0), else: bits), to: SIMD16<Float>.self)
}

/// Counts the lanes where a < b.
@inline(__always) func count(_ a: SIMD16<UInt32>, below b: UInt32, _ counts: inout SIMD16<UInt32>) {
    counts = gk_count_u32(
        counts, SIMD16(repeating: Int32(truncatingIfNeeded: b)), unsafeBitCast(a, to: SIMD16<Int32>.self))
}

@inline(__always) func count(_ a: SIMD8<Double>, below b: Double, _ counts: inout SIMD8<UInt64>) {
    counts = gk_count_f64(counts, SIMD8(repeating: b), a)
}

@inline(__always) func larger(_ a: SIMD16<Int32>, _ b: SIMD16<Int32>) -> SIMD16<Int32> { gk_choose_i32(a, b, a, b) }
@inline(__always) func smaller(_ a: SIMD16<Int32>, _ b: SIMD16<Int32>) -> SIMD16<Int32> { gk_choose_i32(b, a, a, b) }
@inline(__always) func larger(_ a: SIMD8<Int32>, _ b: SIMD8<Int32>) -> SIMD8<Int32> { gk_choose_i32x8(a, b, a, b) }
@inline(__always) func smaller(_ a: SIMD8<Int32>, _ b: SIMD8<Int32>) -> SIMD8<Int32> { gk_choose_i32x8(b, a, a, b) }
@inline(__always) func larger(_ a: SIMD16<UInt32>, _ b: SIMD16<UInt32>) -> SIMD16<UInt32> {
    choose(a, above: b, a, else: b)
}

#if GRADCLIP_HARDWARE_F16
@inline(__always) func larger(_ a: SIMD16<UInt16>, _ b: SIMD16<UInt16>) -> SIMD16<UInt16> { gk_choose_u16(a, b, a, b) }
@inline(__always) func smaller(_ a: SIMD16<UInt16>, _ b: SIMD16<UInt16>) -> SIMD16<UInt16> { gk_choose_u16(b, a, a, b) }
#endif

/// The larger and the smaller of two magnitudes; NaN in `next` is passed over.
@inline(__always) func larger(_ next: SIMD8<Double>, _ so: SIMD8<Double>) -> SIMD8<Double> {
    gk_choose_f64(next, so, next, so)
}
@inline(__always) func smaller(_ next: SIMD8<Double>, _ so: SIMD8<Double>) -> SIMD8<Double> {
    gk_choose_f64(so, next, next, so)
}

@inline(__always) func magnitude(_ v: SIMD8<Double>) -> SIMD8<Double> {
    unsafeBitCast(unsafeBitCast(v, to: SIMD8<UInt64>.self) & 0x7fff_ffff_ffff_ffff, to: SIMD8<Double>.self)
}

@inline(__always) var infinityBits: UInt32 { 0x7f80_0000 }

/// The bits of |x|, which order as the magnitudes do; above `infinityBits`: NaN.
@inline(__always) func magnitudes(_ values: SIMD16<Float>) -> SIMD16<UInt32> {
    unsafeBitCast(values, to: SIMD16<UInt32>.self) & 0x7fff_ffff
}

// Once per block: over the lanes.

@inline(__always) func largestLane(_ v: SIMD16<Int32>) -> Int32 { gk_largest_i32(v) }
@inline(__always) func largestLane(_ v: SIMD8<Int32>) -> Int32 { gk_largest_i32x8(v) }

/// Of magnitudes, or of flags: values below 2^31.
@inline(__always) func largestLane(_ v: SIMD16<UInt32>) -> UInt32 {
    UInt32(bitPattern: largestLane(unsafeBitCast(v, to: SIMD16<Int32>.self)))
}

@inline(never) func largestLane(_ v: SIMD8<Double>) -> Double {
    var result = v[0]
    for i in 1..<8 where v[i] > result { result = v[i] }
    return result
}

/// The sum of the lanes, in one order.
@inline(never) func ordered(_ v: SIMD8<Double>) -> Double {
    let four = v.lowHalf + v.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
}
