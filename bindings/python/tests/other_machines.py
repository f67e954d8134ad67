"""Libraries of other machines, as far as their first bytes go."""

import struct
from pathlib import Path

from gradclip._native import binary, ffi


def of_linux(processor, libc):
    """The library, as one that says of itself that it is for another machine."""
    code = bytearray(Path(ffi.library_path).resolve().read_bytes())
    code[18:20] = struct.pack("<H", {"x86_64": 62, "aarch64": 183}[processor])
    loader = b"ld-linux-x86-64.so.2\0" if b"ld-linux-x86-64" in code else b"ld-linux-aarch64.so.1\0"
    if libc == "musl":
        for name in (loader, b"libc.so.6\0"):
            code = code.replace(name, b"libc.so".ljust(len(name), b"\0"))
    return bytes(code)


def of_macos(processor):
    return struct.pack("<II", 0xFEEDFACF, {"x86_64": 0x01000007, "arm64": 0x0100000C}[processor])


def of_windows(processor):
    machine = {"x86_64": 0x8664, "arm64": 0xAA64}[processor]
    return b"MZ".ljust(60, b"\0") + struct.pack("<I4sH", 64, b"PE\0\0", machine)


def _others():
    yield "macOS arm64", of_macos("arm64")
    yield "macOS x86_64", of_macos("x86_64")
    yield "Windows x86_64", of_windows("x86_64")
    yield "Windows arm64", of_windows("arm64")
    for processor in ("x86_64", "aarch64"):
        for libc in ("glibc", "musl"):
            said = f"Linux {processor} {libc}"
            if said != binary.own():
                yield said, of_linux(processor, libc)


OTHER_MACHINES = dict(_others())
