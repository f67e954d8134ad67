// The report.
import CGradClip
import GradClip

@_cdecl("gradclip_inspect") @implementation
public func gradclip_inspect(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ norm_type: Double,
    _ options: UnsafePointer<gradclip_options>!, _ reports: UnsafeMutablePointer<gradclip_report>!,
    _ report_size: Int, _ result: UnsafeMutablePointer<gradclip_result>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let given = try Given(grads, count, options, result).checked()
        try check(normType: norm_type)
        if count > 0 && reports == nil { throw .null("reports") }
        let size = try sharedSize(
            UInt64(bitPattern: Int64(report_size)), own: MemoryLayout<gradclip_report>.size, "report_size", field: "")
        try given.slot.checkNoTensorNorms("must be NULL: the reports hold the norms")
        return given.slot.store(
            GradClip.inspect(
                given.grads, normType: norm_type, options: given.options, reports: reports, stride: report_size,
                size: size))
    }
}
