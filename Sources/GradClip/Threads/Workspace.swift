// The memory of one thread of a pass, and what lies where in it; the header of the kernels has the sizes.
import CGradClipKernels
import GradClipKernels

struct Workspace {
    /// GK_WORKSPACE bytes, aligned to 64. They begin with GK_SCRATCH bytes for one block; behind those are the tables
    /// of powers.
    let start: UnsafeMutableRawPointer

    init(_ start: UnsafeMutableRawPointer?) { self.start = start.unsafelyUnwrapped }

    /// Zeroed limbs of an exact sum of float64 terms: `index` 0 or 1.
    func wideLimbs(_ index: Int) -> UnsafeMutablePointer<Int64> {
        let first = (start + Int(GK_SCRATCH + GK_TABLES)).assumingMemoryBound(to: Int64.self)
        let limbs = first + index &* Int(GK_WIDE_LIMBS)
        for i in 0..<Int(GK_WIDE_LIMBS) { limbs[i] = 0 }
        return limbs
    }

    /// Room for what is known of GK_TILE_COLUMNS columns, and of two more. (GK_PARTIAL bytes hold a Partial.)
    var partials: UnsafeMutablePointer<Partial> {
        (start + Int(GK_WORKSPACE - GK_PARTIALS)).assumingMemoryBound(to: Partial.self)
    }

    /// The same room, where a pass needs no more: a total, and at the end GK_GATHERED bytes.
    var total: UnsafeMutablePointer<Total> {
        (start + Int(GK_WORKSPACE - GK_PARTIALS)).assumingMemoryBound(to: Total.self)
    }
    var gathered: UnsafeMutableRawPointer { start + Int(GK_WORKSPACE - GK_GATHERED) }

    /// Room for GK_DIFFERENCES float64 and sixteen more, behind the total.
    var differences: UnsafeMutableRawPointer { start + Int(GK_WORKSPACE - GK_PARTIALS + GK_PARTIAL) }

    /// GK_TILE bytes at the end of the scratch memory, in which columns become rows.
    var tile: UnsafeMutableRawPointer { start + Int(GK_SCRATCH - GK_TILE) }
}
