// The log of a training run: a line of CSV for every step, and warnings.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClip

@_cdecl("gradclip_monitor_init") @implementation @_optimize(size)
public func gradclip_monitor_init(_ monitor: UnsafeMutablePointer<gradclip_monitor>!, _ struct_size: Int)
    -> gradclip_status
{
    var fresh = gradclip_monitor()
    fresh.step = 1
    return initialise(monitor, struct_size, own: MemoryLayout<gradclip_monitor>.size, &fresh, "monitor")
}

@_cdecl("gradclip_monitor_log") @implementation @_optimize(size)
public func gradclip_monitor_log(
    _ monitor: UnsafeMutablePointer<gradclip_monitor>!, _ learning_rate: UnsafePointer<Double>!,
    _ loss: UnsafePointer<Double>!, _ result: UnsafePointer<gradclip_result>!
) -> gradclip_status {
    guard let monitor else { return ChooserOutcome.noMonitor.status() }
    guard let result else { return ChooserOutcome.noResult.status() }
    if monitor.pointee.struct_size &- UInt64(MemoryLayout<gradclip_monitor>.size) > 4096 {
        return ChooserOutcome.monitorSize.status()
    }
    if monitor.pointee.callback == nil { return ChooserOutcome.noCallback.status() }
    // (Its last field is not looked at.)
    if result.pointee.struct_size &- UInt64(MemoryLayout<gradclip_result>.size &- 8) > 4096 {
        return ChooserOutcome.resultSize.status()
    }
    var news = Line.header | Line.row
    if result.pointee.nonfinite_count > 0 { news |= Line.nonfinite }
    if result.pointee.total_norm == 0 { news |= Line.zero }
    if let loss, !loss.pointee.isFinite { news |= Line.lost }
    news &= ~monitor.pointee.said
    monitor.pointee.said |= news & ~Line.row
    let step = monitor.pointee.step
    monitor.pointee.step = step &+ 1
    var line = Line.header
    while line <= Line.lost {
        if news & line != 0 {
            // The callback is the host's and runs in the host's floating point environment.
            let environment = gk_float_environment_enter()
            write(line, step, learning_rate, loss, result)
            gk_float_environment_leave(environment)
            let kind = line <= Line.row ? GRADCLIP_LOG_CSV : GRADCLIP_LOG_WARNING
            monitor.pointee.callback(monitor.pointee.user_data, UInt32(kind), gk_thread_line())
        }
        line <<= 1
    }
    return 0
}

/// Lines in the order in which they are said; gradclip_monitor.said has their bits.
private enum Line {
    static var header: UInt32 { 1 }
    static var row: UInt32 { 2 }
    static var nonfinite: UInt32 { 4 }
    static var zero: UInt32 { 8 }
    static var lost: UInt32 { 16 }
}

@inline(never) @_optimize(size)
private func write(
    _ line: UInt32, _ step: UInt64, _ learning_rate: UnsafePointer<Double>?, _ loss: UnsafePointer<Double>?,
    _ result: UnsafePointer<gradclip_result>
) {
    var text = MessageWriter(gk_thread_line())
    if line == Line.header {
        text.append("step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element")
        return
    }
    let isNonfinite = result.pointee.nonfinite_count > 0
    if line == Line.row {
        text.append(unsigned: step)
        text.append(cell: result.pointee.total_norm)
        text.append(cell: result.pointee.clip_coef)
        text.append(cell: learning_rate?.pointee)
        text.append(cell: loss?.pointee)
        text.append(",")
        text.append(unsigned: result.pointee.nonfinite_count)
        text.append(",")
        if isNonfinite { text.append(unsigned: result.pointee.first_tensor) }
        text.append(",")
        if isNonfinite { text.append(unsigned: result.pointee.first_element) }
        return
    }
    text.append("step ")
    text.append(unsigned: step)
    if line != Line.nonfinite {
        text.append(line == Line.zero ? ": all gradients are zero" : ": the loss is NaN or infinite")
        return
    }
    text.append(": NaN or infinite gradients, elements: ")
    text.append(unsigned: result.pointee.nonfinite_count)
    text.append(", the first: element ")
    text.append(unsigned: result.pointee.first_element)
    text.append(" of tensor ")
    text.append(unsigned: result.pointee.first_tensor)
}

extension MessageWriter {
    /// A comma and a number; nothing behind it for nil.
    @inline(never) @_optimize(size)
    fileprivate mutating func append(cell value: Double?) {
        append(",")
        guard let value else { return }
        if value != value { append("nan") } else { append(number: value) }
    }
}
