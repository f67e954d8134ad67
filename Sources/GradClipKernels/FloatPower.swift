// |x|^p over floats for moderate p > 0, several times faster than by logarithms.
//
// With x = 2^e * m, 1 <= m < 2, and c the middle of the eighth of [1, 2) in which m
// lies, r = (m - c) / c is at most 1/17, and
//
//     |x|^p = 2^(e p) * c^p * (1 + r)^p.
//
// The first two factors come from small tables (the first relative to the block's
// largest exponent, so nothing overflows), the third is the binomial series, its last
// terms spread over those before (PowerTables.swift). m - c is exact, c^p and the powers
// of two are good to 2^-52, so a term is within a few places of the true one, and the
// root divides that by p. Only additions and multiplications in one order: the same bits
// at every level.
//
// A block goes by in pieces, and each piece twice: first the lookups, then the
// series. Both in one loop make a chain of operations longer than processors look ahead.
import CGradClipKernels

typealias Tables = UnsafeMutablePointer<gk_power_tables>

@inline(__always) private func tables(_ r: Reduction) -> Tables {
    (r.pointee.scratch.unsafelyUnwrapped + Int(GK_SCRATCH)).assumingMemoryBound(to: gk_power_tables.self)
}

/// Whether there are tables for the reduction's power.
@inline(__always) func tablesServe(_ r: Reduction) -> Bool { tables(r).pointee.serve != 0 }

/// 2^(e p) c^p and r of eight elements.
private struct Factors {
    var known: SIMD8<Double>
    var r: SIMD8<Double>

    #if GRADCLIP_HARDWARE_F16
    @inline(__always) init(_ bits: SIMD8<UInt32>, _ index: SIMD8<UInt32>, _ tables: Tables) {
        self.init(of: bits, index, tables)
    }
    @inline(__always) func term(_ tables: Tables) -> SIMD8<Double> { known * series(tables) }
    #else
    @inline(never) @_optimize(speed) init(_ bits: SIMD8<UInt32>, _ index: SIMD8<UInt32>, _ tables: Tables) {
        self.init(of: bits, index, tables)
    }
    @inline(never) @_optimize(speed) func term(_ tables: Tables) -> SIMD8<Double> { known * series(tables) }
    #endif

    @inline(__always) private init(of bits: SIMD8<UInt32>, _ index: SIMD8<UInt32>, _ tables: Tables) {
        let m = unsafeBitCast((bits & 0x007f_ffff) | 0x3f80_0000, to: SIMD8<Float>.self)
        let c = unsafeBitCast((bits & 0x0070_0000) | 0x3f88_0000, to: SIMD8<Float>.self)
        let eighth = (bits &>> 20) & 7
        r = gk_f64_in_order(m - c) * gk_lookup8(&tables.pointee.inverse, eighth)
        known = gk_lookup8(&tables.pointee.centre, eighth) * gk_lookup16(&tables.pointee.scale, index)
    }

    /// (1 + r)^p.
    @inline(__always) private func series(_ tables: Tables) -> SIMD8<Double> {
        let a = UnsafeRawPointer(tables).assumingMemoryBound(to: SIMD8<Double>.self)
        let r2 = r * r
        let r4 = r2 * r2
        let low = (a[0] + r * a[1]) + r2 * (a[2] + r * a[3])
        let middle = (a[4] + r * a[5]) + r2 * (a[6] + r * a[7])
        return 1 + r * (low + r4 * (middle + r4 * a[8]))
    }
}

/// Looks up the factors of a piece.
private struct LookupVisitor: Visitor {
    let tables: Tables
    /// The exponent field of the largest magnitude; below 1 if it is subnormal.
    let reference: UInt32
    /// Beyond every distance if the block may hold subnormals near its largest magnitude.
    let distant: UInt32
    var next: UnsafeMutablePointer<Factors>

    @inline(__always) init(_ tables: Tables, reference: Int, _ factors: UnsafeMutablePointer<Factors>) {
        self.tables = tables
        self.reference = UInt32(truncatingIfNeeded: reference)
        distant = reference < 16 ? 1 << 30 : 0
        next = factors
    }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        let bits = magnitudes(values)
        let distance = (SIMD16(repeating: reference) &- (bits &>> 23)) & 0x3fff_ffff | distant
        // Zero finds the last entry of `scale`, which is 0.
        let index = choose(
            distance, above: SIMD16(repeating: UInt32(GK_POWER_NEAR)), SIMD16(repeating: UInt32(GK_POWER_NEAR)),
            else: distance)
        let far = choose(
            distance, above: SIMD16(repeating: UInt32(GK_POWER_NEAR) &- 1), bits, else: SIMD16(repeating: 0))
        next[0] = Factors(bits.lowHalf, index.lowHalf, tables)
        next[1] = Factors(bits.highHalf, index.highHalf, tables)
        if gk_any(far) { findFar(bits, Int(Int32(bitPattern: reference)), tables, next) }
        next += 2
    }
}

/// The factors of elements some of which lie far below the block's largest: subnormals
/// are replaced by normal numbers of the same significand, and the scale is split in two.
@inline(never) @_optimize(speed) private func findFar(
    _ bits: SIMD16<UInt32>, _ reference: Int, _ tables: Tables, _ factors: UnsafeMutablePointer<Factors>
) {
    var bits = bits
    var index = SIMD16<UInt32>(repeating: UInt32(GK_POWER_NEAR))
    var rest = (SIMD8<Double>(repeating: 1), SIMD8<Double>(repeating: 1))
    // The order of the lookups: lanes 2, 3 and 4, 5 change places.
    for lane in 0..<16 where bits[lane] != 0 {
        let size = bits[lane]
        let shift = max(0, size.leadingZeroBitCount &- 8)
        let field = max(1, Int(size &>> 23)) &- shift
        bits[lane] = size &<< UInt32(truncatingIfNeeded: shift)
        let distance = reference &- field
        let whole = distance / Int(GK_POWER_NEAR)
        index[lane] = UInt32(truncatingIfNeeded: distance &- whole &* Int(GK_POWER_NEAR))
        let factor = withUnsafeBytes(of: &tables.pointee.far) {
            $0.loadUnaligned(fromByteOffset: whole &* 8, as: Double.self)
        }
        let place = (lane & 6) == 2 || (lane & 6) == 4 ? lane ^ 6 : lane
        if lane < 8 { rest.0[place] = factor } else { rest.1[place & 7] = factor }
    }
    factors[0] = Factors(bits.lowHalf, index.lowHalf, tables)
    factors[1] = Factors(bits.highHalf, index.highHalf, tables)
    factors[0].known = factors[0].known * rest.0
    factors[1].known = factors[1].known * rest.1
}

/// Elements of a piece.
@inline(__always) private var piece: Int { 256 }

@inline(never) @_optimize(speed)
private func addFloatPowers(_ data: UnsafeRawPointer, _ count: Int, _ found: Extremes, _ r: Reduction) {
    found.merge(into: r)
    if found.nonzero == 0 { return }
    let power = r.pointee.power
    let exponent = exponentAbove(Double(bitPattern: found.largest)) &- 1
    let tables = tables(r)
    // The block itself may stand at the start of the scratch memory.
    let room = (r.pointee.scratch.unsafelyUnwrapped + ((count &+ 15) & ~15) &* 4)
    let factors = room.assumingMemoryBound(to: Factors.self)
    var cascade = Cascade<Absolute, Two>(bound: Int(power) &+ 3)
    var start = 0
    while start < count {
        var lookup = LookupVisitor(tables, reference: exponent &+ 127, factors)
        visit(Float32Element.self, data + start &* 4, min(piece, count &- start), &lookup)
        var next = factors
        while next < lookup.next {
            // Two terms at a time: one more rounding, and half the additions.
            let s = next[0].term(tables) + next[1].term(tables)
            Cascade<Absolute, Two>.add(s, &cascade.lanes.a0, &cascade.lanes.b0, &cascade.lanes.c0)
            next += 2
        }
        start &+= piece
    }
    Dominant(power: power, exponent: Double(exponent), fraction: 0)
        .finish(cascade.lanes.sums(2).rounded, &r.pointee.rounded)
}

@inline(never) @_optimize(speed)
func reduceFloatPowers(_ data: UnsafeRawPointer, _ length: Int, _ r: Reduction) {
    forEachBlock(data, length, 4, r) { block, count in
        if let found = floatExtremes(block, count) { return addFloatPowers(block, count, found, r) }
        separateNonfinite(Float32Element.self, block, count, r)
        let scratch = UnsafeRawPointer(r.pointee.scratch.unsafelyUnwrapped)
        if let found = floatExtremes(scratch, count) { addFloatPowers(scratch, count, found, r) }
    }
}
