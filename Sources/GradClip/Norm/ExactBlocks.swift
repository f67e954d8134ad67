// Blocks whose terms float64 holds exactly, for p = 1 and 2.
import CGradClipKernels
import GradClipKernels

extension Partial {
    private var order: Int { type.term == .square ? 2 : 1 }

    mutating func addExact(_ kernels: Kernels, _ block: Block) {
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
            let levels = levels(kernels, found, block, exponent)
            if levels <= most { sumExactly(kernels, block, exponent, levels, &found) }
            if !found.holds { return .tooWide }
        }
        if found.largest > 0 { expectLike(kernels, found, block) }
        return .held
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
    private func levels(_ kernels: Kernels, _ found: gk_block, _ block: Block, _ exponent: Int) -> Int {
        levels(kernels, block, exponent, lowest: exponentAbove(Double(bitPattern: found.smallest)))
    }

    private func levels(_ kernels: Kernels, _ block: Block, _ exponent: Int, lowest: Int) -> Int {
        levelsNeeded(
            order: order, exponent: exponent, lowest: lowest, bits: block.dtype.significandBits,
            reach: Int(kernels.pointee.reach(block.dtype, type.term)))
    }

    private mutating func expectLike(_ kernels: Kernels, _ found: gk_block, _ block: Block) {
        let next = Guess.exponent(after: Int(guess.exponent), exponentAbove(Double(bitPattern: found.largest)))
        expect(exponent: Int(next), levels: levels(kernels, found, block, Int(next)))
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
        expect(exponent: range.highest, levels: levels(kernels, block, range.highest, lowest: range.lowest))
        return isFinite
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
