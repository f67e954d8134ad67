// |x|^p over floats for moderate p > 0, several times faster than by logarithms.
//
// With x = 2^e * m, 1 <= m < 2, and c the middle of the eighth of [1, 2) in which m
// lies, r = (m - c) / c is at most 1/17, and
//
//     |x|^p = 2^(e p) * c^p * (1 + r)^p.
//
// The first two factors come from small tables (the first relative to the block's
// largest exponent, so nothing overflows), the third is the binomial series. m - c
// is exact, c^p and the powers of two are good to 2^-52, so a term is within a few
// places of the true one, and the root divides that by p. Only additions and
// multiplications in one order: the same bits at every level.
import CGradClipKernels

typealias Tables = UnsafeMutablePointer<gk_power_tables>

@inline(__always) private func tables(_ r: Reduction) -> Tables {
    (r.pointee.scratch.unsafelyUnwrapped + Int(GK_SCRATCH)).assumingMemoryBound(to: gk_power_tables.self)
}

/// Whether there are tables for the reduction's power.
@inline(__always) func tablesServe(_ r: Reduction) -> Bool { tables(r).pointee.serve != 0 }

private struct FloatPowerVisitor: Visitor {
    let tables: Tables
    /// The exponent field of the largest magnitude; below 1 if it is subnormal.
    let reference: UInt32
    /// Beyond every distance if the block may hold subnormals near its largest magnitude.
    let distant: UInt32
    var cascade: Cascade<Absolute, Two>
    /// What findFar() leaves over, otherwise 1.
    var factors = (SIMD8<Double>(repeating: 1), SIMD8<Double>(repeating: 1))

    @inline(__always) init(_ tables: Tables, reference: Int, bound: Int) {
        self.tables = tables
        self.reference = UInt32(truncatingIfNeeded: reference)
        distant = reference < 16 ? 1 << 30 : 0
        cascade = Cascade(bound: bound)
    }

    @inline(__always) mutating func see(_ values: SIMD16<Float>) {
        var bits = magnitudes(values)
        let distance = (SIMD16(repeating: reference) &- (bits &>> 23)) & 0x3fff_ffff | distant
        // Zero finds the last entry of `scale`, which is 0.
        var index = choose(
            distance, above: SIMD16(repeating: UInt32(GK_POWER_NEAR)), SIMD16(repeating: UInt32(GK_POWER_NEAR)),
            else: distance)
        let far = choose(
            distance, above: SIMD16(repeating: UInt32(GK_POWER_NEAR) &- 1), bits, else: SIMD16(repeating: 0))
        let isFar = gk_any(far)
        if isFar { findFar(&bits, &index) }
        let terms = terms(bits, index)
        // Two terms at a time: one more rounding, and half the additions.
        let s = terms.0 * factors.0 + terms.1 * factors.1
        Cascade<Absolute, Two>.add(s, &cascade.lanes.a0, &cascade.lanes.b0, &cascade.lanes.c0)
        if isFar { factors = (SIMD8(repeating: 1), SIMD8(repeating: 1)) }
    }

    @inline(__always) private func terms(_ bits: SIMD16<UInt32>, _ index: SIMD16<UInt32>) -> (
        SIMD8<Double>, SIMD8<Double>
    ) {
        (term(bits.lowHalf, index.lowHalf), term(bits.highHalf, index.highHalf))
    }

    #if GRADCLIP_HARDWARE_F16
    @inline(__always) private func term(
        _ bits: SIMD8<UInt32>, _ index: SIMD8<UInt32>
    ) -> SIMD8<Double> { termOnce(bits, index) }
    #else
    @inline(never) @_optimize(speed) private func term(
        _ bits: SIMD8<UInt32>, _ index: SIMD8<UInt32>
    ) -> SIMD8<Double> { termOnce(bits, index) }
    #endif

    @inline(__always) private func termOnce(
        _ bits: SIMD8<UInt32>, _ index: SIMD8<UInt32>
    ) -> SIMD8<Double> {
        let m = unsafeBitCast((bits & 0x007f_ffff) | 0x3f80_0000, to: SIMD8<Float>.self)
        let c = unsafeBitCast((bits & 0x0070_0000) | 0x3f88_0000, to: SIMD8<Float>.self)
        let eighth = (bits &>> 20) & 7
        let a = UnsafeRawPointer(tables).assumingMemoryBound(to: SIMD8<Double>.self)
        let r = gk_f64_in_order(m - c) * gk_lookup8(&tables.pointee.inverse, eighth)
        let r2 = r * r
        let r4 = r2 * r2
        let low = (a[0] + r * a[1]) + r2 * (a[2] + r * a[3])
        let middle = (a[4] + r * a[5]) + r2 * (a[6] + r * a[7])
        let high = (a[8] + r * a[9]) + r2 * a[10]
        let series = 1 + r * (low + r4 * (middle + r4 * high))
        let known = gk_lookup8(&tables.pointee.centre, eighth) * gk_lookup16(&tables.pointee.scale, index)
        return known * series
    }

    /// For elements that lie far below the block's largest: replaces subnormals by
    /// normal numbers of the same significand, and splits the scale in two factors.
    @inline(never) @_optimize(speed) private mutating func findFar(
        _ bits: inout SIMD16<UInt32>, _ index: inout SIMD16<UInt32>
    ) {
        // The order of the lookups: lanes 2, 3 and 4, 5 change places.
        for lane in 0..<16 {
            let size = bits[lane]
            if size == 0 {
                index[lane] = UInt32(GK_POWER_NEAR)
                continue
            }
            let shift = max(0, size.leadingZeroBitCount &- 8)
            let field = max(1, Int(size &>> 23)) &- shift
            bits[lane] = size &<< UInt32(truncatingIfNeeded: shift)
            let distance = Int(Int32(bitPattern: reference)) &- field
            let whole = distance / Int(GK_POWER_NEAR)
            index[lane] = UInt32(truncatingIfNeeded: distance &- whole &* Int(GK_POWER_NEAR))
            let factor = withUnsafeBytes(of: &tables.pointee.far) {
                $0.loadUnaligned(fromByteOffset: whole &* 8, as: Double.self)
            }
            let place = (lane & 6) == 2 || (lane & 6) == 4 ? lane ^ 6 : lane
            if lane < 8 { factors.0[place] = factor } else { factors.1[place & 7] = factor }
        }
    }
}

@inline(never) @_optimize(speed)
private func addFloatPowers(_ data: UnsafeRawPointer, _ count: Int, _ found: Extremes, _ r: Reduction) {
    found.merge(into: r)
    if found.nonzero == 0 { return }
    let power = r.pointee.power
    let exponent = exponentAbove(Double(bitPattern: found.largest)) &- 1
    var visitor = FloatPowerVisitor(tables(r), reference: exponent &+ 127, bound: Int(power) &+ 3)
    visit(Float32Element.self, data, count, &visitor)
    Dominant(power: power, exponent: Double(exponent), fraction: 0)
        .finish(visitor.cascade.lanes.sums(2).rounded, &r.pointee.rounded)
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
