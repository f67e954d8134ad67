// What a list adds up to, and what is found of it in the end.
import CGradClipKernels
import GradClipKernels

/// An element of a list: its tensor, and its place there.
struct Place {
    var tensor: UInt64
    var element: UInt64

    static var none: Place { Place(tensor: .max, element: .max) }
    var isNone: Bool { tensor == .max }

    static func < (a: Place, b: Place) -> Bool { (a.tensor, a.element) < (b.tensor, b.element) }

    /// Becomes the other one if that comes before it.
    mutating func note(_ other: Place) { if other < self { self = other } }
}

/// What tensors add up to, from one thread or from all.
struct Total {
    var sums: Partial
    /// Of all counted elements the first that is not finite.
    var first = Place.none
    /// Tensors whose norm is not 0; counted where each tensor's norm is asked for.
    var nonzeroTensors: UInt64 = 0

    /// - Parameter wide: zeroed memory for an exact sum of float64 terms, or nil.
    init(_ type: NormType, wide: UnsafeMutablePointer<gk_wide_limbs>?) {
        self.init(type, limbs: UnsafeMutableRawPointer(wide)?.assumingMemoryBound(to: Int64.self))
    }

    init(_ type: NormType, limbs: UnsafeMutablePointer<Int64>?, scratch: UnsafeMutableRawPointer? = nil) {
        sums = Partial(type, scratch: scratch, wide: limbs)
    }

    mutating func merge(_ other: inout Total) {
        sums.merge(&other.sums)
        first.note(other.first)
        nonzeroTensors &+= other.nonzeroTensors
    }

    /// The norm of p = 0 counts tensors, that of any other order is made of the sums: more may be added only
    /// to those of p = 0 afterwards, or where float64 terms are summed exactly.
    mutating func finding(omitsNonfinite: Bool) -> Finding {
        Finding(
            norm: sums.type.power == 0 ? .count(nonzeroTensors) : sums.norm(omitsNonfinite: omitsNonfinite),
            nonfiniteCount: sums.nonfinite, nanCount: sums.nan, first: first)
    }
}

/// What was found of a list.
struct Finding {
    var norm: NormValue
    var nonfiniteCount: UInt64
    var nanCount: UInt64
    var first: Place
}
