// What a report counts that a norm does not: zeros, subnormals, the mean, and the
// signs of infinities. A block that has something non-finite is looked at again
// without it: the loops need not know of it, and such blocks are few.
import CGradClipKernels

private struct InspectVisitor: Visitor {
    var sum0 = SIMD8<Double>(repeating: 0)
    var sum1 = SIMD8<Double>(repeating: 0)
    var largest = SIMD16<UInt32>(repeating: 0)
    /// How many are subnormal or zero.
    var small = SIMD16<UInt32>(repeating: 0)
    /// Bits of the smallest magnitude that is not.
    let normal: UInt32

    @inline(__always) init(normal: UInt32) { self.normal = normal }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let sizes = magnitudes(values)
        count(sizes, below: normal, &small)
        largest = larger(sizes, largest)
        sum0 = sum0 + gk_f64_from_f32(values.lowHalf)
        sum1 = sum1 + gk_f64_from_f32(values.highHalf)
    }
}

private struct ZeroVisitor: Visitor {
    var zeros = SIMD16<UInt32>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: SIMD16<Float>) { count(magnitudes(values), below: 1, &zeros) }
}

/// The smallest normal value is 2^-14 for float16, 2^-126 for bfloat16 and float32.
@inline(never)
func inspectBlock<E: NarrowElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    var visitor = InspectVisitor(normal: E.significandBits == 11 ? 0x3880_0000 : 0x0080_0000)
    visit(E.self, data, count, &visitor)
    let largest = largestLane(visitor.largest)
    if largest >= infinityBits {
        let found = countNonfinite(E.self, data, count)
        var signs = SignVisitor()
        visit(E.self, data, count, &signs)
        let negative = UInt64(signs.negative.wrappedSum())
        let scratch = statistics.pointee.scratch.unsafelyUnwrapped
        scale(E.self, data, scratch, count, 1, zeroAbove: infinityBits - 1)
        inspectBlock(E.self, UnsafeRawPointer(scratch), count, statistics)
        return note(found, negative: negative, statistics)
    }
    let small = UInt64(visitor.small.wrappedSum())
    // Most blocks have neither zeros nor subnormals.
    var zeros = ZeroVisitor()
    if small > 0 { visitInAnyOrder(E.self, data, count, &zeros) }
    let zero = UInt64(zeros.zeros.wrappedSum())
    noteFinite(
        Double(Float(bitPattern: largest)), zeros: zero, subnormals: small &- zero,
        sum: ordered(visitor.sum0 + visitor.sum1) * (1 / Double(GK_BLOCK)), count, statistics)
}

/// Counts negative infinities.
private struct SignVisitor: Visitor {
    var negative = SIMD16<UInt32>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let others = unsafeBitCast(values, to: SIMD16<UInt32>.self) ^ (infinityBits | 0x8000_0000)
        negative =
            negative
            &+ choose(
                larger(others & 0x7fff_ffff, others &>> 31), above: SIMD16(repeating: 0), SIMD16(repeating: 0),
                else: SIMD16(repeating: 1))
    }
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

@inline(never)
func inspectBlock(_ data: UnsafeRawPointer, _ count: Int, _ statistics: UnsafeMutablePointer<gk_statistics>) {
    var visitor = WideInspectVisitor()
    visit(Float64Element.self, data, count, &visitor)
    if !isAllZero(visitor.sum - visitor.sum) {
        let found = countNonfinite(data, count)
        var negative: UInt64 = 0
        for i in 0..<count where (data + i &* 8).loadUnaligned(as: Double.self) == -.infinity { negative &+= 1 }
        let scratch = statistics.pointee.scratch.unsafelyUnwrapped
        scale(data, scratch, count, 1, zeroAbove: Double.infinity.bitPattern - 1)
        inspectBlock(UnsafeRawPointer(scratch), count, statistics)
        return note(found, negative: negative, statistics)
    }
    let zeros = visitor.zeros.wrappedSum()
    noteFinite(
        largestLane(visitor.largest), zeros: zeros, subnormals: visitor.subnormals.wrappedSum() &- zeros,
        sum: ordered(visitor.sum), count, statistics)
}

/// Elements that became zeros, which are not to be counted as such.
@inline(never) private func note(
    _ found: gk_nonfinite, negative: UInt64, _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    statistics.pointee.zero &-= found.count
    statistics.pointee.negative_infinity &+= negative
    statistics.pointee.positive_infinity &+= found.count &- found.nan &- negative
}

/// What was found in a block of finite elements, zeros behind its last one included.
@inline(never) private func noteFinite(
    _ largest: Double, zeros: UInt64, subnormals: UInt64, sum: Double, _ count: Int,
    _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    statistics.pointee.largest = max(statistics.pointee.largest, largest.bitPattern)
    statistics.pointee.zero &+= zeros &- padding(count)
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
