// Options and results of the engine, and of the Swift API.

/// What to do about NaN and infinities among the gradients.
///
/// (A struct, not an enum: an enum would be Hashable, whose seed needs a C function
/// that old systems lack.)
public struct NonfinitePolicy: Sendable {
    package let rawValue: UInt32

    /// Nil for a number that is no policy.
    package init?(rawValue: UInt32) {
        if rawValue > 2 { return nil }
        self.rawValue = rawValue
    }

    private init(_ rawValue: UInt32) { self.rawValue = rawValue }

    /// Write nothing, and say so: the default.
    public static var leave: NonfinitePolicy { NonfinitePolicy(0) }
    /// Multiply by the coefficient of the non-finite norm, as torch does.
    public static var propagate: NonfinitePolicy { NonfinitePolicy(1) }
    /// Leave them out of the norm and replace them by 0.
    public static var zero: NonfinitePolicy { NonfinitePolicy(2) }

    #if hasFeature(Embedded)
    package static func == (a: NonfinitePolicy, b: NonfinitePolicy) -> Bool { a.rawValue == b.rawValue }
    #endif
}

/// What may differ from call to call beside the gradients.
public struct ClipOptions: Sendable {
    /// Added to the total norm in the coefficient. Finite, >= 0.
    public var eps = 1e-6
    /// What the gradients are still multiplied by (loss scaling). Finite, > 2^-1024.
    public var gradScale = 1.0
    /// What to do about NaN and infinities.
    public var nonfinite = NonfinitePolicy.leave
    /// Sum float64 gradients exactly too, for p = 1 and 2.
    public var exactFloat64 = false
    /// Threads to use at most; 0: as many as the process may use.
    public var threads = 0

    public init() {}
}

/// What a call found and did.
public struct ClipResult: Sendable {
    /// The norm before clipping, of gradient / gradScale.
    public var totalNorm = 0.0
    /// Between 0 and 1; 1 if nothing was clipped.
    public var clipCoef = 1.0
    /// What elements were multiplied by: clipCoef / gradScale.
    public var factor = 1.0
    /// How many counted elements are NaN or infinite.
    public var nonfiniteCount: UInt64 = 0
    /// How many of those are NaN.
    public var nanCount: UInt64 = 0
    /// The gradient with the first non-finite element in list order; `UInt64.max` if
    /// there is none.
    public var firstTensor = UInt64.max
    /// The index of that element.
    public var firstElement = UInt64.max
    /// Non-finite gradients were found and left alone: nothing was written.
    public var isNonfinite = false

    public init() {}
}

#if !hasFeature(Embedded)
// More that Swift callers expect is in SwiftAPI/Conformances.swift.
extension ClipOptions: Equatable, Codable {}
extension ClipResult: Equatable {}
#endif
