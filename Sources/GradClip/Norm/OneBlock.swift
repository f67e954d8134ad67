// Tensors of one block: the integers of two accumulators are all that the norm of most of them takes. (Of fixed point
// they are those of three, of which the last counts in units of 2^(T - 104).)
import CGradClipKernels
import GradClipKernels

extension gk_block {
    /// The sum of a block of narrow elements, whose terms are exact, by two accumulators; nil if they do not hold
    /// it. `exponent` is what is expected, and then what to expect of the next one.
    @inline(__always)
    init?(
        _ kernels: Kernels, _ term: TermKind, _ dtype: DType, _ data: UnsafeRawPointer, _ count: Int,
        expecting exponent: inout Int32
    ) {
        self.init()
        kernels.pointee.exact(dtype, term, data, Int64(count), exponent, 2, &self)
        if !holds {
            let largest = Double(bitPattern: largest)
            if !(largest < .infinity) { return nil }
            exponent = Int32(truncatingIfNeeded: exponentAbove(largest))
            self = gk_block()
            kernels.pointee.exact(dtype, term, data, Int64(count), exponent, 2, &self)
            if !holds { return nil }
        }
        if largest == 0 { return }
        exponent = Guess.exponent(after: Int(exponent), exponentAbove(Double(bitPattern: largest)))
    }

    /// The norm of what was summed.
    func norm(_ term: TermKind) -> NormValue {
        if largest == 0 { return .zero }
        // (Of all together: the second may be negative.)
        let sum =
            UInt128(bitPattern: Int128(sums.0)) << 61 &+ UInt128(bitPattern: Int128(sums.1)) << 17
            &+ UInt128(bitPattern: Int128(sums.2)) >> 27
        return NormValue.root(of: sum, exponent: Int(bound) &- 104, isSquare: term == .square)
    }
}

/// Sums of such blocks with the same bound, which are added to the limbs together.
struct WaitingSums {
    private var bound: Int32 = 0
    private var sums: (Int64, Int64, Int64) = (0, 0, 0)
    private var count = 0

    /// Each is below 2^55, so that 64 are below the 2^62 of ExactSum.
    private static var most: Int { 64 }

    @inline(__always)
    mutating func add(_ block: gk_block, to total: ExactSum.Sum) {
        if count == Self.most || bound != block.bound { flush(to: total) }
        bound = block.bound
        sums.0 &+= block.sums.0
        sums.1 &+= block.sums.1
        sums.2 &+= block.sums.2
        count &+= 1
    }

    @inline(never)
    mutating func flush(to total: ExactSum.Sum) {
        ExactSum.add(total, sums.0, exponent: Int(bound) &- unitDepth(1))
        ExactSum.add(total, sums.1, exponent: Int(bound) &- unitDepth(2))
        ExactSum.add(total, sums.2, exponent: Int(bound) &- unitDepth(3))
        sums = (0, 0, 0)
        count = 0
    }
}
