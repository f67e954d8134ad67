// How a tensor goes block by block through the kernels, and what is made of their answers.
//
// A kernel sums one block under an expectation and says whether it held. Here it is decided what
// to expect, what to do when it did not hold, and where the sums go. What a block adds to
// the sums depends on the block alone, never on the expectation.
import CGradClipKernels
import GradClipKernels

typealias Kernels = UnsafePointer<gk_kernels>

extension Partial {
    /// Adds elements that stand one behind the other.
    mutating func add(_ kernels: Kernels, _ dtype: DType, _ data: UnsafeRawPointer, _ length: Int) {
        var start = 0
        while start < length {
            let count = min(Int(GK_BLOCK), length &- start)
            addBlock(kernels, Block(dtype: dtype, data: data + start &* dtype.size, count: count))
            offset &+= UInt64(truncatingIfNeeded: count)
            start &+= count
        }
    }

    private struct Block {
        let dtype: DType
        var data: UnsafeRawPointer
        let count: Int
    }

    private mutating func addBlock(_ kernels: Kernels, _ block: Block) {
        switch type.term {
        case .absolute, .square:
            if block.dtype.isNarrow || wide != nil { addExact(kernels, block) } else { addRounded(kernels, block) }
        case .cube, .fourth, .root, .threeHalves: addRounded(kernels, block)
        case .nothing: _ = addExtremes(kernels, block)
        case .power: addPowers(kernels, block)
        }
    }

    // ----------------------------------------------------- p = 1 and 2: exact --

    private var order: Int { type.term == .square ? 2 : 1 }

    private mutating func addExact(_ kernels: Kernels, _ block: Block) {
        var found = gk_block()
        if block.dtype.isHalf && type.term == .square && guess.levels <= 2 && !guess.hasNonfinite,
            let sum = kernels.pointee.fixed_point
        {
            sum(block.dtype, block.data, Int64(block.count), guess.exponent, &found)
            if found.holds {
                ExactSum.add(&exact, found.sums.0, exponent: Int(found.bound) &- 58)
                ExactSum.add(&exact, found.sums.1, exponent: Int(found.bound) &- 26)
                guess.needed = 2
                return
            }
        }
        if guess.hasNonfinite {
            if !block.dtype.isNarrow {
                guess.hasNonfinite = !addBins(kernels, block)
                return
            }
            guess.hasNonfinite = noteNonfinite(kernels, block)
            if guess.hasNonfinite { return addFinitePart(kernels, block) }
        }
        switch addByAccumulators(kernels, block) {
        case .held: return
        case .tooWide: addBins(kernels, block)
        case .nonfinite:
            guess.hasNonfinite = true
            if block.dtype.isNarrow {
                _ = noteNonfinite(kernels, block)
                addFinitePart(kernels, block)
            } else {
                addBins(kernels, block)
            }
        }
    }

    /// A block whose elements that are not finite have been counted: without them, or by exponents, which passes
    /// over them.
    private mutating func addFinitePart(_ kernels: Kernels, _ block: Block) {
        switch addByAccumulators(kernels, copy(kernels, block, 1)) {
        case .held: return
        case .tooWide, .nonfinite: addBins(kernels, block, isCounted: true)
        }
    }

    private enum Outcome { case held, tooWide, nonfinite }

    /// Adds a block if accumulators hold it, as many as are expected or as it turns out to need.
    private mutating func addByAccumulators(_ kernels: Kernels, _ block: Block) -> Outcome {
        let most = Int(kernels.pointee.most_levels(block.dtype, type.term))
        if guess.levels > most { return .tooWide }
        var found = gk_block()
        sumExactly(kernels, block, Int(guess.exponent), Int(guess.levels), &found)
        if !found.holds {
            let largest = Double(bitPattern: found.largest)
            if !(largest < .infinity) { return .nonfinite }
            let exponent = exponentAbove(largest)
            let levels = levels(found, block, exponent)
            if levels <= most { sumExactly(kernels, block, exponent, levels, &found) }
            if !found.holds { return .tooWide }
        }
        if found.largest > 0 { expectLike(found, block) }
        return .held
    }

    /// Adds a tensor of one block and returns its own norm, from the integers of two accumulators: most
    /// small tensors need no more. Nil, with nothing added, if they do not hold it.
    mutating func addWithNorm(
        _ kernels: Kernels, _ dtype: DType, _ data: UnsafeRawPointer, _ count: Int
    ) -> NormValue? {
        if !type.hasExactSum || !dtype.isNarrow || guess.levels > 2 { return nil }
        let block = Block(dtype: dtype, data: data, count: count)
        var found = gk_block()
        kernels.pointee.exact(dtype, type.term, data, Int64(count), guess.exponent, 2, &found)
        if !found.holds {
            let largest = Double(bitPattern: found.largest)
            if !(largest < .infinity) { return nil }
            let exponent = exponentAbove(largest)
            if levels(found, block, exponent) > 2 { return nil }
            found = gk_block()
            kernels.pointee.exact(dtype, type.term, data, Int64(count), Int32(truncatingIfNeeded: exponent), 2, &found)
            if !found.holds { return nil }
        }
        if found.largest == 0 { return .zero }
        found.add(to: &exact)
        expectLike(found, block)
        // (Of both together: the second may be negative.)
        let sum = UInt128(bitPattern: Int128(found.sums.0)) << 44 &+ UInt128(bitPattern: Int128(found.sums.1))
        return NormValue.root(of: sum, exponent: Int(found.bound) &- unitDepth(2), isSquare: type.term == .square)
    }

    /// Sums a block by accumulators and adds that, if it holds.
    private mutating func sumExactly(
        _ kernels: Kernels, _ block: Block, _ exponent: Int, _ levels: Int, _ found: inout gk_block
    ) {
        found = gk_block()
        kernels.pointee.exact(
            block.dtype, type.term, block.data, Int64(block.count), Int32(truncatingIfNeeded: exponent),
            Int32(truncatingIfNeeded: levels), &found)
        if !found.holds { return }
        if block.dtype.isNarrow {
            found.add(to: &exact)
        } else {
            wide?.add(found)
        }
    }

    /// How many accumulators a block takes with T from `exponent`.
    private func levels(_ found: gk_block, _ block: Block, _ exponent: Int) -> Int {
        levelsNeeded(
            order: order, exponent: exponent, lowest: exponentAbove(Double(bitPattern: found.smallest)),
            bits: block.dtype.significandBits)
    }

    /// T stays while it is not far too large.
    private mutating func expectLike(_ found: gk_block, _ block: Block) {
        let exponent = exponentAbove(Double(bitPattern: found.largest))
        let kept = Int(guess.exponent)
        let next = exponent <= kept && kept < exponent &+ 4 ? kept : exponent
        expect(exponent: next, levels: levels(found, block, next))
    }

    /// More than two accumulators, and the bins, are expected only after two blocks in a row that
    /// needed as much: few do. And after the bins not many accumulators, which take nearly as long and may be in vain,
    /// before a few blocks in a row would have done with them.
    private mutating func expect(exponent: Int, levels: Int) {
        let needed = Int32(truncatingIfNeeded: levels)
        guess.exponent = Int32(truncatingIfNeeded: exponent)
        guess.levels = min(needed, max(2, guess.needed))
        guess.needed = needed
        guess.sinceBins = needed > 5 ? 0 : min(guess.sinceBins &+ 1, 4)
        if guess.levels > 3 && guess.sinceBins < 4 { guess.levels = 6 }
    }

    /// Any block: by exponents. Returns whether it was finite.
    @discardableResult
    private mutating func addBins(_ kernels: Kernels, _ block: Block, isCounted: Bool = false) -> Bool {
        let bins = scratch.unsafelyUnwrapped
        let order = order
        let isFinite = kernels.pointee.bins(block.dtype, type.term, block.data, Int64(block.count), bins)
        if !isFinite && !isCounted { _ = noteNonfinite(kernels, block) }
        let range =
            block.dtype.isNarrow ? ExactSum.add(&exact, bins: bins, order: order) : wide?.add(bins: bins, order: order)
        guard let range, !range.isEmpty else { return isFinite }
        let levels = levelsNeeded(
            order: order, exponent: range.highest, lowest: range.lowest, bits: block.dtype.significandBits)
        expect(exponent: range.highest, levels: levels)
        return isFinite
    }

    // --------------------------------------------------- terms that are rounded --

    /// Bounds at which neither the accumulators nor terms worth keeping leave the
    /// range of float64.
    private static var usableBounds: ClosedRange<Int> { -900...900 }

    /// T for terms of elements below 2^exponent, rounded up to a multiple of 16, so that the guess
    /// from the block before nearly always holds and the bits depend on the block only.
    private func roundedBound(exponent: Int) -> Int {
        (((type.twiceOrder &* exponent &+ 1) >> 1) &+ 15) & ~15
    }

    private mutating func addRounded(_ kernels: Kernels, _ block: Block) {
        var found = gk_block()
        // (A bound that is not usable: the block before had to be scaled.)
        if Self.usableBounds.contains(Int(guess.bound)) { sumRounded(kernels, block, Int(guess.bound), &found) }
        if !found.holds {
            // Not finite, or terms of finite elements that left the range of float64.
            var finite = block
            kernels.pointee.extremes(block.dtype, block.data, Int64(block.count), &found)
            if !found.holds {
                _ = noteNonfinite(kernels, block)
                finite = copy(kernels, block, 1)
                kernels.pointee.extremes(finite.dtype, finite.data, Int64(finite.count), &found)
            }
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

    /// The block times a factor in the scratch memory, zeros in place of what is not finite.
    private func copy(_ kernels: Kernels, _ block: Block, _ factor: Double) -> Block {
        let scratch = scratch.unsafelyUnwrapped
        var scaling = gk_scaling(factor: factor, zero_nonfinite: true)
        kernels.pointee.scale(block.dtype, block.data, scratch, Int64(block.count), &scaling)
        return Block(dtype: block.dtype, data: UnsafeRawPointer(scratch), count: block.count)
    }

    // ------------------------------------------------------- extremes and powers --

    /// Returns what was found and the block, a finite copy of it if it is not.
    private mutating func addExtremes(_ kernels: Kernels, _ block: Block) -> (found: gk_block, finite: Block) {
        var found = gk_block()
        var finite = block
        kernels.pointee.extremes(block.dtype, block.data, Int64(block.count), &found)
        if !found.holds {
            _ = noteNonfinite(kernels, block)
            finite = copy(kernels, block, 1)
            kernels.pointee.extremes(finite.dtype, finite.data, Int64(finite.count), &found)
        }
        if found.smallest < .max {
            largest = max(largest, found.largest)
            smallest = min(smallest, found.smallest)
            nonzero &+= UInt64(block.count) &- found.zeros
        }
        return (found, finite)
    }

    private mutating func addPowers(_ kernels: Kernels, _ block: Block) {
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

    // --------------------------------------------------------------- not finite --

    /// Whether there was something.
    private mutating func noteNonfinite(_ kernels: Kernels, _ block: Block) -> Bool {
        let found = kernels.pointee.nonfinite(block.dtype, block.data, Int64(block.count))
        if found.count > 0 && first == GK_NOWHERE { first = offset &+ found.first }
        nonfinite &+= found.count
        nan &+= found.nan
        return found.count > 0
    }
}

extension gk_block {
    /// Adds what the accumulators hold, times 2^shift, to a sum.
    func add(to sum: ExactSum.Sum, shift: Int = 0) {
        let bound = Int(bound) &+ shift
        ExactSum.add(sum, sums.0, exponent: bound &- unitDepth(1))
        ExactSum.add(sum, sums.1, exponent: bound &- unitDepth(2))
        if sums.2 | sums.3 | sums.4 == 0 { return }
        ExactSum.add(sum, sums.2, exponent: bound &- unitDepth(3))
        ExactSum.add(sum, sums.3, exponent: bound &- unitDepth(4))
        ExactSum.add(sum, sums.4, exponent: bound &- unitDepth(5))
    }
}

extension WideSum {
    fileprivate mutating func add(_ block: gk_block) {
        let bound = Int(block.bound)
        add(block.sums.0, exponent: bound &- unitDepth(1))
        add(block.sums.1, exponent: bound &- unitDepth(2))
        add(block.sums.2, exponent: bound &- unitDepth(3))
        add(block.sums.3, exponent: bound &- unitDepth(4))
    }
}
