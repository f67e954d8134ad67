// The tables of FloatPower.swift: filled in once for a call, at the baseline for all levels.
#if !GRADCLIP_X86_64_V3 && !GRADCLIP_X86_64_V4
import CGradClipKernels

/// Fills in the tables for a power behind the scratch memory of a pass.
public func preparePowerTables(_ scratch: UnsafeMutableRawPointer, power: Double) {
    let tables = (scratch + Int(GK_SCRATCH)).assumingMemoryBound(to: gk_power_tables.self)
    tables.pointee.serve = 0
    if power < 0 || power > 16 { return }
    // The binomials of power over 1 ... 13.
    var binomials = SIMD16<Double>()
    var next = power
    for k in 1...13 {
        binomials[k] = next
        next = next * (power - Double(k)) / Double(k + 1)
    }
    // What nine coefficients leave out is at most |binomials[10]| * 17^-10 * 2^-8 or so.
    if binomials[10].magnitude < 0x1p-6 { tables.pointee.serve = 1 }
    // r^n less the Chebyshev polynomial of its degree that is least for |r| <= 1/17.
    for n in stride(from: 13, to: Int(GK_POWER_COEFFICIENTS), by: -1) {
        var share = binomials[n]
        for j in 1...n / 2 {
            let left = n &- 2 &* j
            share = -share * Double((left &+ 2) &* (left &+ 1)) / Double((n &- j) &* j) / (4 * 17 * 17)
            binomials[left] = binomials[left] - share
        }
    }
    withUnsafeMutableBytes(of: &tables.pointee.coefficient) { bytes in
        let coefficient = bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: Double.self)
        for k in 0..<Int(GK_POWER_COEFFICIENTS) { coefficient[k] = binomials[k &+ 1] }
    }
    let steps = SIMD8<Double>(0, 1, 2, 3, 4, 5, 6, 7)
    let centres = steps * 0.125 + 1.0625
    let parts = logarithm(centres)
    store(1 / centres, &tables.pointee.inverse)
    let powers = powersOfTwo(parts.exponent + parts.fraction, power)
    let scales = (powersOfTwo(steps - 15, power), powersOfTwo(steps - 7, power))
    withUnsafeMutableBytes(of: &tables.pointee.known) { bytes in
        let known = bytes.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: SIMD8<Double>.self)
        for k in 0..<8 {
            known[k] = scales.0[k] * powers
            known[k &+ 8] = scales.1[k] * powers
        }
        known[0] = SIMD8(repeating: 0)
    }
    withUnsafeMutableBytes(of: &tables.pointee.far) { bytes in
        for k in 0..<Int(GK_POWER_FAR) {
            bytes.storeBytes(
                of: powersOfTwo(SIMD8(repeating: Double(k &* -15)), power)[0], toByteOffset: k &* 8, as: Double.self)
        }
    }
}

/// 2^(p * y) for |p * y| below 1000 or so; exact products of p's upper bits keep the error near 2^-53 for integers y.
@inline(never) private func powersOfTwo(_ y: SIMD8<Double>, _ power: Double) -> SIMD8<Double> {
    let shifter = 1.5 * powerOfTwo(52)
    let upper = Double(bitPattern: power.bitPattern & ~0x1fff)
    let large = y * upper
    let moved = large + shifter
    let rest = (large - (moved - shifter)) + y * (power - upper)
    let least = SIMD8<Double>(repeating: -1000)
    let result = exponential(rest - 1)
    let scaled =
        unsafeBitCast(result, to: SIMD8<UInt64>.self) &+ ((unsafeBitCast(moved, to: SIMD8<UInt64>.self) &+ 1) &<< 52)
    return choose(least, above: large, SIMD8(repeating: 0), else: unsafeBitCast(scaled, to: SIMD8<Double>.self))
}

@inline(__always) private func store(_ values: SIMD8<Double>, _ table: inout gk_table8) {
    for i in 0..<8 {
        let bits = values[i].bitPattern
        withUnsafeMutableBytes(of: &table) { bytes in
            bytes.storeBytes(of: UInt32(truncatingIfNeeded: bits), toByteOffset: i &* 4, as: UInt32.self)
            bytes.storeBytes(of: UInt32(truncatingIfNeeded: bits &>> 32), toByteOffset: 32 &+ i &* 4, as: UInt32.self)
        }
    }
}
#endif
