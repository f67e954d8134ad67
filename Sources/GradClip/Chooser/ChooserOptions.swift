// What a chooser is made of: the header's struct, which documents the fields.
import CGradClip

package typealias ChooserOptions = gradclip_chooser_options

extension ChooserOptions {
    static var autoClip: UInt32 { UInt32(GRADCLIP_AUTOCLIP) }
    static var zClip: UInt32 { UInt32(GRADCLIP_ZCLIP) }
    static var adaGC: UInt32 { UInt32(GRADCLIP_ADAGC) }
    static var skipStep: UInt32 { UInt32(GRADCLIP_SKIPSTEP) }

    /// The defaults of a kind.
    package init(kind: UInt32) {
        self.init(
            struct_size: UInt64(MemoryLayout<ChooserOptions>.size), kind: kind, mode: 0, window: 0, warmup_steps: 0,
            percentile: 10, decay: 0.97, z_threshold: 2.5, max_norm: .infinity, lambda_rel: 1.05, clip_factor: 1,
            eps: 1e-6, skip_update_on_spike: 0, reserved: 0)
        if kind == Self.zClip { warmup_steps = 25 }
        if kind == Self.adaGC {
            warmup_steps = 100
            decay = 0.98
            max_norm = 1
            eps = 1e-8
        }
        if kind == Self.skipStep {
            window = 128
            z_threshold = 6
        }
    }

    /// Every field is in its range, whether this kind uses it or not.
    package func check() throws(ArgumentError) {
        if kind &- 1 > 3 {
            throw ArgumentError("kind", "must be GRADCLIP_AUTOCLIP to SKIPSTEP", .unsigned(UInt64(kind)))
        }
        if mode > (kind == Self.autoClip ? 1 : kind == Self.zClip ? 2 : 0) {
            throw ArgumentError("mode", "is none of this kind", .unsigned(UInt64(mode)))
        }
        if window > UInt64(History.limit) || kind == Self.skipStep && window < 2 {
            throw ArgumentError("window", "must be at most 10^6, and for SKIPSTEP at least 2", .unsigned(window))
        }
        if !(percentile >= 0 && percentile <= 100) {
            throw ArgumentError("percentile", "must be between 0 and 100", .number(percentile))
        }
        if !(decay >= 0 && decay <= 1) { throw ArgumentError("decay", "must be between 0 and 1", .number(decay)) }
        try GradClip.check(proper: z_threshold, "z_threshold")
        try GradClip.check(maxNorm: max_norm)
        try GradClip.check(proper: lambda_rel, "lambda_rel")
        try GradClip.check(proper: clip_factor, "clip_factor")
        try GradClip.check(eps: eps)
        if skip_update_on_spike > 1 {
            throw ArgumentError("skip_update_on_spike", "must be 0 or 1", .unsigned(UInt64(skip_update_on_spike)))
        }
        if reserved != 0 { throw ArgumentError("reserved", "must be 0", .unsigned(UInt64(reserved))) }
    }
}
