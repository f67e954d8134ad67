// A sum over all bits that terms of float64 elements can have, for p = 1 and 2: fixed limbs.
import CGradClipKernels

package struct WideSum {
    let limbs: UnsafeMutablePointer<Int64>
    /// Additions since carries were last propagated.
    private var pending: UInt64 = 0

    /// `limbs` are GK_WIDE_LIMBS, and zero.
    init(_ limbs: UnsafeMutablePointer<Int64>) { self.limbs = limbs }

    /// Adds value * 2^exponent. |value| < 2^62.
    mutating func add(_ value: Int64, exponent: Int) {
        ExactSum.addPieces(limbs, base: Int(GK_WIDE_BASE), value, exponent: exponent)
        pending &+= 1
        if pending >= 1 << 22 { propagate() }
    }

    mutating func propagate() {
        ExactSum.propagate(limbs, count: Int(GK_WIDE_LIMBS))
        pending = 1
    }

    mutating func clear() {
        for i in 0..<Int(GK_WIDE_LIMBS) { limbs[i] = 0 }
        pending = 0
    }

    /// Adds limbs whose carries are propagated, the lowest at bin `base`.
    mutating func merge(_ others: UnsafePointer<Int64>, count: Int, base: Int) {
        propagate()
        for i in 0..<count { limbs[base &- Int(GK_WIDE_BASE) &+ i] &+= others[i] }
        propagate()
    }
}
