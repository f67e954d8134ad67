// Blocks whose terms float64 rounds, and those of which only the extremes count.
import CGradClipKernels
import GradClipKernels

extension Partial {
    /// Bounds at which neither the accumulators nor terms worth keeping leave the
    /// range of float64.
    private static var usableBounds: ClosedRange<Int> { -900...900 }

    /// T for terms of elements below 2^exponent, rounded up to a multiple of 16, so that the guess
    /// from the block before nearly always holds and the bits depend on the block only.
    private func roundedBound(exponent: Int) -> Int {
        (((type.twiceOrder &* exponent &+ 1) >> 1) &+ 15) & ~15
    }

    mutating func addRounded(_ kernels: Kernels, _ block: Block) {
        var found = gk_block()
        // (A bound that is not usable: the block before had to be scaled.)
        if Self.usableBounds.contains(Int(guess.bound)) { sumRounded(kernels, block, Int(guess.bound), &found) }
        if !found.holds {
            // Not finite, or terms of finite elements that left the range of float64.
            let (found, finite) = extremes(kernels, block)
            return addScaled(kernels, finite, found.largest)
        }
        if found.largest == 0 { return }
        let bound = roundedBound(exponent: exponentAbove(Double(bitPattern: found.largest)))
        if bound == Int(guess.bound) { return found.add(to: &rounded) }
        addScaled(kernels, block, found.largest)
    }

    /// A block of finite elements with T as it must be; multiplied by a power of two, if the terms would
    /// leave the range of float64.
    private mutating func addScaled(_ kernels: Kernels, _ block: Block, _ largest: UInt64) {
        if largest == 0 { return }
        var found = gk_block()
        var exponent = exponentAbove(Double(bitPattern: largest))
        let bound = roundedBound(exponent: exponent)
        guess.bound = Int32(truncatingIfNeeded: bound)
        if Self.usableBounds.contains(bound) {
            sumRounded(kernels, block, bound, &found)
            return found.add(to: &rounded)
        }
        // Even, so that the shift is an integer for half-integer orders.
        exponent = (exponent &+ 1) & ~1
        // Where that is no power of two that float64 has, not all the way: T stays a multiple of 16 from it for every
        // order. What becomes subnormal is too small to count.
        let rest = exponent > 1022 ? 32 : exponent < -1022 ? -64 : 0
        exponent &-= rest
        let scaled = copy(kernels, block, powerOfTwo(0 &- exponent))
        sumRounded(kernels, scaled, roundedBound(exponent: rest), &found)
        found.add(to: &rounded, shift: type.twiceOrder &* exponent / 2)
    }

    private func sumRounded(_ kernels: Kernels, _ block: Block, _ bound: Int, _ found: inout gk_block) {
        found = gk_block()
        kernels.pointee.rounded(
            block.dtype, type.term, block.data, Int64(block.count), Int32(truncatingIfNeeded: bound), &found)
    }

    /// The extremes of a block and the block, a finite copy of it if it is not; what is not finite is noted.
    private mutating func extremes(_ kernels: Kernels, _ block: Block) -> (found: gk_block, finite: Block) {
        var found = gk_block()
        kernels.pointee.extremes(block.dtype, block.data, Int64(block.count), &found)
        if found.holds { return (found, block) }
        _ = noteNonfinite(kernels, block)
        let finite = copy(kernels, block, 1)
        kernels.pointee.extremes(finite.dtype, finite.data, Int64(finite.count), &found)
        return (found, finite)
    }

    /// Returns what was found and the block, a finite copy of it if it is not.
    mutating func addExtremes(_ kernels: Kernels, _ block: Block) -> (found: gk_block, finite: Block) {
        let (found, finite) = extremes(kernels, block)
        if found.smallest < .max {
            largest = max(largest, found.largest)
            smallest = min(smallest, found.smallest)
            nonzero &+= UInt64(block.count) &- found.zeros
        }
        return (found, finite)
    }

    mutating func addPowers(_ kernels: Kernels, _ block: Block) {
        let (found, finite) = addExtremes(kernels, block)
        if found.smallest == .max { return }
        let scratch = scratch.unsafelyUnwrapped
        let tables = UnsafePointer((scratch + Int(GK_SCRATCH)).assumingMemoryBound(to: gk_power_tables.self))
        let value = Double(bitPattern: type.power > 0 ? found.largest : found.smallest)
        var dominant =
            block.dtype.isNarrow && tables.pointee.serve != 0
            ? gk_dominant(below: value, power: type.power, tables) : gk_dominant(value, power: type.power)
        // Behind the copy of the block.
        let room = scratch + (block.count &* block.dtype.size &+ 63) & ~63
        let sum = kernels.pointee.power(finite.dtype, finite.data, Int64(finite.count), &dominant, room)
        dominant.add(sum, to: &rounded)
    }
}
