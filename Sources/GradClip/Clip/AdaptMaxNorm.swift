// The limit that a share of the examples stays below.

/// max_norm after a step towards the norm that a share `quantile` of the examples stays
/// below: max_norm * exp(-rate * (unclipped / examples - quantile)), arXiv 1905.03871.
@inline(never)
package func adapted(maxNorm: Double, unclipped: Double, examples: Double, quantile: Double, rate: Double) -> Double {
    let power = rate * (quantile - unclipped / examples)
    if power.magnitude > 1500 { return power < 0 ? 0 : .infinity }
    // 2^(power / ln 2) in fixed point: 53 bits of power times 64 of 1 / ln 2.
    let bits = NormValue(power.magnitude)
    let reciprocal: UInt64 = 0xb8aa_3b29_5c17_f0bc  // 2^63 / ln 2
    let product = bits.significand.multipliedFullWidth(by: reciprocal).high
    let shift = bits.exponent &+ 2
    let fixed = shift >= 0 ? Int128(product) &<< Int128(shift) : Int128(product >> UInt64(0 &- shift))
    let signed = power < 0 ? 0 &- fixed : fixed
    let value = NormValue(
        significand: NormValue.exponential(UInt64(truncatingIfNeeded: signed)),
        exponent: Int(truncatingIfNeeded: signed >> 64), sticky: true)
    return maxNorm * value.double
}
