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
        let last = Int(GK_BINS_NARROW) &- 1
        var limb = limbs(sum)
        // Where the unit of a bin stands above the lowest bit of `limb`: 2^(order * (field - 150)), and that
        // of field 0 is field 1's.
        var shift = order &* -149 &- 40 &* Int(fixedBase)
        var pieces = UInt128(0)
        for field in 0..<last {
            if field > 1 { shift &+= order }
            while shift >= 40 {
                addPieces(pieces, limb)
                pieces = 0
                shift &-= 40
                limb += 1
            }
            pieces &+= UInt128(bins[field]) &<< UInt128(truncatingIfNeeded: shift)
        }
        addPieces(pieces, limb)
        var (low, high) = (0, last &- 1)
        while low < last && bins[low] == 0 { low &+= 1 }
        if low == last { return range }
        while bins[high] == 0 { high &-= 1 }
        range.lowest = max(low, 1) &- 126
        range.highest = max(high, 1) &- 126
        // A limb takes less than 2^42 of it: as much as of four values.
        sum.pointee.pending &+= 4
        if sum.pointee.pending >= 1 << 22 { propagate(sum) }
        return range
    }

    /// Less than 2^120, in units of a limb, to it and the two above it.
    @inline(__always) private static func addPieces(_ value: UInt128, _ limb: UnsafeMutablePointer<Int64>) {
        if value == 0 { return }
        limb[0] &+= Int64(truncatingIfNeeded: value) & Int64(bitPattern: mask)
        limb[1] &+= Int64(truncatingIfNeeded: value &>> 40) & Int64(bitPattern: mask)
        limb[2] &+= Int64(truncatingIfNeeded: value &>> 80)
    }
}

extension WideSum {
    /// Adds the bins of float64.
    mutating func add(bins: UnsafeRawPointer, order: Int) -> BinRange {
        var range = BinRange()
        for k in 0..<Int(GK_BINS_WIDE) &- 1 {
            let (low, high) = bins.load(fromByteOffset: k &* MemoryLayout<UInt128>.size, as: (UInt64, UInt64).self)
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
