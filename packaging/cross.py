#!/usr/bin/env python3
"""Builds libgradclip for other systems, on an x86-64 Linux machine with Swift: `make cross`.

cross.py OUTPUT [TARGET...]: for every target (all without one) OUTPUT/TARGET/lib has the shared
library, named as that system names it, and where that is proved to link the static one.

Swift's toolchain has Embedded Swift's standard library for bare processors, and objects of those
link into a library of any system that has the same calling convention; zig compiles the C files
against each system's headers and links. A target is a row of TARGETS, and nothing else.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, NoReturn

ROOT = Path(__file__).resolve().parents[1]
ZIG_VERSION = "0.17.1"
BINARIES = {"elf": "libgradclip.so.1", "macho": "libgradclip.1.dylib", "pe": "gradclip.dll"}


@dataclass(frozen=True)
class Target:
    """One system that libgradclip is built for."""

    name: str
    swift: str  # the triple that Swift compiles for
    zig: str  # the triple that zig compiles C for and links for; the version is the oldest that serves
    wheel: str  # the platform tag of wheels
    minimum: str  # what it says of itself in the table of platforms
    has_levels: bool  # x86-64: kernels for AVX2 and AVX-512 besides
    binutils: str | None = None  # the prefix of GNU binutils for the machine, which make the archive; None: there is none
    kind: str = "elf"
    swift_flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = field(default=())

    @property
    def static(self) -> bool:
        """Whether there is an archive, too."""
        return self.binutils is not None


PTHREAD = ("-Wl,--no-as-needed", "-lpthread", "-Wl,--as-needed")
TARGETS = [
    Target("linux-x86_64-gnu", "x86_64-unknown-linux-gnu", "x86_64-linux-gnu.2.17",
           "manylinux2014_x86_64", "glibc 2.17", True, binutils="", link_flags=PTHREAD),
    Target("linux-aarch64-gnu", "aarch64-none-none-elf", "aarch64-linux-gnu.2.17",
           "manylinux2014_aarch64", "glibc 2.17", False, binutils="aarch64-linux-gnu-", link_flags=PTHREAD),
    Target("linux-x86_64-musl", "x86_64-unknown-linux-gnu", "x86_64-linux-musl",
           "musllinux_1_2_x86_64", "musl 1.2", True, binutils=""),
    Target("linux-aarch64-musl", "aarch64-none-none-elf", "aarch64-linux-musl",
           "musllinux_1_2_aarch64", "musl 1.2", False, binutils="aarch64-linux-gnu-"),
    Target("macos-arm64", "arm64-apple-none-macho", "aarch64-macos.11.0",
           "macosx_11_0_arm64", "macOS 11", False, kind="macho", swift_flags=("-Xcc", "-ffreestanding")),
    Target("windows-x86_64", "x86_64-unknown-none-elf", "x86_64-windows-gnu",
           "win_amd64", "Windows 10", True, kind="pe",
           swift_flags=("-Xcc", "-ffreestanding", "-Xcc", "-mno-red-zone")),
]

EXPORTS = ROOT / "packaging/exports.sh"
C_TARGETS = ("CGradClipSystem", "CGradClipKernels")


def stop(message: str) -> NoReturn:
    sys.exit(f"{Path(sys.argv[0]).name}: {message}")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        text = (done.stdout + done.stderr).strip()
        if "No space left on device" in text:
            stop("there is no room on the disk")
        stop(f"{' '.join(str(word) for word in command[:2])} ... failed:\n{text}")
    return done.stdout


def tool(name: str, hint: str) -> str:
    found = shutil.which(name)
    if not found:
        stop(f"{name} is missing: {hint}")
    return str(found)


def hide(path: Path, exported: set[str]) -> None:
    """In an object of Mach-O, all global symbols but those become private external ones: a library's own."""
    code = bytearray(path.read_bytes())
    place, count = 32, struct.unpack_from("<I", code, 16)[0]
    for _ in range(count):
        command, size = struct.unpack_from("<II", code, place)
        if command == 2:  # LC_SYMTAB
            symbols, number, strings, _ = struct.unpack_from("<IIII", code, place + 8)
            for entry in range(symbols, symbols + 16 * number, 16):
                index, kind = struct.unpack_from("<IB", code, entry)
                start = strings + index
                name = code[start : code.index(0, start)].decode()
                if kind & 0x0F == 0x0F and name not in exported:  # N_EXT, and in a section
                    code[entry + 4] = kind | 0x10  # N_PEXT
        place += size
    path.write_bytes(code)


class Builder:
    def __init__(self, output: Path) -> None:
        self.output = output
        self.swiftc = tool("swiftc", "building needs Swift 6.3 or newer (https://www.swift.org/install)")
        self.tools = Path(os.path.realpath(self.swiftc)).parent
        try:
            import ziglang
        except ImportError:
            stop(f"ziglang is missing in {sys.executable}: pip install ziglang=={ZIG_VERSION}")
        self.zig = Path(ziglang.__file__).parent / "zig"
        found = run(self.zig, "version").strip()
        if found != ZIG_VERSION:
            stop(f"zig {ZIG_VERSION} is wanted, {self.zig} is {found}")
        self.functions = run(EXPORTS).split()

    def build(self, target: Target) -> Path:
        work = self.output / target.name / "objects"
        library = self.output / target.name / "lib" / BINARIES[target.kind]
        shutil.rmtree(self.output / target.name, ignore_errors=True)
        work.mkdir(parents=True)
        library.parent.mkdir()
        objects = self.compile_c(target, work) + self.compile_swift(target, work)
        self.link(target, objects, library, work)
        self.check(target, library)
        if target.static:
            tool(f"{target.binutils}ld", f"on Debian: apt-get install binutils{'-' * bool(target.binutils)}{target.binutils.rstrip('-')}")
            (work / "list").write_text("".join(f"{path}\n" for path in objects))
            run("env", f"BINUTILS={target.binutils}", ROOT / "packaging/make-static.sh", work / "list",
                library.parent / "libgradclip.a")
        return library

    def compile_c(self, target: Target, work: Path) -> list[Path]:
        objects = []
        for module in C_TARGETS:
            for source in sorted((ROOT / "Sources" / module).glob("*.c")):
                objects.append(work / f"{module}-{source.stem}.o")
                position = [] if target.kind == "pe" else ["-fPIC"]
                run(self.zig, "cc", "-target", target.zig, "-std=gnu11", "-O2", *position, "-ffunction-sections",
                    "-fno-sanitize=all", "-fno-stack-protector", "-g0", "-Wall", "-Wextra", "-Werror",
                    *[f"-I{ROOT}/Sources/{name}/include" for name in C_TARGETS], "-c", source, "-o", objects[-1])
        return objects

    def compile_swift(self, target: Target, work: Path) -> list[Path]:
        maps = "".join(
            f'module {name} {{\n    umbrella header "{ROOT}/Sources/{name}/include/{name}.h"\n    export *\n}}\n'
            for name in C_TARGETS
        )
        (work / "module.modulemap").write_text(maps)
        modules = [("GradClipKernels", [] if target.has_levels else ["-D", "GRADCLIP_HARDWARE_F16"])]
        if target.has_levels:
            for level in ("3", "4"):
                wide = ["-Xcc", "-mprefer-vector-width=512"] if level == "4" else []
                modules.append((f"GradClipKernelsX86v{level}", [
                    "-D", f"GRADCLIP_X86_64_V{level}", "-D", "GRADCLIP_HARDWARE_F16", "-Xcc", f"-march=x86-64-v{level}", *wide]))
        modules += [("GradClip", []), ("GradClipABI", [])]
        objects = []
        for name, flags in modules:
            objects.append(work / f"{name}.o")
            sources = sorted(path for path in (ROOT / "Sources" / name).rglob("*.swift"))
            run(self.swiftc, "-target", target.swift, "-enable-experimental-feature", "Embedded", "-wmo", "-O",
                "-swift-version", "6", "-parse-as-library", "-package-name", "gradclip", "-module-name", name,
                "-Xfrontend", "-function-sections", *flags, *target.swift_flags,
                "-module-cache-path", work / "cache", "-I", work, "-Xcc", f"-fmodule-map-file={work}/module.modulemap",
                "-Xcc", f"-fmodule-map-file={ROOT}/include/module.modulemap", "-emit-module",
                "-emit-module-path", work / f"{name}.swiftmodule", *sources,
                *(["-emit-ir", "-o", work / f"{name}.ll"] if target.kind == "pe" else ["-c", "-o", objects[-1]]))
            if target.kind == "pe":
                self.assemble_for_windows(work / f"{name}.ll", objects[-1])
        return objects

    def assemble_for_windows(self, code: Path, output: Path) -> None:
        """Swift has no Embedded library for Windows; what its compiler makes of a bare processor's becomes that."""
        text = code.read_text()
        text = text.replace('"x86_64-unknown-none-elf"', '"x86_64-w64-windows-gnu"').replace('"e-m:e-', '"e-m:w-')
        code.write_text(text)
        run(self.tools / "clang", "--target=x86_64-w64-windows-gnu", "-Wno-override-module", "-O2", "-ffunction-sections",
            "-c", code, "-o", output)

    def link(self, target: Target, objects: list[Path], library: Path, work: Path) -> None:
        if target.kind == "elf":
            whole, exports = work / library.name, work / "exports.map"
            exports.write_text(run(EXPORTS, "map"))
            run(self.zig, "cc", "-target", target.zig, "-shared", "-o", whole, *objects, f"-Wl,-soname,{library.name}",
                f"-Wl,--version-script={exports}", "-Wl,--gc-sections", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,defs",
                *target.link_flags)
            run(self.tools / "llvm-objcopy", "--strip-unneeded", "-R", ".comment", whole, library)
        elif target.kind == "pe":
            names = work / "gradclip.def"
            names.write_text(run(EXPORTS, "windows"))
            run(self.zig, "cc", "-target", target.zig, "-shared", "-s", "-o", library, *objects, names, "-Wl,--gc-sections",
                f"-Wl,--out-implib,{library.parent}/gradclip.lib", cwd=work)
            for extra in library.parent.glob("*.pdb"):
                extra.unlink()
        else:
            # zig's linker of Mach-O takes no list of names.
            for path in objects:
                hide(path, {f"_{name}" for name in self.functions})
            run(self.zig, "cc", "-target", target.zig, "-shared", "-o", library, *objects, "-Wl,-dead_strip", "-Wl,-x",
                f"-Wl,-install_name,@rpath/{library.name}")

    def check(self, target: Target, library: Path) -> None:
        """What leaves the library is the header's functions, and nothing else."""
        if target.kind == "pe":
            table = run(self.tools / "llvm-objdump", "-p", library).split("Export Table:", 1)[1]
            names = sorted(re.findall(r"^ +\d+ +0x[0-9a-f]+ +(\w+)", table, re.M))
        elif target.kind == "macho":
            text = run(self.tools / "llvm-nm", "--extern-only", "--defined-only", "--format=just-symbols", library)
            own = {"___dso_handle", "__mh_dylib_header"}  # the linker's
            names = sorted(line.removeprefix("_") for line in text.split() if line not in own)
        else:
            text = run(self.tools / "llvm-nm", "-D", "--defined-only", "--format=just-symbols", library)
            names = sorted(line.split("@")[0] for line in text.split() if not line.startswith("GRADCLIP_"))
        if names != sorted(self.functions):
            stop(f"{target.name}: what leaves the library is not the header's: {sorted(set(names) ^ set(self.functions))}")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    table = {target.name: target for target in TARGETS}
    wanted = sys.argv[2:] or list(table)
    for name in wanted:
        if name not in table:
            stop(f"there is no target {name}; there are {', '.join(table)}")
    builder = Builder(Path(sys.argv[1]).resolve())
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, library in zip(wanted, pool.map(lambda name: builder.build(table[name]), wanted)):
            print(f"{name}: {library}, {library.stat().st_size} bytes", flush=True)


def complete(whole: Callable[[], None]) -> None:
    """A program, whose disk may be full at any place."""
    try:
        whole()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        stop("there is no room on the disk")


if __name__ == "__main__":
    complete(main)
