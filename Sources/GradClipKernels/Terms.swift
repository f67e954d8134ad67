// What is summed: |x|^p for the orders that need no power function.

import CGradClipKernels

protocol Term {
    /// 2p.
    static var twiceOrder: Int { get }
    static func apply(_ x: SIMD8<Double>) -> SIMD8<Double>
}

/// A term chosen per call rather than per loop: for the orders that are asked for
/// so rarely that a loop of their own is not worth its size, and at the baseline for all.
enum AnyTerm {
    @inline(never) @_optimize(speed) static func apply(_ x: SIMD8<Double>, _ term: Int) -> SIMD8<Double> {
        switch term {
        #if !GRADCLIP_HARDWARE_F16
        case GK_ABS: Absolute.apply(x)
        case GK_SQUARE: Square.apply(x)
        #endif
        case GK_CUBE: Cube.apply(x)
        case GK_FOURTH: Fourth.apply(x)
        case GK_ROOT: Root.apply(x)
        default: ThreeHalves.apply(x)
        }
    }
}

enum Absolute: Term {
    @inline(__always) static var twiceOrder: Int { 2 }
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { magnitude(x) }
}

enum Square: Term {
    @inline(__always) static var twiceOrder: Int { 4 }
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { x * x }
}

enum Cube: Term {
    @inline(__always) static var twiceOrder: Int { 6 }
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { x * x * magnitude(x) }
}

enum Fourth: Term {
    @inline(__always) static var twiceOrder: Int { 8 }
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> {
        let square = x * x
        return square * square
    }
}

enum Root: Term {
    @inline(__always) static var twiceOrder: Int { 1 }
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { gk_square_root_f64(magnitude(x)) }
}

enum ThreeHalves: Term {
    @inline(__always) static var twiceOrder: Int { 3 }
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> {
        let size = magnitude(x)
        return size * gk_square_root_f64(size)
    }
}
