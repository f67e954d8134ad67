// The order of a norm.
import CGradClipKernels

/// The order p of a norm, and how its terms are summed.
struct NormType {
    let power: Double
    let term: TermKind

    init(_ power: Double) {
        // Beyond this p the norm differs from the largest (smallest) magnitude by
        // less than a part in 10^13.
        let limit = 0x1p50
        self.power = power >= limit ? .infinity : power <= -limit ? -.infinity : power == 0 ? 0 : power
        switch self.power {
        case 0, .infinity, -.infinity: term = .nothing
        case 1: term = .absolute
        case 2: term = .square
        case 3: term = .cube
        case 4: term = .fourth
        case 0.5: term = .root
        case 1.5: term = .threeHalves
        default: term = .power
        }
    }

    /// 2p, for orders that have a term of their own.
    var twiceOrder: Int {
        switch term {
        case .absolute: 2
        case .square: 4
        case .cube: 6
        case .fourth: 8
        case .root: 1
        case .threeHalves: 3
        case .nothing, .power: 0
        }
    }

    /// p = 1 and 2.
    var hasExactSum: Bool { term == .absolute || term == .square }
}
