// How many threads the library uses.
import CGradClip
import GradClip

@_cdecl("gradclip_set_num_threads") @implementation
public func gradclip_set_num_threads(_ num_threads: UInt32) { ThreadPool.count = Int(num_threads) }

@_cdecl("gradclip_get_num_threads") @implementation
public func gradclip_get_num_threads() -> UInt32 { UInt32(truncatingIfNeeded: ThreadPool.count) }
