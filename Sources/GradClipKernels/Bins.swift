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
// Narrow types go in pieces, and each piece twice: vectors make the terms, which then go from memory into the bins one by
// one. Sixteen at a time would ask for them before the vectors' stores are through. Neighbours often go into the
// same bin, and the second addition would wait for the first; so elements take turns between four tables.
import CGradClipKernels

/// Writes the terms of sixteen elements and their exponent fields into room, and adds them to bins from there.
private protocol BinRoom: PlaceVisitor {
    init(_ room: UnsafeMutableRawPointer)
    var next: UnsafeMutableRawPointer { get }
    /// Bytes of an element, and of room that sixteen take.
    static var elementSize: Int { get }
    static var size: Int { get }
    /// From the unit of the terms to that of float32's with the same exponent field.
    static var shift: UInt64 { get }
    static func add(_ room: UnsafeRawPointer, _ bins: UnsafeMutableRawPointer)
}

/// Eight terms of 64 bits of the elements with even numbers, eight of the others, then all elements without their
/// signs: shifted by one bit, so that the exponent field is the last byte of each.
private struct FloatRoom<E: NarrowElement, T: ExactTerm>: BinRoom {
    var next: UnsafeMutableRawPointer
    @inline(__always) init(_ room: UnsafeMutableRawPointer) { next = room }
    @inline(__always) static var elementSize: Int { E.size }
    @inline(__always) static var size: Int { 192 }
    @inline(__always) static var shift: UInt64 { 0 }

    @inline(__always) mutating func see(at place: UnsafeRawPointer) {
        let sizes = magnitudes(E.load(place))
        // Subnormals and zero have no leading one.
        let leading = choose(
            sizes, above: SIMD16(repeating: 0x7f_ffff), SIMD16(repeating: 0x80_0000), else: SIMD16(repeating: 0))
        let significands = (sizes & 0x7f_ffff) | leading
        let signed = unsafeBitCast(significands, to: SIMD16<Int32>.self)
        let pairs = unsafeBitCast(significands, to: SIMD8<UInt64>.self)
        next.storeBytes(of: T.order == 2 ? gk_square_even(signed) : pairs & 0xffff_ffff, as: SIMD8<UInt64>.self)
        next.storeBytes(
            of: T.order == 2 ? gk_square_odd(signed) : pairs &>> 32, toByteOffset: 64, as: SIMD8<UInt64>.self)
        next.storeBytes(of: sizes &+ sizes, toByteOffset: 128, as: SIMD16<UInt32>.self)
        next += Self.size
    }

    @inline(__always) static func add(_ room: UnsafeRawPointer, _ bins: UnsafeMutableRawPointer) {
        for i in 0..<8 {
            let fields = room.load(fromByteOffset: 128 &+ i &* 8, as: UInt64.self)
            let first = bins + (i & 1) &* 2 &* tableBytes
            plus(room.load(fromByteOffset: i &* 8, as: UInt64.self), first, fields &>> 24)
            plus(room.load(fromByteOffset: 64 &+ i &* 8, as: UInt64.self), first + tableBytes, fields &>> 56)
        }
    }
}

/// The same of bfloat16, whose terms have 16 bits.
private struct BFloat16Room<T: ExactTerm>: BinRoom {
    var next: UnsafeMutableRawPointer
    @inline(__always) init(_ room: UnsafeMutableRawPointer) { next = room }
    @inline(__always) static var elementSize: Int { 2 }
    @inline(__always) static var size: Int { 64 }
    @inline(__always) static var shift: UInt64 { UInt64(T.order &* 16) }

    @inline(__always) mutating func see(at place: UnsafeRawPointer) {
        let bits = place.loadUnaligned(as: SIMD16<UInt16>.self)
        let significands = gk_bf16_significands(bits)
        next.storeBytes(of: T.order == 2 ? gk_square_u16(significands) : significands, as: SIMD16<UInt16>.self)
        next.storeBytes(of: bits &+ bits, toByteOffset: 32, as: SIMD16<UInt16>.self)
        next += Self.size
    }

    @inline(__always) static func add(_ room: UnsafeRawPointer, _ bins: UnsafeMutableRawPointer) {
        for i in 0..<4 {
            let fields = room.load(fromByteOffset: 32 &+ i &* 8, as: UInt64.self)
            for k in 0..<4 {
                let term = UInt64(room.load(fromByteOffset: i &* 8 &+ k &* 2, as: UInt16.self))
                plus(term, bins + k &* tableBytes, fields &>> UInt64(truncatingIfNeeded: 8 &+ k &* 16))
            }
        }
    }
}

@inline(__always) private var tableBytes: Int { Int(GK_BINS_NARROW) &* 8 }

/// Adds a term to the bin that the low byte of `field` names.
@inline(__always) private func plus(_ term: UInt64, _ bins: UnsafeMutableRawPointer, _ field: UInt64) {
    let bin = bins.assumingMemoryBound(to: UInt64.self) + Int(field & 0xff)
    bin.pointee &+= term
}

@inline(never)
private func bin<R: BinRoom>(
    _: R.Type, _ data: UnsafeRawPointer, _ count: Int, _ bins: UnsafeMutableRawPointer
) -> Bool {
    let tables = Int(GK_BIN_TABLES)
    clear(bins, tables &* tableBytes)
    let room = bins + tables &* tableBytes
    let piece = Int(GK_BIN_ROOM) / R.size &* 16
    var start = 0
    while start < count {
        var rooms = R(room)
        visit(R.elementSize, data + start &* R.elementSize, min(piece, count &- start), &rooms)
        var next = room
        while next < rooms.next {
            R.add(next, bins)
            next += R.size
        }
        start &+= piece
    }
    // All tables into the first.
    for i in stride(from: 0, to: tableBytes, by: 64) {
        var sum = bins.load(fromByteOffset: i, as: SIMD8<UInt64>.self)
        for table in 1..<tables {
            sum = sum &+ bins.load(fromByteOffset: table &* tableBytes &+ i, as: SIMD8<UInt64>.self)
        }
        bins.storeBytes(of: sum &<< R.shift, toByteOffset: i, as: SIMD8<UInt64>.self)
    }
    return (bins + (tableBytes &- 8)).load(as: UInt64.self) == 0
}

@inline(__always)
func bin<E: NarrowElement>(
    _: E.Type, _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, _ bins: UnsafeMutableRawPointer
) -> Bool {
    term == .square
        ? bin(FloatRoom<E, Square>.self, data, count, bins)
        : bin(FloatRoom<E, Absolute>.self, data, count, bins)
}

@inline(__always)
func bin(
    _: BFloat16Element.Type, _ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, _ bins: UnsafeMutableRawPointer
) -> Bool {
    term == .square
        ? bin(BFloat16Room<Square>.self, data, count, bins) : bin(BFloat16Room<Absolute>.self, data, count, bins)
}

@inline(never)
func bin(_ term: TermKind, _ data: UnsafeRawPointer, _ count: Int, _ bins: UnsafeMutableRawPointer) -> Bool {
    clear(bins, Int(GK_BINS_WIDE) &* 16)
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

/// Whole lines of 64 bytes.
@inline(__always) private func clear(_ bins: UnsafeMutableRawPointer, _ bytes: Int) {
    for i in stride(from: 0, to: bytes, by: 64) {
        bins.storeBytes(of: SIMD8<UInt64>(repeating: 0), toByteOffset: i, as: SIMD8<UInt64>.self)
    }
}
