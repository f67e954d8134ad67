// Multiplying by the factor, in place or into another tensor.
import CGradClipKernels

/// In float32 where the factor is a normal float32 number, through float64 otherwise.
@inline(__always) func product(_ values: SIMD16<Float>, _ factor: Double, _ isNormal: Bool) -> SIMD16<Float> {
    isNormal ? values * Float(factor) : wideProduct(values, factor)
}

@inline(never) private func wideProduct(_ values: SIMD16<Float>, _ factor: Double) -> SIMD16<Float> {
    SIMD16<Float>(
        lowHalf: gk_f32_from_f64(gk_f64_from_f32(values.lowHalf) * factor),
        highHalf: gk_f32_from_f64(gk_f64_from_f32(values.highHalf) * factor))
}

/// Elements whose magnitude bits are above `limit` become 0 first.
@inline(__always)
func scale<E: NarrowElement>(
    _: E.Type, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ length: Int,
    _ factor: Double, zeroAbove limit: UInt32
) {
    if Float(factor).isNormal && limit == 0x7fff_ffff {
        scale(E.self, source, destination, length, NormalFactor(factor: Float(factor)))
    } else {
        scale(E.self, source, destination, length, AnyFactor(factor: factor, limit: limit))
    }
}

/// What an element becomes.
private protocol Scaling { func apply(_ values: SIMD16<Float>) -> SIMD16<Float> }

private struct NormalFactor: Scaling {
    let factor: Float
    @inline(__always) func apply(_ values: SIMD16<Float>) -> SIMD16<Float> { values * factor }
}

private struct AnyFactor: Scaling {
    let factor: Double
    let limit: UInt32
    let isNormal: Bool
    @inline(__always) init(factor: Double, limit: UInt32) {
        (self.factor, self.limit, isNormal) = (factor, limit, Float(factor).isNormal)
    }
    @inline(__always) func apply(_ values: SIMD16<Float>) -> SIMD16<Float> {
        product(zeroing(values, where: magnitudes(values), above: limit), factor, isNormal)
    }
}

@inline(never)
private func scale<E: NarrowElement, S: Scaling>(
    _: E.Type, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ length: Int, _ scaling: S
) {
    var i = 0
    let whole = length & ~15
    let ahead = prefetchDistance(length)
    while i < whole {
        prefetch(source + i &* E.size, ahead, E.size)
        E.storeInAnyOrder(scaling.apply(E.loadInAnyOrder(source + i &* E.size)), destination + i &* E.size)
        i &+= 16
    }
    if i < length {
        let tail = scaling.apply(loadTail(E.self, source + i &* E.size, length &- i))
        storeTail(E.self, tail, destination + i &* E.size, length &- i)
    }
}

@inline(never)
func scale(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ length: Int,
    _ factor: Double, zeroAbove limit: UInt64
) {
    @inline(__always) func product(_ values: SIMD8<Double>) -> SIMD8<Double> {
        let sizes = unsafeBitCast(magnitude(values), to: SIMD8<UInt64>.self)
        let bits = unsafeBitCast(values, to: SIMD8<UInt64>.self)
        let kept = choose(sizes, above: SIMD8(repeating: limit), SIMD8(repeating: 0), else: bits)
        return unsafeBitCast(kept, to: SIMD8<Double>.self) * factor
    }
    var i = 0
    let whole = length & ~7
    let ahead = prefetchDistance(length)
    while i < whole {
        gk_prefetch(source + (i &* 8 &+ ahead))
        destination.storeBytes(
            of: product((source + i &* 8).loadUnaligned(as: SIMD8<Double>.self)),
            toByteOffset: i &* 8, as: SIMD8<Double>.self)
        i &+= 8
    }
    while i < length {
        let value = SIMD8(repeating: (source + i &* 8).loadUnaligned(as: Double.self))
        destination.storeBytes(of: product(value)[0], toByteOffset: i &* 8, as: Double.self)
        i &+= 1
    }
}

@inline(__always)
func scaleTensor<E: NarrowElement>(
    _: E.Type, _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ length: Int,
    _ scaling: gk_scaling
) {
    let limit: UInt32 = scaling.zero_nonfinite ? infinityBits - 1 : 0x7fff_ffff
    if scaling.factor == 1 {
        guard scaling.zero_nonfinite else {
            if source != UnsafeRawPointer(destination) {
                destination.copyMemory(from: source, byteCount: length &* E.size)
            }
            return
        }
        // Only blocks with something to replace are written in place.
        var start = 0
        while start < length {
            let count = min(Int(GK_BLOCK), length &- start)
            let from = source + start &* E.size
            let to = destination + start &* E.size
            if from != UnsafeRawPointer(to) || !isFinite(E.self, from, count) {
                scale(E.self, from, to, count, 1, zeroAbove: limit)
            }
            start &+= count
        }
    } else {
        scale(E.self, source, destination, length, scaling.factor, zeroAbove: limit)
    }
}

@inline(__always)
func scaleTensor(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutableRawPointer, _ length: Int, _ scaling: gk_scaling
) {
    let limit = scaling.zero_nonfinite ? Double.infinity.bitPattern - 1 : .max
    guard scaling.factor == 1 else {
        return scale(source, destination, length, scaling.factor, zeroAbove: limit)
    }
    guard scaling.zero_nonfinite else {
        if source != UnsafeRawPointer(destination) {
            destination.copyMemory(from: source, byteCount: length &* 8)
        }
        return
    }
    var start = 0
    while start < length {
        let count = min(Int(GK_BLOCK), length &- start)
        let from = source + start &* 8
        let to = destination + start &* 8
        if from != UnsafeRawPointer(to) || !isFinite(from, count) {
            scale(from, to, count, 1, zeroAbove: limit)
        }
        start &+= count
    }
}
