// Sums over examples: rows of elements times the examples' factors, added to sums in
// float64. Which way it rounds is the caller's choice (the engine rounds towards zero).
//
// Four rows at a time: a single one is too short for the memory to be asked ahead, and
// each would read and write the sums.
import CGradClipKernels

/// `count` is a multiple of 16.
@inline(never)
func accumulate<E: WideElement>(
    _: E.Type, _ rows: UnsafePointer<UnsafeRawPointer?>, _ count: Int, _ factors: UnsafePointer<Double>,
    _ sums: UnsafeMutableRawPointer
) {
    let (a, b) = (rows[0].unsafelyUnwrapped, rows[1].unsafelyUnwrapped)
    let (c, d) = (rows[2].unsafelyUnwrapped, rows[3].unsafelyUnwrapped)
    let (p, q) = (SIMD8<Double>(repeating: factors[0]), SIMD8<Double>(repeating: factors[1]))
    let (r, s) = (SIMD8<Double>(repeating: factors[2]), SIMD8<Double>(repeating: factors[3]))
    var i = 0
    while i < count {
        let at = i &* E.size
        let (v, w, x, y) = (E.load(a + at), E.load(b + at), E.load(c + at), E.load(d + at))
        let place = sums + i &* 8
        // One after the other, in the order of the examples.
        let low = place.loadUnaligned(as: SIMD8<Double>.self) + v.0 * p + w.0 * q + x.0 * r + y.0 * s
        let high = (place + 64).loadUnaligned(as: SIMD8<Double>.self) + v.1 * p + w.1 * q + x.1 * r + y.1 * s
        place.storeBytes(of: low, as: SIMD8<Double>.self)
        place.storeBytes(of: high, toByteOffset: 64, as: SIMD8<Double>.self)
        i &+= 16
    }
}

/// All of `count` elements: the last ones padded with zeros in the scratch memory.
@inline(never)
func accumulateAll<E: WideElement>(
    _: E.Type, _ rows: UnsafeMutablePointer<UnsafeRawPointer?>, _ count: Int, _ factors: UnsafePointer<Double>,
    _ sums: UnsafeMutableRawPointer, _ scratch: UnsafeMutableRawPointer
) {
    let whole = count & ~15
    accumulate(E.self, rows, whole, factors, sums)
    if whole == count { return }
    scratch.initializeMemory(as: UInt8.self, repeating: 0, count: 4 &* 128)
    for row in 0..<4 {
        let tail = scratch + row &* 128
        tail.copyMemory(
            from: rows[row].unsafelyUnwrapped + whole &* E.size, byteCount: (count &- whole) &* E.size)
        rows[row] = UnsafeRawPointer(tail)
    }
    accumulate(E.self, rows, 16, factors, sums + whole &* 8)
}

/// One row, all of it.
@inline(never)
func addRow<E: WideElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ factor: Double, _ sums: UnsafeMutableRawPointer,
    _ scratch: UnsafeMutableRawPointer
) {
    @inline(__always) func add(_ from: UnsafeRawPointer, _ place: UnsafeMutableRawPointer) {
        let (low, high) = E.load(from)
        place.storeBytes(of: place.loadUnaligned(as: SIMD8<Double>.self) + low * factor, as: SIMD8<Double>.self)
        let upper = place + 64
        upper.storeBytes(of: upper.loadUnaligned(as: SIMD8<Double>.self) + high * factor, as: SIMD8<Double>.self)
    }
    let whole = count & ~15
    var i = 0
    while i < whole {
        add(data + i &* E.size, sums + i &* 8)
        i &+= 16
    }
    if whole == count { return }
    scratch.initializeMemory(as: UInt8.self, repeating: 0, count: 128)
    scratch.copyMemory(from: data + whole &* E.size, byteCount: (count &- whole) &* E.size)
    add(scratch, sums + whole &* 8)
}
