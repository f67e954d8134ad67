// What a report counts that a norm does not: zeros, subnormals, the mean, and the
// signs of infinities. A block that has something non-finite is looked at again
// without it: the loops need not know of it, and such blocks are few.
import CGradClipKernels

private struct InspectVisitor: Visitor {
    var sum0 = SIMD8<Double>(repeating: 0)
    var sum1 = SIMD8<Double>(repeating: 0)
    var largest = SIMD16<UInt32>(repeating: 0)
    var zeros = SIMD16<UInt32>(repeating: 0)
    var subnormals = SIMD16<UInt32>(repeating: 0)
    /// Bits of the smallest magnitude that is not subnormal.
    let normal: UInt32

    @inline(__always) init(normal: UInt32) { self.normal = normal }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let sizes = magnitudes(values)
        count(sizes, below: 1, &zeros)
        count(sizes, below: normal, &subnormals)
        largest = larger(sizes, largest)
        sum0 = sum0 + gk_f64_from_f32(values.lowHalf)
        sum1 = sum1 + gk_f64_from_f32(values.highHalf)
    }
}

/// Half-width elements as floats. The smallest normal value is 2^-14 for float16,
/// 2^-126 for bfloat16.
@inline(never) @_optimize(speed)
func inspectThroughFloats<E: NarrowElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    let scratch = statistics.pointee.scratch.unsafelyUnwrapped
    convert(E.self, data, count, toFloats: scratch)
    inspectFloats(
        UnsafeRawPointer(scratch), count, normal: E.significandBits == 11 ? 0x3880_0000 : 0x0080_0000, statistics)
}

@inline(never) @_optimize(speed)
func inspectFloats(
    _ data: UnsafeRawPointer, _ count: Int, normal: UInt32, _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    var visitor = InspectVisitor(normal: normal)
    visit(Float32Element.self, data, count, &visitor)
    let largest = largestLane(visitor.largest)
    if largest >= infinityBits {
        let scratch = statistics.pointee.scratch.unsafelyUnwrapped
        for i in 0..<count {
            var bits = (data + i &* 4).loadUnaligned(as: UInt32.self)
            if bits & 0x7fff_ffff >= infinityBits {
                countNonfinite(isInfinite: bits &<< 1 == infinityBits &<< 1, isNegative: bits &>> 31 == 1, statistics)
                bits = 0
            }
            scratch.storeBytes(of: bits, toByteOffset: i &* 4, as: UInt32.self)
        }
        return inspectFloats(UnsafeRawPointer(scratch), count, normal: normal, statistics)
    }
    let zeros = UInt64(visitor.zeros.wrappedSum())
    take(
        Double(Float(bitPattern: largest)), zeros: zeros, subnormals: UInt64(visitor.subnormals.wrappedSum()) &- zeros,
        sum: ordered(visitor.sum0 + visitor.sum1) * (1 / Double(GK_BLOCK)), count, statistics)
}

private struct WideInspectVisitor: WideVisitor {
    /// Of finite elements it is finite, being of their 4096ths.
    var sum = SIMD8<Double>(repeating: 0)
    var largest = SIMD8<Double>(repeating: 0)
    var zeros = SIMD8<UInt64>(repeating: 0)
    var subnormals = SIMD8<UInt64>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        see(values.0)
        see(values.1)
    }

    @inline(__always) private mutating func see(_ values: SIMD8<Double>) {
        let size = magnitude(values)
        count(size, below: .leastNonzeroMagnitude, &zeros)
        count(size, below: .leastNormalMagnitude, &subnormals)
        largest = larger(size, largest)
        sum = sum + values * (1 / Double(GK_BLOCK))
    }
}

@inline(never) @_optimize(speed)
func inspectTensor(_ data: UnsafeRawPointer, _ count: Int, _ statistics: UnsafeMutablePointer<gk_statistics>) {
    var visitor = WideInspectVisitor()
    visit(Float64Element.self, data, count, &visitor)
    if !Lanes(visitor.sum, visitor.sum, bound: 0).isFinite {
        let scratch = statistics.pointee.scratch.unsafelyUnwrapped
        for i in 0..<count {
            var value = (data + i &* 8).loadUnaligned(as: Double.self)
            if !value.isFinite {
                countNonfinite(isInfinite: value == value, isNegative: value < 0, statistics)
                value = 0
            }
            scratch.storeBytes(of: value, toByteOffset: i &* 8, as: Double.self)
        }
        return inspectTensor(UnsafeRawPointer(scratch), count, statistics)
    }
    let zeros = visitor.zeros.wrappedSum()
    take(
        largestLane(visitor.largest), zeros: zeros, subnormals: visitor.subnormals.wrappedSum() &- zeros,
        sum: ordered(visitor.sum), count, statistics)
}

/// An element that becomes a zero, which is not to be counted as one.
@inline(never) private func countNonfinite(
    isInfinite: Bool, isNegative: Bool, _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    statistics.pointee.zero &-= 1
    if !isInfinite { return }
    if isNegative { statistics.pointee.negative_infinity &+= 1 } else { statistics.pointee.positive_infinity &+= 1 }
}

/// What was found in a block of finite elements, zeros behind its last one included.
@inline(never) private func take(
    _ largest: Double, zeros: UInt64, subnormals: UInt64, sum: Double, _ count: Int,
    _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    statistics.pointee.largest = max(statistics.pointee.largest, largest.bitPattern)
    statistics.pointee.zero &+= zeros &- UInt64(((count &+ 15) & ~15) &- count)
    statistics.pointee.subnormal &+= subnormals
    add(sum, statistics)
}

/// sum += x with the rounding error kept (Knuth's TwoSum).
@inline(__always) private func add(_ x: Double, _ statistics: UnsafeMutablePointer<gk_statistics>) {
    let sum = statistics.pointee.sum
    let total = sum + x
    let back = total - sum
    statistics.pointee.correction += (sum - (total - back)) + (x - back)
    statistics.pointee.sum = total
}
