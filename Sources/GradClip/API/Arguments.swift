// The rules for arguments, each in one place. The C functions and the Swift API
// check against these before anything is done.

import CGradClipSystem

/// An argument that is out of range: its name, its rule, its value.
///
/// A call that throws it has written nothing.
public struct ArgumentError: Error, Sendable {
    /// What kind of error it is.
    public enum Reason: Sendable {
        // (The payloads keep the enum from being Hashable; see NonfinitePolicy.)
        case invalid(Void = ())
        case unsupported(Void = ())
        case outOfMemory(Void = ())
        case badData(Void = ())
    }
    /// A value that was given.
    public enum Value: Sendable {
        case none
        case number(Double)
        case integer(Int)
        case unsigned(UInt64)
        case null
        /// A pointer that is not NULL where it must be.
        case pointer

        /// A size_t, whose upper half Int shows as negative.
        package static func size(_ value: Int) -> Value { .unsigned(UInt64(bitPattern: Int64(value))) }
    }

    #if hasFeature(Embedded)
    // In the C library an error is thrown in a hundred places and passed on in as many:
    // it is small, and what it says lies in memory of the calling thread.
    private let isError = true

    private struct Text {
        let reason: Reason
        let argument: StaticString
        let index: Int
        let field: StaticString
        let rule: StaticString
        let value: Value
    }

    private var text: UnsafeMutablePointer<Text> {
        gk_thread_refusal().unsafelyUnwrapped.assumingMemoryBound(to: Text.self)
    }

    package var reason: Reason { text.pointee.reason }
    package var argument: StaticString { text.pointee.argument }
    package var index: Int { text.pointee.index }
    package var field: StaticString { text.pointee.field }
    package var rule: StaticString { text.pointee.rule }
    package var value: Value { text.pointee.value }

    @inline(never)
    package init(_ argument: StaticString, _ rule: StaticString, _ value: Value) {
        self.init(argument, rule, value, reason: .invalid())
    }

    @inline(never)
    package init(
        _ argument: StaticString, _ rule: StaticString, _ value: Value,
        index: Int = -1, field: StaticString = "", reason: Reason = .invalid()
    ) {
        text.initialize(
            to: Text(reason: reason, argument: argument, index: index, field: field, rule: rule, value: value))
    }
    #else
    public let reason: Reason
    /// The argument's name, as C spells it: "max_norm".
    public let argument: StaticString
    /// For an argument that is an array: which element; -1 otherwise.
    public let index: Int
    /// The field of that element, ".dtype" for instance, or "".
    public let field: StaticString
    /// What holds for valid values, "must be finite" for instance.
    public let rule: StaticString
    /// The value that was given.
    public let value: Value

    package init(
        _ argument: StaticString, _ rule: StaticString, _ value: Value,
        index: Int = -1, field: StaticString = "", reason: Reason = .invalid()
    ) {
        self.argument = argument
        self.rule = rule
        self.value = value
        self.index = index
        self.field = field
        self.reason = reason
    }
    #endif
}

package func check(maxNorm: Double) throws(ArgumentError) {
    if !(maxNorm >= 0) { throw ArgumentError("max_norm", "must be a number >= 0", .number(maxNorm)) }
}

package func check(normType: Double) throws(ArgumentError) {
    if normType != normType { throw ArgumentError("norm_type", "must be a number", .number(normType)) }
}

package func check(totalNorm: Double) throws(ArgumentError) {
    if !(totalNorm >= 0) { throw ArgumentError("total_norm", "must be a number >= 0", .number(totalNorm)) }
}

package func check(clipValue: Double) throws(ArgumentError) {
    if !(clipValue >= 0) { throw ArgumentError("clip_value", "must be a number >= 0", .number(clipValue)) }
}

package func check(factor: Double) throws(ArgumentError) {
    if !factor.isFinite { throw ArgumentError("factor", "must be finite", .number(factor)) }
}

package func check(eps: Double) throws(ArgumentError) {
    try check(proper: eps, "eps")
}

package func check(gradScale: Double) throws(ArgumentError) {
    if !(gradScale > 0 && gradScale < .infinity) {
        throw ArgumentError("grad_scale", "must be finite and > 0", .number(gradScale))
    }
    if gradScale <= 0x1p-1024 { throw ArgumentError("grad_scale", "must be > 2^-1024", .number(gradScale)) }
}

extension ClipOptions {
    package func check() throws(ArgumentError) {
        try GradClip.check(eps: eps)
        try GradClip.check(gradScale: gradScale)
        try GradClip.check(threads: threads)
    }
}

package func check(threads: Int) throws(ArgumentError) {
    if threads < 0 { throw ArgumentError("threads", "must be >= 0", .integer(threads)) }
}

/// An array of `count` records of `size` bytes.
package func check(
    count: Int, size: Int, isNull: Bool, _ name: StaticString, counted by: StaticString = "count"
) throws(ArgumentError) {
    if count < 0 || count > Int.max / size { throw ArgumentError(by, "is too large for an array", .size(count)) }
    if count > 0 && isNull { throw .null(name) }
}

extension ArgumentError {
    /// The refusal of a NULL.
    package static func null(_ argument: StaticString) -> ArgumentError {
        ArgumentError(argument, "must not be NULL", .null)
    }

    /// Memory that could not be had, for what.
    package static func noMemory(_ argument: StaticString, bytes: Int) -> ArgumentError {
        ArgumentError(argument, "needs memory that could not be had, in bytes", .size(bytes), reason: .outOfMemory())
    }
}

/// A finite number >= 0.
package func check(proper value: Double, _ name: StaticString, index: Int = -1) throws(ArgumentError) {
    if !(value >= 0 && value < .infinity) {
        throw ArgumentError(name, "must be finite and >= 0", .number(value), index: index)
    }
}

/// One tensor's memory.
package func check(
    _ tensor: Tensor, at index: Int, _ name: StaticString, lengths: StaticString, lengthField: StaticString = "",
    dataField: StaticString = ""
) throws(ArgumentError) {
    if tensor.length < 0 || tensor.length > Int.max / tensor.dtype.size {
        throw ArgumentError(
            lengths, "is more than memory can hold", .size(tensor.length), index: index, field: lengthField)
    }
    if tensor.data == nil && tensor.length > 0 {
        throw ArgumentError(
            name, "must not be NULL where the length is not 0", .null, index: index, field: dataField)
    }
}

/// What is to be subtracted from each tensor of a list.
@inline(never)
package func check(minus: TensorList, of tensors: TensorList) throws(ArgumentError) {
    for i in 0..<tensors.count {
        let length = minus[i].length
        if length != tensors[i].length {
            throw ArgumentError("minus", "must be that of the tensor", .integer(length), index: i, field: ".length")
        }
        if !minus[i].isCounted { throw ArgumentError("minus", "must be 0", .integer(1), index: i, field: ".flags") }
    }
}
