// |x|^p over floats for moderate p > 0, several times faster than by logarithms.
//
// With x = 2^e * m, 1 <= m < 2, and c the middle of the eighth of [1, 2) in which m
// lies, r = (m - c) / c is at most 1/17, and
//
//     |x|^p = 2^(e p) * c^p * (1 + r)^p.
//
// The product of the first two factors comes from a table (relative to the block's
// largest exponent, so nothing overflows), the third is the binomial series, its last
// terms spread over those before (PowerTables.swift). m - c is exact, c^p and the powers
// of two are good to 2^-52, so a term is within a few places of the true one, and the
// root divides that by p. Only additions and multiplications in one order: the same bits
// at every level.
//
// A block goes by in pieces, and each piece three times: r and the places in the table,
// then the terms, then the sum. In one loop they make a chain of operations longer than
// processors look ahead, and want more registers than there are.
import CGradClipKernels

/// (Not written: but only of what may be written can Swift pass a part to C.)
typealias Tables = UnsafeMutablePointer<gk_power_tables>

private typealias Piece = UnsafeMutablePointer<gk_power_piece>

extension UnsafeMutablePointer<gk_power_piece> {
    /// 2^(e p) c^p: the table, and behind it room for those of elements that it has not.
    @inline(__always) fileprivate var known: UnsafeMutablePointer<Double> { gk_piece_known(self).unsafelyUnwrapped }
    @inline(__always) fileprivate var r: UnsafeMutablePointer<Double> { gk_piece_r(self).unsafelyUnwrapped }
    @inline(__always) fileprivate var index: UnsafeMutablePointer<UInt32> { gk_piece_index(self).unsafelyUnwrapped }
}

/// Notes r of eight elements.
@inline(__always) private func storeRest(_ bits: SIMD8<UInt32>, _ tables: Tables, _ r: UnsafeMutablePointer<Double>) {
    let m = unsafeBitCast((bits & 0x007f_ffff) | 0x3f80_0000, to: SIMD8<Float>.self)
    let c = unsafeBitCast((bits & 0x0070_0000) | 0x3f88_0000, to: SIMD8<Float>.self)
    let rest = gk_f64_in_order(m - c) * gk_lookup8(&tables.pointee.inverse, (bits &>> 20) & 7)
    UnsafeMutableRawPointer(r).storeBytes(of: rest, as: SIMD8<Double>.self)
}

/// |x|^p of eight elements in place of r: what is known, times (1 + r)^p.
@inline(__always) private func storePower(_ at: Int, _ piece: Piece, _ tables: Tables) {
    let a = tables.pointee.coefficient
    let r = UnsafeRawPointer(piece.r + at).load(as: SIMD8<Double>.self)
    let r2 = r * r
    let r4 = r2 * r2
    let low = (a.0 + r * a.1) + r2 * (a.2 + r * a.3)
    let middle = (a.4 + r * a.5) + r2 * (a.6 + r * a.7)
    let power = gk_gather(piece.known, piece.index + at) * (1 + r * (low + r4 * (middle + r4 * a.8)))
    UnsafeMutableRawPointer(piece.r + at).storeBytes(of: power, as: SIMD8<Double>.self)
}

#if GRADCLIP_HARDWARE_F16
@inline(__always) private func look(up bits: SIMD8<UInt32>, _ tables: Tables, _ r: UnsafeMutablePointer<Double>) {
    storeRest(bits, tables, r)
}
@inline(__always) private func raise(_ at: Int, _ piece: Piece, _ tables: Tables) {
    storePower(at, piece, tables)
}
#else
// (Inlined they are no faster with SSE2, and four times as large.)
@inline(never) private func look(up bits: SIMD8<UInt32>, _ tables: Tables, _ r: UnsafeMutablePointer<Double>) {
    storeRest(bits, tables, r)
}
@inline(never) private func raise(_ at: Int, _ piece: Piece, _ tables: Tables) {
    storePower(at, piece, tables)
}
#endif

/// The first loop over a piece: where what is known of its elements stands, and r.
private struct LookupVisitor: Visitor {
    let tables: Tables
    /// The exponent field of the largest magnitude; below 1 if it is subnormal.
    let reference: UInt32
    /// Eight times the exponent field below which what is known is 0; beyond all if the block may hold subnormals near
    /// its largest magnitude.
    let lowest: UInt32
    let piece: Piece
    var count = 0

    @inline(__always) init(_ tables: Tables, reference: Int, _ piece: Piece) {
        self.tables = tables
        self.reference = UInt32(truncatingIfNeeded: reference)
        lowest = reference < 16 ? 1 << 30 : UInt32(reference &- Int(GK_POWER_NEAR)) &* 8
        self.piece = piece
    }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let bits = magnitudes(values)
        let lowest = SIMD16(repeating: lowest)
        // Exponent and eighth.
        let index = larger(bits &>> 20, lowest) &- lowest
        let far = choose(SIMD16(repeating: 8), above: index, bits, else: SIMD16(repeating: 0))
        UnsafeMutableRawPointer(piece.index + count).storeBytes(of: index, as: SIMD16<UInt32>.self)
        look(up: bits.lowHalf, tables, piece.r + count)
        look(up: bits.highHalf, tables, piece.r + (count &+ 8))
        if gk_any(far) { findFar(bits, reference, tables, piece, count) }
        count &+= 16
    }
}

/// The same for elements some of which lie far below the block's largest: subnormals are replaced by normal
/// numbers of the same significand, and the power of two is split in two.
@inline(never) private func findFar(
    _ bits: SIMD16<UInt32>, _ reference: UInt32, _ tables: Tables, _ piece: Piece, _ at: Int
) {
    // A subnormal is an integer times 2^-149, and the float of that integer has its significand.
    let integers = unsafeBitCast(gk_f32_from_i32(unsafeBitCast(bits, to: SIMD16<Int32>.self)), to: SIMD16<UInt32>.self)
    let leastNormal = SIMD16<UInt32>(repeating: 0x80_0000)
    let normal = choose(leastNormal, above: bits, integers, else: bits)
    let shift = choose(leastNormal, above: bits, SIMD16(repeating: 149), else: SIMD16(repeating: 0))
    let distance = reference &- (normal &>> 23) &+ shift
    // Divided by 15, for numbers below 400.
    let whole = (distance &* 4370) &>> 16
    let row = UInt32(GK_POWER_NEAR) &- (distance &- whole &* UInt32(GK_POWER_NEAR))
    let none = SIMD16<UInt32>(repeating: 0)
    let isZero = SIMD16<UInt32>(repeating: 1)
    let near = choose(isZero, above: bits, none, else: row &* 8 &+ ((normal &>> 20) & 7))
    let rest = choose(isZero, above: bits, none, else: whole)
    findFar(normal.lowHalf, near.lowHalf, rest.lowHalf, tables, piece, at)
    findFar(normal.highHalf, near.highHalf, rest.highHalf, tables, piece, at &+ 8)
}

@inline(__always) private func findFar(
    _ normal: SIMD8<UInt32>, _ near: SIMD8<UInt32>, _ rest: SIMD8<UInt32>, _ tables: Tables, _ piece: Piece, _ at: Int
) {
    look(up: normal, tables, piece.r + at)
    var (near, rest) = (near, rest)
    let known = withUnsafeBytes(of: &near) { near in
        withUnsafeBytes(of: &rest) { rest in
            gk_gather(piece.known, near.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt32.self))
                * gk_gather(
                    gk_tables_far(tables), rest.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt32.self))
        }
    }
    // Which is in the order of lookups.
    let place = Int(GK_POWER_KNOWN) &+ at
    UnsafeMutableRawPointer(piece.known + place).storeBytes(of: known, as: SIMD8<Double>.self)
    let index = SIMD8<UInt32>(0, 1, 4, 5, 2, 3, 6, 7) &+ UInt32(place)
    UnsafeMutableRawPointer(piece.index + at).storeBytes(of: index, as: SIMD8<UInt32>.self)
}

@inline(never)
func sumFloatPowers<E: NarrowElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ dominant: gk_dominant, _ tables: Tables,
    _ scratch: UnsafeMutableRawPointer
) -> Double {
    let piece = scratch.assumingMemoryBound(to: gk_power_piece.self)
    UnsafeMutableRawPointer(piece.known).copyMemory(from: tables, byteCount: Int(GK_POWER_KNOWN) &* 8)
    var cascade = Cascade<Absolute, Two>(bound: Int(dominant.power) &+ 3)
    var start = 0
    while start < count {
        var lookup = LookupVisitor(tables, reference: Int(dominant.exponent) &+ 127, piece)
        visit(E.self, data + start &* E.size, min(Int(GK_POWER_PIECE), count &- start), &lookup)
        for at in stride(from: 0, to: lookup.count, by: 8) { raise(at, piece, tables) }
        let terms = UnsafeRawPointer(piece.r).assumingMemoryBound(to: SIMD8<Double>.self)
        for k in stride(from: 0, to: lookup.count / 8, by: 2) {
            // Two terms at a time: one more rounding, and half the additions.
            cascade.low.add(terms[k] + terms[k &+ 1])
        }
        start &+= Int(GK_POWER_PIECE)
    }
    var block = gk_block()
    cascade.store(&block)
    return block.rounded
}
