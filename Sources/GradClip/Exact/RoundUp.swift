// Norms that are rounded up, for bounds that must hold.

extension NormValue {
    /// The next float64 at or above, subnormal ones included; two more places if the value
    /// itself is not exact.
    @inline(never) mutating func roundUp(isExact: Bool) {
        let rest: UInt64 = (1 << UInt64(min(63, 11 &+ max(0, -1022 &- exponent)))) &- 1
        if significand == 0 || isExact && significand & rest == 0 && !sticky { return }
        let (more, carries) = significand.addingReportingOverflow(isExact ? 0 : 0x1000)
        let (sum, carriesToo) = (more | rest).addingReportingOverflow(1)
        significand = sum & ~rest
        if carries || carriesToo {
            significand = isExact ? 1 << 63 : 1 << 63 | 0x1000
            exponent &+= 1
        }
        sticky = false
    }
}
