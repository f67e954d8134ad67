// p = 1 and p = 2 over all types, exact for any values: by exponent, in integers.
//
// Terms of elements with the same exponent are integers of one unit, and a bin holds the sum of those:
//
//     float32 and narrower  an exponent  24 bits, squared 48, times 4096: 60 bits of 64
//     float64               4 exponents  53 + 3 bits, squared 112, times 4096: 124 bits of 128
//
// (Of four exponents the larger ones are shifted to the unit of the lowest.) So nothing rounds, whatever the
// values are, and it takes the same time for all of them: what blocks
// go through whose exponents lie too far apart for accumulators. NaN and infinities have a bin
// of their own, which nobody reads.
//
// Two neighbours often go into the same bin, and the second addition would wait for the
// first; so elements of narrow types take turns between two tables.
import CGradClipKernels

/// Adds sixteen elements.
private struct BinVisitor: Visitor {
    let bins: UnsafeMutableRawPointer
    let isSquare: Bool

    @inline(__always) init(_ bins: UnsafeMutableRawPointer, isSquare: Bool) {
        (self.bins, self.isSquare) = (bins, isSquare)
    }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let sizes = magnitudes(values)
        // Subnormals and zero have no leading one.
        let leading = choose(
            sizes, above: SIMD16(repeating: 0x7f_ffff), SIMD16(repeating: 0x80_0000), else: SIMD16(repeating: 0))
        let significands = (sizes & 0x7f_ffff) | leading
        let signed = unsafeBitCast(significands, to: SIMD16<Int32>.self)
        let pairs = unsafeBitCast(significands, to: SIMD8<UInt64>.self)
        let even = isSquare ? gk_square_even(signed) : pairs & 0xffff_ffff
        let odd = isSquare ? gk_square_odd(signed) : pairs &>> 32
        // The exponent goes on top of the term, into eight bits that it leaves, and both through memory: to take
        // vectors apart costs more.
        let fields = unsafeBitCast(sizes, to: SIMD8<UInt64>.self)
        let room = bins + Int(GK_BINS_NARROW) &* 16
        room.storeBytes(of: even | ((fields & 0x7f80_0000) &<< 33), as: SIMD8<UInt64>.self)
        (room + 64).storeBytes(of: odd | ((fields & 0x7f80_0000_0000_0000) &<< 1), as: SIMD8<UInt64>.self)
        for i in 0..<8 {
            add((room + i &* 8).load(as: UInt64.self), bins)
            add((room + (64 &+ i &* 8)).load(as: UInt64.self), bins + Int(GK_BINS_NARROW) &* 8)
        }
    }

    @inline(__always) private func add(_ packed: UInt64, _ table: UnsafeMutableRawPointer) {
        let place = table.assumingMemoryBound(to: UInt64.self) + Int(packed &>> 56)
        place.pointee &+= packed & 0xff_ffff_ffff_ffff
    }
}

@inline(never)
func bin<E: NarrowElement>(
    _: E.Type, _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, _ bins: UnsafeMutableRawPointer
) -> Bool {
    clear(bins)
    if term == .square {
        var visitor = BinVisitor(bins, isSquare: true)
        visit(E.self, data, count, &visitor)
    } else {
        var visitor = BinVisitor(bins, isSquare: false)
        visit(E.self, data, count, &visitor)
    }
    let last = (bins + (Int(GK_BINS_NARROW) &- 1) &* 8).assumingMemoryBound(to: UInt64.self)
    return last[0] | last[Int(GK_BINS_NARROW)] == 0
}

@inline(never)
func bin(_ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, _ bins: UnsafeMutableRawPointer) -> Bool {
    clear(bins)
    let ahead = prefetchDistance(count)
    if term == .square {
        for i in 0..<count { addWide(data + i &* 8, ahead, bins) { $0.multipliedFullWidth(by: $0) } }
    } else {
        for i in 0..<count { addWide(data + i &* 8, ahead, bins) { (0, $0) } }
    }
    let last = bins + (Int(GK_BINS_WIDE) &- 1) &* 16
    return last.load(as: UInt64.self) | (last + 8).load(as: UInt64.self) == 0
}

@inline(__always) private func addWide(
    _ element: UnsafeRawPointer, _ ahead: Int, _ bins: UnsafeMutableRawPointer,
    _ term: (UInt64) -> (high: UInt64, low: UInt64)
) {
    gk_prefetch(element + ahead)
    let bits = element.loadUnaligned(as: UInt64.self) & 0x7fff_ffff_ffff_ffff
    let fraction = bits & 0xf_ffff_ffff_ffff
    let field = bits &>> 52
    let significand = field > 0 ? fraction | 1 << 52 : fraction
    let next = max(field, 1) &+ 1
    let term = term(significand &<< (next & 3))
    let place = bins + Int(next &>> 2) &* 16
    let low = place.assumingMemoryBound(to: UInt64.self)
    let (sum, carries) = low[0].addingReportingOverflow(term.low)
    low[0] = sum
    low[1] = low[1] &+ term.high &+ (carries ? 1 : 0)
}

@inline(__always) private func clear(_ bins: UnsafeMutableRawPointer) {
    for i in stride(from: 0, to: Int(GK_BIN_BYTES), by: 64) {
        bins.storeBytes(of: SIMD8<UInt64>(repeating: 0), toByteOffset: i, as: SIMD8<UInt64>.self)
    }
}
