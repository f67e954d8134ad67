// All that is known of an element type. Each switch has a case for every type: one more is an
// error in every place that must know it.
import CGradClipKernels

extension DType {
    /// The type that a number of the C interface stands for, if there is one.
    package init?(_ number: UInt32) {
        guard (DType.float32.rawValue...DType.bfloat16.rawValue).contains(number) else { return nil }
        self = DType(rawValue: number).unsafelyUnwrapped
    }

    /// Bytes of an element.
    @inline(__always) package var size: Int {
        switch self {
        case .float32: 4
        case .float64: 8
        case .float16, .bfloat16: 2
        }
    }

    /// Bits of a significand, the implicit one included.
    var significandBits: Int {
        switch self {
        case .float32: 24
        case .float64: 53
        case .float16: 11
        case .bfloat16: 8
        }
    }

    /// Whether |x| and x^2 are exact in float64, and each value in float32.
    @inline(__always) var isNarrow: Bool {
        switch self {
        case .float32, .float16, .bfloat16: true
        case .float64: false
        }
    }

    /// Whether squares may be summed in fixed point (FixedPoint.swift).
    @inline(__always) var isHalf: Bool {
        switch self {
        case .float16, .bfloat16: true
        case .float32, .float64: false
        }
    }
}
