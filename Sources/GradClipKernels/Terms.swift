// What is summed: |x|^p for the orders that need no power function.

import CGradClipKernels

protocol Term {
    static func apply(_ x: SIMD8<Double>) -> SIMD8<Double>
}

enum Absolute: Term {
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { magnitude(x) }
}

enum Square: Term {
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { x * x }
}

enum Cube: Term {
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { x * x * magnitude(x) }
}

enum Fourth: Term {
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> {
        let square = x * x
        return square * square
    }
}

enum Root: Term {
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> { gk_square_root_f64(magnitude(x)) }
}

enum ThreeHalves: Term {
    @inline(__always) static func apply(_ x: SIMD8<Double>) -> SIMD8<Double> {
        let size = magnitude(x)
        return size * gk_square_root_f64(size)
    }
}
