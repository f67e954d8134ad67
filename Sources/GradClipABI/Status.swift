// Status codes and the calling thread's last error message.
import CGradClip
import CGradClipKernels
import CGradClipSystem
import GradClip

/// Runs the body of a C function in the library's floating point environment and
/// turns an error into its status and message.
func call(_ body: () throws(ArgumentError) -> gradclip_status) -> gradclip_status {
    let environment = gk_float_environment_enter()
    defer { gk_float_environment_leave(environment) }
    do {
        return try body()
    } catch {
        return record(error)
    }
}

@inline(never)
func record(_ error: ArgumentError) -> gradclip_status {
    var message = MessageWriter(gk_thread_message())
    message.append(error.argument)
    if error.index >= 0 {
        message.append("[")
        message.append(integer: Int64(error.index))
        message.append("]")
    }
    message.append(error.field)
    message.append(" ")
    message.append(error.rule)
    switch error.value {
    case .none: break
    case .number(let value):
        message.append(" (got ")
        message.append(number: value)
        message.append(")")
    case .integer(let value):
        message.append(" (got ")
        message.append(integer: Int64(value))
        message.append(")")
    case .unsigned(let value):
        message.append(" (got ")
        message.append(unsigned: value)
        message.append(")")
    case .null:
        message.append(" (got NULL)")
    case .pointer:
        message.append(" (got a pointer)")
    }
    switch error.reason {
    case .invalid: return gradclip_status(GRADCLIP_ERROR_INVALID_ARGUMENT)
    case .unsupported: return gradclip_status(GRADCLIP_ERROR_UNSUPPORTED)
    case .outOfMemory: return gradclip_status(GRADCLIP_ERROR_OUT_OF_MEMORY)
    case .badData: return gradclip_status(GRADCLIP_ERROR_BAD_DATA)
    }
}

/// Writes text into GK_MESSAGE bytes, cutting it off where the room ends.
struct MessageWriter {
    private let start: UnsafeMutablePointer<CChar>
    private var length = 0

    init(_ start: UnsafeMutablePointer<CChar>!) {
        self.start = start
        start[0] = 0
    }

    @inline(never) mutating func append(byte: UInt8) {
        if length &+ 1 >= Int(GK_MESSAGE) { return }
        start[length] = CChar(bitPattern: byte)
        length &+= 1
        start[length] = 0
    }

    @inline(never) mutating func append(_ text: StaticString) {
        for i in 0..<text.utf8CodeUnitCount { append(byte: text.utf8Start[i]) }
    }

    @inline(never) mutating func append(unsigned value: UInt64) {
        if value >= 10 { append(unsigned: value / 10) }
        append(byte: UInt8(truncatingIfNeeded: 48 &+ value % 10))
    }

    @inline(never) mutating func append(integer value: Int64) {
        if value < 0 { append("-") }
        append(unsigned: value.magnitude)
    }

    /// The shortest of %.6g, %.15g, %.17g that reads back as the value.
    @inline(never) mutating func append(number value: Double) {
        let room = start + length
        let size = Int(GK_MESSAGE) &- length
        if gk_format_double(room, size, 6, value) || gk_format_double(room, size, 15, value) {
        } else {
            _ = gk_format_double(room, size, 17, value)
        }
        while start[length] != 0 { length &+= 1 }
    }
}

@_cdecl("gradclip_last_error") @implementation
public func gradclip_last_error() -> UnsafePointer<CChar>! { UnsafePointer(gk_thread_message()) }

@_cdecl("gradclip_status_string") @implementation
public func gradclip_status_string(_ status: gradclip_status) -> UnsafePointer<CChar>! {
    let text: StaticString =
        switch Int(status) {
        case GRADCLIP_OK: "ok"
        case GRADCLIP_NON_FINITE: "non-finite gradients"
        case GRADCLIP_SKIP_STEP: "step to be skipped"
        case GRADCLIP_ERROR_INVALID_ARGUMENT: "invalid argument"
        case GRADCLIP_ERROR_UNSUPPORTED: "unsupported"
        case GRADCLIP_ERROR_OUT_OF_MEMORY: "out of memory"
        case GRADCLIP_ERROR_BAD_DATA: "bad data"
        default: "unknown status"
        }
    return text.cString
}

extension StaticString {
    var cString: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}
