// The log of a training run, for Swift callers.
#if !hasFeature(Embedded)

/// Writes the log of a training run: a line of CSV for every step, which `gradclip advise` reads,
/// and a warning the first time that a gradient is not finite, that all are zero, that the loss is
/// not finite.
///
/// ```swift
/// var monitor = TrainingMonitor { kind, line in print(line, to: &file) }
/// do {
///     monitor.log(try clipGradNorm(&gradients, maxNorm: 1), learningRate: rate, loss: loss)
/// } catch let error as NonfiniteError {
///     monitor.log(error.result, learningRate: rate, loss: loss)
/// }
/// ```
public struct TrainingMonitor {
    /// What a line is.
    public enum Line: Sendable {
        /// The header or a line of the CSV.
        case csv
        /// A sentence that names the step, and gradient and element.
        case warning
    }

    /// What was said already; save it, with the step, to go on with a log.
    public struct Said: OptionSet, Sendable, Codable {
        public let rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        /// The header; set it to append to a file that has one.
        public static let header = Said(rawValue: 1)
        public static let nonfinite = Said(rawValue: 4)
        public static let allZero = Said(rawValue: 8)
        public static let loss = Said(rawValue: 16)
    }

    /// The number of the next step.
    public var step: UInt64
    public var said: Said
    private let write: (Line, String) -> Void

    /// - Parameters:
    ///   - step: the number of the first step.
    ///   - said: what was said already.
    ///   - write: takes lines, which have no newline at their end.
    public init(step: UInt64 = 1, said: Said = [], write: @escaping (Line, String) -> Void) {
        self.step = step
        self.said = said
        self.write = write
    }

    /// Logs a step: what clipping it found (a ``NonfiniteError`` holds that, too), its learning rate
    /// its loss, and what a chooser decided; nil leaves cells blank.
    public mutating func log(
        _ result: ClipResult, learningRate: Double? = nil, loss: Double? = nil, decision: MaxNormDecision? = nil
    ) {
        let number = step
        step &+= 1
        let first = result.firstNonfinite
        if isNews(.header) {
            write(
                .csv,
                "step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element,threshold,action"
            )
        }
        let cells = [result.totalNorm, result.clipCoef, learningRate, loss].map { $0.map(Self.text) ?? "" }
        let decided = decision.map { "\(Self.text($0.threshold)),\($0.action)" } ?? ","
        let place = first.map { "\($0.gradient),\($0.element)" } ?? ","
        write(.csv, "\(number),\(cells.joined(separator: ",")),\(result.nonfiniteCount),\(place),\(decided)")
        if let first, isNews(.nonfinite) {
            write(
                .warning,
                "step \(number): NaN or infinite gradients, elements: \(result.nonfiniteCount), "
                    + "the first: element \(first.element) of tensor \(first.gradient)")
        }
        if result.totalNorm == 0 && isNews(.allZero) { write(.warning, "step \(number): all gradients are zero") }
        if let loss, !loss.isFinite, isNews(.loss) { write(.warning, "step \(number): the loss is NaN or infinite") }
    }

    private mutating func isNews(_ what: Said) -> Bool { said.insert(what).inserted }

    private static func text(_ value: Double) -> String {
        let text = value.isNaN ? "nan" : "\(value)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}
#endif
