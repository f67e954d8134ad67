// Whether tensors of a list share memory.
import CGradClip
import GradClip

@_cdecl("gradclip_find_overlap") @implementation
public func gradclip_find_overlap(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ first: UnsafeMutablePointer<Int>!,
    _ second: UnsafeMutablePointer<Int>!
) -> gradclip_status {
    do throws(ArgumentError) {
        let list = try tensorList(grads, count, "grads")
        if first == nil { throw ArgumentError("first", "must not be NULL", .null) }
        if second == nil { throw ArgumentError("second", "must not be NULL", .null) }
        guard let found = overlap(in: list) else { return outOfMemory(count) }
        first.pointee = found.first
        second.pointee = found.second
        return 0
    } catch {
        return record(error)
    }
}
