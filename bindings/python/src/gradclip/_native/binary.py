"""What a program or a shared library says of the machine that it is for.

It stands alone: the build of the wheel loads this file without the package.
"""

from __future__ import annotations

import os
import struct
import sys

SYSTEM = {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, "Linux")
# What a system calls the library.
NAMES = {
    "Linux": "libgradclip.so.1",
    "macOS": "libgradclip.1.dylib",
    "Windows": "gradclip.dll",
}

_ELF = {
    3: "i686",
    21: "ppc64le",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
}
_MACHO = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_PE = {0x014C: "i686", 0x8664: "x86_64", 0xAA64: "arm64"}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


def machine(path: str, length: int = -1) -> str | None:
    """What the file is for: "Linux x86_64 glibc", "macOS arm64", "Windows x86_64" ...

    The last word is missing of a Linux file that needs no libc. None if it is none of them, or
    cannot be read. Of a program the first 4096 bytes (length) tell.
    """
    try:
        with open(path, "rb") as file:
            code = file.read(length)
        if code[:6] in (b"\x7fELF\1\1", b"\x7fELF\2\1"):
            return " ".join(["Linux", _ELF[_numbers("<H", code, 18)[0]], *_libc(code)])
        if code[:4] == b"\xcf\xfa\xed\xfe":
            return "macOS " + _MACHO[_numbers("<I", code, 4)[0]]
        if code[:2] == b"MZ":
            start = _numbers("<I", code, 60)[0]
            if code[start : start + 4] == b"PE\0\0":
                return "Windows " + _PE[_numbers("<H", code, start + 4)[0]]
    except (OSError, struct.error, KeyError, ValueError):
        pass
    return None


def own() -> str | None:
    """What this process runs on, in the same words."""
    if SYSTEM == "macOS":  # where a file may be for several machines
        return "macOS " + os.uname().machine
    return machine("/proc/self/exe" if SYSTEM == "Linux" else sys.executable, 4096)


def fits(library: str | None, wanted: str | None) -> bool:
    """Whether nothing that is known of a library speaks against that machine."""
    return (
        library is None
        or wanted is None
        or all(a == b for a, b in zip(library.split(), wanted.split()))
    )


def _numbers(layout: str, code: bytes, start: int) -> tuple[int, ...]:
    return struct.unpack_from(layout, code, start)


def _text(code: bytes, start: int) -> str:
    return code[start : code.index(b"\0", start)].decode()


def _libc(code: bytes) -> list[str]:
    """The libc of an ELF file: its loader's, or that of the libraries it needs."""
    if code[4] != 2:  # of 64 bits
        return []
    first, (size, count) = _numbers("<Q", code, 32)[0], _numbers("<HH", code, 54)
    headers = [_numbers("<IIQQQQ", code, first + size * i) for i in range(count)]
    for kind, _, offset, _, _, length in headers:
        if kind == _PT_INTERP:
            return _libc_named(_text(code, offset))
        if kind == _PT_DYNAMIC:
            entries = [_numbers("<QQ", code, at) for at in range(offset, offset + length, 16)]
            table = [value for tag, value in entries if tag == _DT_STRTAB]
            for loaded, _, at, address, _, size in headers:
                if loaded == _PT_LOAD and table and address <= table[0] < address + size:
                    start = at + table[0] - address
                    names = [
                        _text(code, start + name) for tag, name in entries if tag == _DT_NEEDED
                    ]
                    return next(filter(None, map(_libc_named, names)), [])
    return []


def _libc_named(path: str) -> list[str]:
    name = path.rpartition("/")[2]
    if name == "libc.so.6" or name.startswith("ld-linux"):
        return ["glibc"]
    if name == "libc.so" or name.startswith(("libc.musl", "ld-musl")):
        return ["musl"]
    return []
