// What a report counts that a norm does not: zeros, subnormals, the mean, and the
// signs of infinities.
import CGradClipKernels

private struct InspectVisitor: Visitor {
    var sum0 = SIMD8<Double>(repeating: 0)
    var sum1 = SIMD8<Double>(repeating: 0)
    var largest = SIMD16<UInt32>(repeating: 0)
    var zeros = SIMD16<UInt32>(repeating: 0)
    var subnormals = SIMD16<UInt32>(repeating: 0)
    var infinities = SIMD16<UInt32>(repeating: 0)
    var negatives = SIMD16<UInt32>(repeating: 0)
    /// Bits of the smallest magnitude that is not subnormal.
    let normal: UInt32

    @inline(__always) init(normal: UInt32) { self.normal = normal }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let sizes = magnitudes(values)
        let one = SIMD16<UInt32>(repeating: 1)
        zeros = zeros &+ ones(one, above: sizes)
        subnormals = subnormals &+ ones(SIMD16(repeating: normal), above: sizes)
        let limit = SIMD16(repeating: infinityBits)
        let below = SIMD16(repeating: infinityBits - 1)
        let finite = zeroing(values, where: sizes, above: infinityBits - 1)
        largest = larger(magnitudes(finite), largest)
        // Infinite: neither below nor above.
        let infinite = ones(sizes, above: below) &- ones(sizes, above: limit)
        infinities = infinities &+ infinite
        negatives = negatives &+ (infinite & (unsafeBitCast(values, to: SIMD16<UInt32>.self) &>> 31))
        sum0 += gk_f64_from_f32(finite.lowHalf)
        sum1 += gk_f64_from_f32(finite.highHalf)
    }
}

/// Half-width elements as floats. The smallest normal value is 2^-14 for float16,
/// 2^-126 for bfloat16.
@inline(never)
func inspectThroughFloats<E: NarrowElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    let scratch = statistics.pointee.scratch.unsafelyUnwrapped
    convert(E.self, data, count, toFloats: scratch)
    inspectFloats(
        UnsafeRawPointer(scratch), count, normal: E.significandBits == 11 ? 0x3880_0000 : 0x0080_0000, statistics)
}

@inline(never)
func inspectFloats(
    _ data: UnsafeRawPointer, _ count: Int, normal: UInt32, _ statistics: UnsafeMutablePointer<gk_statistics>
) {
    var visitor = InspectVisitor(normal: normal)
    visit(Float32Element.self, data, count, &visitor)
    let padding = UInt64((16 &- count & 15) & 15)
    let largest = Double(Float(bitPattern: largestLane(visitor.largest))).bitPattern
    statistics.pointee.largest = max(statistics.pointee.largest, largest)
    let negatives = UInt64(visitor.negatives.wrappedSum())
    statistics.pointee.zero &+= UInt64(visitor.zeros.wrappedSum()) &- padding
    statistics.pointee.subnormal &+= UInt64(visitor.subnormals.wrappedSum()) &- UInt64(visitor.zeros.wrappedSum())
    statistics.pointee.positive_infinity &+= UInt64(visitor.infinities.wrappedSum()) &- negatives
    statistics.pointee.negative_infinity &+= negatives
    add(ordered(visitor.sum0 + visitor.sum1) * (1 / Double(GK_BLOCK)), statistics)
}

@inline(never)
func inspectTensor(_ data: UnsafeRawPointer, _ count: Int, _ statistics: UnsafeMutablePointer<gk_statistics>) {
    var sum = SIMD8<Double>(repeating: 0)
    for i in 0..<count {
        let value = (data + i &* 8).loadUnaligned(as: Double.self)
        let size = value.magnitude
        if size < .infinity {
            statistics.pointee.largest = max(statistics.pointee.largest, size.bitPattern)
            if size == 0 { statistics.pointee.zero &+= 1 }
            if size > 0 && size < .leastNormalMagnitude { statistics.pointee.subnormal &+= 1 }
            sum[i & 7] += value * (1 / Double(GK_BLOCK))
        } else if size == .infinity {
            if value > 0 {
                statistics.pointee.positive_infinity &+= 1
            } else {
                statistics.pointee.negative_infinity &+= 1
            }
        }
    }
    add(ordered(sum), statistics)
}

/// The sum of the lanes, in one order.
@inline(__always) private func ordered(_ v: SIMD8<Double>) -> Double {
    let four = v.lowHalf + v.highHalf
    let two = four.lowHalf + four.highHalf
    return two.x + two.y
}

/// sum += x with the rounding error kept (Knuth's TwoSum).
@inline(__always) private func add(_ x: Double, _ statistics: UnsafeMutablePointer<gk_statistics>) {
    let sum = statistics.pointee.sum
    let total = sum + x
    let back = total - sum
    statistics.pointee.correction += (sum - (total - back)) + (x - back)
    statistics.pointee.sum = total
}
