// What a chooser of max_norm says of a step.
#if !hasFeature(Embedded)

/// A chooser's decision about a step.
public struct MaxNormDecision: Sendable, Equatable {
    /// What is to be done with the step.
    public enum Action: UInt32, Sendable {
        /// Take the gradients as they are.
        case pass = 0
        /// Multiply them by ``MaxNormDecision/clipCoef``.
        case clip = 1
        /// Leave the step out.
        case skip = 2
    }

    public let action: Action
    /// The limit of this step; infinite if there is none.
    public let threshold: Double
    /// Between 0 and 1; of AdaGC's the smallest; 1 if the step is skipped.
    public let clipCoef: Double
    /// What ZClip and SkipStep went by.
    public let mean: Double
    public let deviation: Double
    /// Norms that entered the history so far.
    public let steps: Int
    /// Whether this one did.
    public let isRecorded: Bool
    /// AdaGC's, of each gradient; otherwise empty.
    public let tensorThresholds: [Double]
    public let tensorCoefs: [Double]
}

/// A ``MaxNormChooser`` found the step an outlier. Nothing was written: skip the step.
public struct SkipStepError: Error, Sendable, Equatable, CustomStringConvertible {
    public let result: ClipResult
    public let decision: MaxNormDecision

    public var description: String {
        "the step is an outlier: norm \(result.totalNorm), threshold \(decision.threshold)"
    }
}
#endif
