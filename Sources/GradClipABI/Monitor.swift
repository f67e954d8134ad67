// The log of a training run: a line of CSV for every step, and warnings.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClip

@_cdecl("gradclip_monitor_init") @implementation
public func gradclip_monitor_init(_ monitor: UnsafeMutablePointer<gradclip_monitor>!, _ struct_size: Int)
    -> gradclip_status
{
    var fresh = gradclip_monitor()
    fresh.step = 1
    return initialise(monitor, struct_size, own: MemoryLayout<gradclip_monitor>.size, &fresh, "monitor")
}

/// What a step is logged from, however much of the structs the caller knows.
private struct Step {
    var monitor = gradclip_monitor()
    var result = gradclip_result()
    var decision: gradclip_decision?
    let learningRate: Double?
    let loss: Double?

    init(
        _ monitor: UnsafePointer<gradclip_monitor>?, _ learningRate: UnsafePointer<Double>?,
        _ loss: UnsafePointer<Double>?, _ result: UnsafePointer<gradclip_result>?,
        _ decision: UnsafePointer<gradclip_decision>?
    ) throws(ArgumentError) {
        self.learningRate = learningRate?.pointee
        self.loss = loss?.pointee
        guard let monitor else { throw .null("monitor") }
        guard let result else { throw .null("result") }
        try read(monitor, &self.monitor, own: MemoryLayout<gradclip_monitor>.size, "monitor")
        if self.monitor.callback == nil {
            throw ArgumentError("monitor", "must not be NULL", .null, field: ".callback")
        }
        // A call leaves GRADCLIP_NONE where nothing is not finite; gradclip_result_init() leaves 0.
        self.result.first_tensor = UInt64.max
        try read(result, &self.result, own: MemoryLayout<gradclip_result>.size, "result")
        if self.result.nonfinite_count == 0 && self.result.first_tensor != UInt64.max {
            throw ArgumentError("result", "must have been filled by a call that was not refused", .none)
        }
        if let decision {
            var known = gradclip_decision()
            try read(decision, &known, own: MemoryLayout<gradclip_decision>.size, "decision")
            if known.action > 2 {
                throw ArgumentError(
                    "decision", "must be a GRADCLIP_ACTION_", .unsigned(UInt64(known.action)), field: ".action")
            }
            self.decision = known
        }
    }
}

@_cdecl("gradclip_monitor_log") @implementation
public func gradclip_monitor_log(
    _ monitor: UnsafeMutablePointer<gradclip_monitor>!, _ learning_rate: UnsafePointer<Double>!,
    _ loss: UnsafePointer<Double>!, _ result: UnsafePointer<gradclip_result>!,
    _ decision: UnsafePointer<gradclip_decision>!
) -> gradclip_status {
    var step: Step?
    var news: UInt32 = 0
    let status = call { () throws(ArgumentError) in
        let given = try Step(monitor, learning_rate, loss, result, decision)
        news = Line.header | Line.row
        if given.result.nonfinite_count > 0 { news |= Line.nonfinite }
        if given.result.total_norm == 0 { news |= Line.zero }
        if let loss = given.loss, !loss.isFinite { news |= Line.lost }
        news &= ~given.monitor.said
        step = given
        return 0
    }
    guard var step else { return status }
    step.monitor.said |= news & ~Line.row
    let number = step.monitor.step
    step.monitor.step = number &+ 1
    UnsafeMutableRawPointer(monitor).copyMemory(
        from: &step.monitor, byteCount: min(Int(step.monitor.struct_size), MemoryLayout<gradclip_monitor>.size))
    var line = Line.header
    while line <= Line.lost {
        if news & line != 0 {
            // The callback is the host's and runs in the host's floating point environment.
            let environment = gk_float_environment_enter()
            write(line, number, step)
            gk_float_environment_leave(environment)
            let kind = line <= Line.row ? GRADCLIP_LOG_CSV : GRADCLIP_LOG_WARNING
            step.monitor.callback(step.monitor.user_data, UInt32(kind), gk_thread_line())
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

private func write(_ line: UInt32, _ number: UInt64, _ step: Step) {
    let result = step.result
    var text = MessageWriter(gk_thread_line())
    if line == Line.header {
        text.append("step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element")
        text.append(",threshold,action")
        return
    }
    let isNonfinite = result.nonfinite_count > 0
    if line == Line.row {
        text.append(unsigned: number)
        text.append(cell: result.total_norm)
        text.append(cell: result.clip_coef)
        text.append(cell: step.learningRate)
        text.append(cell: step.loss)
        text.append(",")
        text.append(unsigned: result.nonfinite_count)
        text.append(",")
        if isNonfinite { text.append(unsigned: result.first_tensor) }
        text.append(",")
        if isNonfinite { text.append(unsigned: result.first_element) }
        text.append(cell: step.decision?.threshold)
        text.append(",")
        switch step.decision?.action {
        case 0: text.append("pass")
        case 1: text.append("clip")
        case 2: text.append("skip")
        default: break
        }
        return
    }
    text.append("step ")
    text.append(unsigned: number)
    if line != Line.nonfinite {
        text.append(line == Line.zero ? ": all gradients are zero" : ": the loss is NaN or infinite")
        return
    }
    text.append(": NaN or infinite gradients, elements: ")
    text.append(unsigned: result.nonfinite_count)
    text.append(", the first: element ")
    text.append(unsigned: result.first_element)
    text.append(" of tensor ")
    text.append(unsigned: result.first_tensor)
}

extension MessageWriter {
    /// A comma and a number; nothing behind it for nil.
    fileprivate mutating func append(cell value: Double?) {
        append(",")
        guard let value else { return }
        if value != value { append("nan") } else { append(number: value) }
    }
}
