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

/// (Not written: but only of what may be written can Swift pass a part to C.)
typealias Tables = UnsafeMutablePointer<gk_power_tables>

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
    // (Inlined it is no faster with SSE2, and four times as large.)
    @inline(never) init(_ bits: SIMD8<UInt32>, _ index: SIMD8<UInt32>, _ tables: Tables) {
        self.init(of: bits, index, tables)
    }
    @inline(never) func term(_ tables: Tables) -> SIMD8<Double> { known * series(tables) }
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
        if gk_any(far) { findFar(bits, reference, tables, next) }
        next += 2
    }
}

/// The factors of elements some of which lie far below the block's largest: subnormals
/// are replaced by normal numbers of the same significand, and the scale is split in two.
@inline(never) private func findFar(
    _ bits: SIMD16<UInt32>, _ reference: UInt32, _ tables: Tables, _ factors: UnsafeMutablePointer<Factors>
) {
    // A subnormal is an integer times 2^-149, and the float of that integer has its significand.
    let integers = unsafeBitCast(gk_f32_from_i32(unsafeBitCast(bits, to: SIMD16<Int32>.self)), to: SIMD16<UInt32>.self)
    let leastNormal = SIMD16<UInt32>(repeating: 0x80_0000)
    let normal = choose(leastNormal, above: bits, integers, else: bits)
    let shift = choose(leastNormal, above: bits, SIMD16(repeating: 149), else: SIMD16(repeating: 0))
    let distance = reference &- (normal &>> 23) &+ shift
    // Divided by 15, for numbers below 400.
    let whole = (distance &* 4370) &>> 16
    let isZero = SIMD16<UInt32>(repeating: 1)
    let index = choose(
        isZero, above: bits, SIMD16(repeating: UInt32(GK_POWER_NEAR)), else: distance &- whole &* UInt32(GK_POWER_NEAR))
    factors[0] = Factors(normal.lowHalf, index.lowHalf, tables)
    factors[1] = Factors(normal.highHalf, index.highHalf, tables)
    let rest = choose(isZero, above: bits, SIMD16(repeating: 0), else: whole)
    factors[0].known = factors[0].known * far(rest.lowHalf, tables)
    factors[1].known = factors[1].known * far(rest.highHalf, tables)
}

/// 2^(-15 k power), in the order of the lookups: lanes 2, 3 and 4, 5 change places.
@inline(__always) private func far(_ k: SIMD8<UInt32>, _ tables: Tables) -> SIMD8<Double> {
    @inline(__always) func factor(_ lane: Int) -> Double { gk_far_power(tables, k[lane]) }
    return SIMD8(factor(0), factor(1), factor(4), factor(5), factor(2), factor(3), factor(6), factor(7))
}

/// Elements of a piece.
@inline(__always) private var piece: Int { 256 }

@inline(never)
func sumFloatPowers<E: NarrowElement>(
    _: E.Type, _ data: UnsafeRawPointer, _ count: Int, _ dominant: gk_dominant, _ tables: Tables,
    _ scratch: UnsafeMutableRawPointer
) -> Double {
    let factors = scratch.assumingMemoryBound(to: Factors.self)
    var cascade = Cascade<Absolute, Two>(bound: Int(dominant.power) &+ 3)
    var start = 0
    while start < count {
        var lookup = LookupVisitor(tables, reference: Int(dominant.exponent) &+ 127, factors)
        visit(E.self, data + start &* E.size, min(piece, count &- start), &lookup)
        var next = factors
        while next < lookup.next {
            // Two terms at a time: one more rounding, and half the additions.
            let s = next[0].term(tables) + next[1].term(tables)
            cascade.low.add(s)
            next += 2
        }
        start &+= piece
    }
    var block = gk_block()
    cascade.store(&block)
    return block.rounded
}
