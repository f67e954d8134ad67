// What a chooser says of a step: the header's struct, which documents the fields.
import CGradClip

package typealias ChooserDecision = gradclip_decision

extension ChooserDecision {
    static var skip: UInt32 { UInt32(GRADCLIP_ACTION_SKIP) }

    /// A step that is taken as it is.
    package static var pass: ChooserDecision {
        var decision = ChooserDecision()
        decision.threshold = .infinity
        decision.clip_coef = 1
        return decision
    }

    mutating func multiply(by coefficient: Double) {
        clip_coef = coefficient
        action = UInt32(coefficient == 1 ? GRADCLIP_ACTION_PASS : GRADCLIP_ACTION_CLIP)
    }
}

/// How a step came out. The numbers are those of gradclip_status.
package enum ChooserVerdict: Int32 {
    case done = 0
    case nonfinite = 1
    case skip = 2
}
