// Sums in integers, element by element, for what kernels sum.
import CGradClipKernels

@testable import GradClip

/// The limbs of a sum, with carries where they belong.
func limbs(_ sum: gk_sum) -> [Int64] {
    var sum = sum
    ExactSum.propagate(&sum)
    return withUnsafeBytes(of: &sum.limbs) { Array($0.bindMemory(to: Int64.self)) }
}

/// The sum of |x| or of x^2 over finite elements.
func expected(_ values: [Float], order: Int) -> [Int64] {
    var sum = gk_sum()
    ExactSum.clear(&sum, base: ExactSum.fixedBase)
    for value in values where value.isFinite && value != 0 {
        let field = max(1, Int(value.exponentBitPattern))
        let significand = Int64(value.significandBitPattern) | (value.isSubnormal ? 0 : 1 << 23)
        ExactSum.add(&sum, order == 2 ? significand * significand : significand, exponent: order * (field - 150))
    }
    return limbs(sum)
}
