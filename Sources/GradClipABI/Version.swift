// What this library is.
import CGradClip
import CGradClipKernels

@_cdecl("gradclip_version") @implementation
public func gradclip_version() -> UInt32 {
    UInt32(GRADCLIP_VERSION_MAJOR * 10000 + GRADCLIP_VERSION_MINOR * 100 + GRADCLIP_VERSION_PATCH)
}

@_cdecl("gradclip_version_string") @implementation
public func gradclip_version_string() -> UnsafePointer<CChar>! {
    let text: StaticString = "1.0.0"
    return text.cString
}

@_cdecl("gradclip_isa") @implementation
public func gradclip_isa() -> UnsafePointer<CChar>! {
    let text: StaticString =
        switch Int(gk_process_isa()) {
        case GK_ISA_X86_64_V3: "x86-64-v3"
        case GK_ISA_X86_64_V4: "x86-64-v4"
        case GK_ISA_X86_64_V4_IFMA: "x86-64-v4-ifma"
        case GK_ISA_NEON: "neon"
        default: "baseline"
        }
    return text.cString
}
