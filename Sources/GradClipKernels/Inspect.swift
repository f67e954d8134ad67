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

private struct WideInspectVisitor: WideVisitor {
    var sum = SIMD8<Double>(repeating: 0)
    var largest = SIMD8<Double>(repeating: 0)
    // Counts, below 2^53.
    var zeros = SIMD8<Double>(repeating: 0)
    var subnormals = SIMD8<Double>(repeating: 0)
    var infinities = SIMD8<Double>(repeating: 0)
    var negatives = SIMD8<Double>(repeating: 0)

    @inline(__always) init() {}

    @inline(__always) mutating func see(_ values: (SIMD8<Double>, SIMD8<Double>)) {
        see(values.0)
        see(values.1)
    }

    @inline(__always) private mutating func see(_ values: SIMD8<Double>) {
        let size = magnitude(values)
        let zero = SIMD8<Double>(repeating: 0)
        let one = SIMD8<Double>(repeating: 1)
        let most = SIMD8<Double>(repeating: .greatestFiniteMagnitude)
        zeros += choose(SIMD8(repeating: .leastNonzeroMagnitude), above: size, one, else: zero)
        subnormals += choose(SIMD8(repeating: .leastNormalMagnitude), above: size, one, else: zero)
        infinities += choose(size, above: most, one, else: zero)
        negatives += choose(-most, above: values, one, else: zero)
        let finite = choose(SIMD8(repeating: .infinity), above: size, values, else: zero)
        largest = larger(magnitude(finite), largest)
        sum += finite * (1 / Double(GK_BLOCK))
    }
}

@inline(never) @_optimize(speed)
func inspectTensor(_ data: UnsafeRawPointer, _ count: Int, _ statistics: UnsafeMutablePointer<gk_statistics>) {
    var visitor = WideInspectVisitor()
    visit(Float64Element.self, data, count, &visitor)
    let padding = UInt64((16 &- count & 15) & 15)
    let zeros = UInt64(ordered(visitor.zeros))
    let negatives = UInt64(ordered(visitor.negatives))
    statistics.pointee.largest = max(statistics.pointee.largest, largestLane(visitor.largest).bitPattern)
    statistics.pointee.zero &+= zeros &- padding
    statistics.pointee.subnormal &+= UInt64(ordered(visitor.subnormals)) &- zeros
    statistics.pointee.positive_infinity &+= UInt64(ordered(visitor.infinities)) &- negatives
    statistics.pointee.negative_infinity &+= negatives
    add(ordered(visitor.sum), statistics)
}

/// sum += x with the rounding error kept (Knuth's TwoSum).
@inline(__always) private func add(_ x: Double, _ statistics: UnsafeMutablePointer<gk_statistics>) {
    let sum = statistics.pointee.sum
    let total = sum + x
    let back = total - sum
    statistics.pointee.correction += (sum - (total - back)) + (x - back)
    statistics.pointee.sum = total
}
