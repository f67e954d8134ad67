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

    struct Block {
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

    /// The block times a factor in the scratch memory, zeros in place of what is not finite.
    func copy(_ kernels: Kernels, _ block: Block, _ factor: Double) -> Block {
        let scratch = scratch.unsafelyUnwrapped
        var scaling = gk_scaling(factor: factor, zero_nonfinite: true)
        kernels.pointee.scale(block.dtype, block.data, scratch, Int64(block.count), &scaling)
        return Block(dtype: block.dtype, data: UnsafeRawPointer(scratch), count: block.count)
    }

    /// Whether there was something.
    mutating func noteNonfinite(_ kernels: Kernels, _ block: Block) -> Bool {
        let found = kernels.pointee.nonfinite(block.dtype, block.data, Int64(block.count))
        if found.count > 0 && first == GK_NOWHERE { first = offset &+ found.first }
        nonfinite &+= found.count
        nan &+= found.nan
        return found.count > 0
    }
}
