// What makes options, results and errors at home in Swift. (Not beside the types: in
// the embedded library Strings and Hashable cost too much.)
#if !hasFeature(Embedded)

extension NonfinitePolicy: Hashable, CustomStringConvertible {
    public static func == (a: NonfinitePolicy, b: NonfinitePolicy) -> Bool { a.rawValue == b.rawValue }
    public func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }
    public var description: String { ["leave", "propagate", "zero"][Int(rawValue)] }
}

/// Gradients have a NaN or an infinity, and ``ClipOptions/nonfinite`` names no policy that
/// takes care of them. Nothing was written: skip the step.
public struct NonfiniteError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What was found: ``ClipResult/firstNonfinite`` says where.
    public let result: ClipResult

    public var description: String {
        guard let first = result.firstNonfinite else { return "the norm or the loss is not finite" }
        return "\(result.nonfiniteCount) elements are not finite (\(result.nanCount) NaN): the first is element "
            + "\(first.element) of gradient \(first.gradient)"
    }
}

extension NonfinitePolicy: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let policy = NonfinitePolicy(rawValue: try container.decode(UInt32.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "no policy has this number")
        }
        self = policy
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }
}

extension ClipOptions {
    /// The defaults, but for what is given.
    public init(
        eps: Double = 1e-6, gradScale: Double = 1, nonfinite: NonfinitePolicy = .leave, exactFloat64: Bool = false,
        threads: Int = 0
    ) {
        self.init()
        self.eps = eps
        self.gradScale = gradScale
        self.nonfinite = nonfinite
        self.exactFloat64 = exactFloat64
        self.threads = threads
    }
}

extension ClipResult {
    /// The result of a call that writes, or its error.
    func checked() throws -> ClipResult {
        if isNonfinite { throw NonfiniteError(result: self) }
        return self
    }

    /// The result of a call that measures: under a policy that is named it is what that makes of
    /// the gradients.
    func checkedNorm(_ options: ClipOptions) throws -> ClipResult {
        if nonfiniteCount > 0 && options.nonfinite == .leave { throw NonfiniteError(result: self) }
        return self
    }

    /// The result of a deferred call: the caller reads the gradients as they are, so that only
    /// ``NonfinitePolicy/propagate`` takes care of what is not finite.
    func checkedDeferred(_ options: ClipOptions) throws -> ClipResult {
        if nonfiniteCount > 0 && options.nonfinite != .propagate { throw NonfiniteError(result: self) }
        return self
    }

    /// Whether the norm was above the limit.
    public var isClipped: Bool { clipCoef < 1 }

    /// The first NaN or infinity in list order: which gradient, and which of its
    /// elements. Nil if all counted elements are finite.
    public var firstNonfinite: (gradient: Int, element: Int)? {
        firstTensor == .max ? nil : (Int(firstTensor), Int(firstElement))
    }
}

extension ArgumentError: CustomStringConvertible {
    /// "maxNorm must be a number >= 0 (got -1.0)".
    public var description: String {
        // The rules are written for C, whose names have underscores.
        let words = "\(argument)".split(separator: "_")
        var text = words.dropFirst().reduce(String(words.first ?? "")) {
            $0 + $1.prefix(1).uppercased() + $1.dropFirst()
        }
        if index >= 0 { text += "[\(index)]" }
        text += "\(field) \(rule)"
        switch value {
        case .none: return text
        case .number(let number): return text + " (got \(number))"
        case .integer(let number): return text + " (got \(number))"
        case .unsigned(let number): return text + " (got \(number))"
        case .null: return text + " (got nil)"
        case .pointer: return text + " (got a pointer)"
        }
    }
}
#endif
