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
        let list = try tensorList(grads, count, "grads")
        try check(normType: norm_type)
        let options = try GradClipABI.options(options)
        if count > 0 && reports == nil { throw .null("reports") }
        let size = try sharedSize(
            UInt64(bitPattern: Int64(report_size)), own: MemoryLayout<TensorReport>.size, "report_size", field: "")
        let slot = try ResultSlot(result)
        if slot.tensorNorms != nil {
            throw ArgumentError("result", "must be NULL: the reports hold the norms", .pointer, field: ".tensor_norms")
        }
        return slot.store(
            GradClip.inspect(
                list, normType: norm_type, options: options, reports: reports, stride: report_size, size: size))
    }
}
