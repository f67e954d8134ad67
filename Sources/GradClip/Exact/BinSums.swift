// What the bins of a block add up to (Bins.swift of the kernels).
import CGradClipKernels
import GradClipKernels

/// The range of the exponents in bins: the e with 2^(e-1) <= |x| < 2^e, of elements but zero (of
/// float64, whose bins have four exponents, a little wider).
struct BinRange {
    var lowest = Int.max
    var highest = Int.min
    var isEmpty: Bool { lowest == .max }
}

extension ExactSum {
    /// Adds the bins of a narrow type to a sum whose window does not move. `order` is 1 or 2.
    static func add(_ sum: Sum, bins: UnsafeRawPointer, order: Int) -> BinRange {
        var range = BinRange()
        let bins = bins.assumingMemoryBound(to: UInt64.self)
        var limb = limbs(sum)
        // Where the unit of a bin stands above the lowest bit of `limb`: 2^(order * (field - 150)), and that
        // of field 0 is field 1's.
        var shift = order &* -149 &- 40 &* Int(fixedBase)
        for field in 0..<Int(GK_BINS_NARROW) &- 1 {
            if field > 1 { shift &+= order }
            while shift >= 40 {
                shift &-= 40
                limb += 1
            }
            let value = bins[field] &+ bins[field &+ Int(GK_BINS_NARROW)]
            if value == 0 { continue }
            let low = UInt64(truncatingIfNeeded: shift)
            limb[0] &+= Int64(bitPattern: (value &<< low) & mask)
            limb[1] &+= Int64(bitPattern: (value &>> (40 &- low)) & mask)
            if low > 16 { limb[2] &+= Int64(bitPattern: value &>> (80 &- low)) }
            range.lowest = min(range.lowest, max(field, 1) &- 126)
            range.highest = max(field, 1) &- 126
        }
        // A limb takes less than 2^47 of it: as much as of 128 values.
        sum.pointee.pending &+= 128
        if sum.pointee.pending >= 1 << 22 { propagate(sum) }
        return range
    }
}

extension WideSum {
    /// Adds the bins of float64.
    mutating func add(bins: UnsafeRawPointer, order: Int) -> BinRange {
        var range = BinRange()
        for k in 0..<Int(GK_BINS_WIDE) &- 1 {
            let (low, high) = ((bins + k &* 16).load(as: UInt64.self), (bins + (k &* 16 &+ 8)).load(as: UInt64.self))
            if low | high == 0 { continue }
            // In units of the lowest of its four exponents: fields 4k - 1 and on. 124 bits in parts of 62 at most.
            let exponent = order &* (4 &* k &- 1076)
            add(Int64(low & (1 << 62 - 1)), exponent: exponent)
            add(Int64(high &<< 2 | low &>> 62), exponent: exponent &+ 62)
            range.lowest = min(range.lowest, 4 &* k &- 1023)
            range.highest = 4 &* k &- 1020
        }
        return range
    }
}
