// Whether tensors of a list share memory.
import CGradClip
import GradClip

@_cdecl("gradclip_find_overlap") @implementation
public func gradclip_find_overlap(
    _ grads: UnsafePointer<gradclip_tensor>!, _ count: Int, _ first: UnsafeMutablePointer<Int>!,
    _ second: UnsafeMutablePointer<Int>!
) -> gradclip_status {
    call { () throws(ArgumentError) in
        let list = try GivenList.tensors(grads, count).checked("grads")
        guard let first else { throw .null("first") }
        guard let second else { throw .null("second") }
        guard let found = overlap(in: list) else { throw .noMemory("count", bytes: count &* 32) }
        first.pointee = found.first
        second.pointee = found.second
        return 0
    }
}
