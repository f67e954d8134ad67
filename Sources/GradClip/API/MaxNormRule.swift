// The rules of choosers of max_norm.
#if !hasFeature(Embedded)
import CGradClip

/// What a ``MaxNormChooser`` goes by; `gradclip.h` has the formulas and the papers.
public struct MaxNormRule: Sendable {
    var options: ChooserOptions

    private init(_ kind: UInt32, _ set: (inout ChooserOptions) -> Void) {
        options = ChooserOptions(kind: kind)
        set(&options)
    }

    /// AutoClip: a percentile of the norms so far.
    ///
    /// - Parameters:
    ///   - percentile: 0 to 100.
    ///   - window: of how many norms, up to 10^6; 0: of all.
    ///   - includesCurrent: whether this step's norm is among them (the paper).
    ///   - clipFactor: the threshold is this times the percentile; finite, `>= 0`.
    public static func autoClip(
        percentile: Double = 10, window: Int = 0, includesCurrent: Bool = true, clipFactor: Double = 1
    ) -> MaxNormRule {
        MaxNormRule(ChooserOptions.autoClip) {
            $0.percentile = percentile
            $0.window = number(window)
            $0.mode = includesCurrent ? 0 : 1
            $0.clip_factor = clipFactor
        }
    }

    /// What ZClip makes of a spike.
    public enum SpikeLimit: UInt32, Sendable {
        /// The threshold falls as the spike grows.
        case reciprocal = 0
        /// The mean.
        case mean = 1
        /// The mean and zThreshold deviations, which is what a spike is above, too.
        case deviations = 2
    }

    /// ZClip: spikes by their distance from the moving mean.
    public static func zClip(
        limit: SpikeLimit = .reciprocal, warmupSteps: Int = 25, decay: Double = 0.97, zThreshold: Double = 2.5,
        clipFactor: Double = 1, maxNorm: Double = .infinity, eps: Double = 1e-6, skipsUpdateOnSpike: Bool = false
    ) -> MaxNormRule {
        MaxNormRule(ChooserOptions.zClip) {
            $0.mode = limit.rawValue
            $0.warmup_steps = number(warmupSteps)
            $0.decay = decay
            $0.z_threshold = zThreshold
            $0.clip_factor = clipFactor
            $0.max_norm = maxNorm
            $0.eps = eps
            $0.skip_update_on_spike = skipsUpdateOnSpike ? 1 : 0
        }
    }

    /// AdaGC: each gradient by its own moving norm.
    public static func adaGC(
        warmupSteps: Int = 100, decay: Double = 0.98, lambdaRel: Double = 1.05, maxNorm: Double = 1,
        eps: Double = 1e-8
    ) -> MaxNormRule {
        MaxNormRule(ChooserOptions.adaGC) {
            $0.warmup_steps = number(warmupSteps)
            $0.decay = decay
            $0.lambda_rel = lambdaRel
            $0.max_norm = maxNorm
            $0.eps = eps
        }
    }

    /// SkipStep: leaves out steps whose norm or loss is an outlier.
    public static func skipStep(window: Int = 128, zThreshold: Double = 6) -> MaxNormRule {
        MaxNormRule(ChooserOptions.skipStep) {
            $0.window = number(window)
            $0.z_threshold = zThreshold
        }
    }

    /// A negative number is out of range, as the largest is.
    private static func number(_ value: Int) -> UInt64 { value < 0 ? .max : UInt64(value) }
}
#endif
