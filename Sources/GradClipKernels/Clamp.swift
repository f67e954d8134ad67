// Clipping by value. A stretch small enough for the first-level cache is looked
// at first and written only if something in it lies beyond the limit, so memory
// is read once and written at most once.
import CGradClipKernels

@inline(__always) private var stretch: Int { 1024 }

/// NaN compares false and stays.
@inline(__always)
func clampTensor<E: NarrowElement>(_: E.Type, _ data: UnsafeMutableRawPointer, _ length: Int, _ limit: Double) {
    var rounded = SIMD16<UInt32>(repeating: 0)
    // The limit in the element's own type: stored and read back.
    let limit = withUnsafeMutableBytes(of: &rounded) { bytes in
        E.store(SIMD16(repeating: Float(limit)), bytes.baseAddress.unsafelyUnwrapped)
        return (E.load(UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped)) as SIMD16<Float>)[0]
    }
    @inline(__always) func clamped(_ values: SIMD16<Float>) -> SIMD16<Float> {
        let below = choose(values, above: SIMD16(repeating: limit), SIMD16(repeating: limit), else: values)
        return choose(SIMD16(repeating: -limit), above: below, SIMD16(repeating: -limit), else: below)
    }
    let ahead = prefetchDistance(length)
    var start = 0
    while start < length {
        let end = min(start &+ stretch, length)
        let whole = start &+ (end &- start) & ~15
        var beyond = SIMD16<UInt32>(repeating: 0)
        var i = start
        while i < whole {
            prefetch(data + i &* E.size, ahead, E.size)
            let values = E.loadInAnyOrder(data + i &* E.size)
            beyond |= isBeyond(values, limit)
            i &+= 16
        }
        let tail = end &- whole
        if tail > 0 { beyond |= isBeyond(loadTail(E.self, data + whole &* E.size, tail), limit) }
        if largestLane(beyond) != 0 {
            i = start
            while i < whole {
                E.storeInAnyOrder(clamped(E.loadInAnyOrder(data + i &* E.size)), data + i &* E.size)
                i &+= 16
            }
            if tail > 0 {
                storeTail(E.self, clamped(loadTail(E.self, data + whole &* E.size, tail)), data + whole &* E.size, tail)
            }
        }
        start = end
    }
}

@inline(__always) private func isBeyond(_ values: SIMD16<Float>, _ limit: Float) -> SIMD16<UInt32> {
    let sizes = unsafeBitCast(magnitudes(values), to: SIMD16<Float>.self)
    let beyond = choose(sizes, above: SIMD16(repeating: limit), SIMD16(repeating: 1), else: SIMD16(repeating: 0))
    return unsafeBitCast(beyond, to: SIMD16<UInt32>.self)
}

@inline(__always)
func clampTensor(_ data: UnsafeMutableRawPointer, _ length: Int, _ limit: Double) {
    @inline(__always) func clamped(_ values: SIMD8<Double>) -> SIMD8<Double> {
        let below = choose(values, above: SIMD8(repeating: limit), SIMD8(repeating: limit), else: values)
        return choose(SIMD8(repeating: -limit), above: below, SIMD8(repeating: -limit), else: below)
    }
    let ahead = prefetchDistance(length)
    var start = 0
    while start < length {
        let end = min(start &+ stretch, length)
        let whole = start &+ (end &- start) & ~7
        var beyond = SIMD8<UInt64>(repeating: 0)
        var i = start
        while i < whole {
            gk_prefetch(data + (i &* 8 &+ ahead))
            let sizes = magnitude((data + i &* 8).loadUnaligned(as: SIMD8<Double>.self))
            let flags = choose(sizes, above: SIMD8(repeating: limit), SIMD8(repeating: 1), else: SIMD8(repeating: 0))
            beyond |= unsafeBitCast(flags, to: SIMD8<UInt64>.self)
            i &+= 8
        }
        while i < end {
            if (data + i &* 8).loadUnaligned(as: Double.self).magnitude > limit { beyond[0] = 1 }
            i &+= 1
        }
        if beyond.wrappedSum() != 0 {
            i = start
            while i < whole {
                let values = (data + i &* 8).loadUnaligned(as: SIMD8<Double>.self)
                data.storeBytes(of: clamped(values), toByteOffset: i &* 8, as: SIMD8<Double>.self)
                i &+= 8
            }
            while i < end {
                let value = SIMD8(repeating: (data + i &* 8).loadUnaligned(as: Double.self))
                data.storeBytes(of: clamped(value)[0], toByteOffset: i &* 8, as: Double.self)
                i &+= 1
            }
        }
        start = end
    }
}
