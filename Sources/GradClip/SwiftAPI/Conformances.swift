// What makes options, results and errors at home in Swift. (Not beside the types: in
// the embedded library Strings and Hashable cost too much.)
#if !hasFeature(Embedded)

extension NonfinitePolicy: Hashable, CustomStringConvertible {
    public static func == (a: NonfinitePolicy, b: NonfinitePolicy) -> Bool { a.rawValue == b.rawValue }
    public func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }
    public var description: String { ["leave", "propagate", "zero"][Int(rawValue)] }
}

extension ClipResult {
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
