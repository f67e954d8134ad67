#!/usr/bin/env python3
"""run.py CROSS [TARGET...]: the libraries that `make cross` put into the folder CROSS give one hash.

Each is linked with the conformance program (Tests/c/conformance.c) and run where this machine can run it:
on its processor, on the loader of another libc, or in an emulator. The SHA-256 of what it prints must
be the one in Tests/conformance.sha256. Some C tests run on each, too. A table says what was run and how.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))
from cross import TARGETS, Builder, Target, stop  # noqa: E402

NEED_POSIX = ("memory", "threads")  # and are not run on Windows
C_TESTS = ("semantics", "arguments", "structs", "memory", "threads", "accumulator_states", "chooser_states")
X86_LEVELS = ("baseline", "x86-64-v3", "x86-64-v4")


@dataclass(frozen=True)
class Runner:
    """How programs of a target run here."""

    how: str
    command: tuple[str, ...] = ()
    needs: str = ""  # a path that must be there
    package: str = ""  # Debian's
    static: bool = False  # there is no loader: the library's objects are linked into the program
    levels: tuple[str, ...] = ("neon",)
    environment: dict[str, str] = field(default_factory=dict)


MUSL = "/lib/ld-musl-x86_64.so.1"
RUNNERS = {
    "linux-x86_64-gnu": Runner("natively", levels=X86_LEVELS),
    "linux-x86_64-musl": Runner("natively, on musl's loader", (MUSL,), MUSL, "musl", levels=X86_LEVELS),
    "linux-aarch64-gnu": Runner(
        "in qemu-aarch64, on glibc", ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"),
        "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1", "qemu-user libc6-arm64-cross"),
    "linux-aarch64-musl": Runner("in qemu-aarch64, linked statically with musl", ("qemu-aarch64",), "", "qemu-user", static=True),
    "windows-x86_64": Runner("in wine", ("/usr/lib/wine/wine64",), "/usr/lib/wine/wine64", "wine64", levels=X86_LEVELS,
                             environment={"WINEDEBUG": "-all", "WINEPREFIX": str(ROOT / "build/wine")}),
}
# No program of these runs here: built, linked, and their exported names compared.
ONLY_LINKED = {"macos-arm64": "built and linked only"}


def build(builder: Builder, target: Target, runner: Runner, folder: Path, name: str) -> Path:
    program = folder / name
    library = folder.parent / "lib"
    if target.kind == "pe":
        program = program.with_suffix(".exe")
        shutil.copy(library / "gradclip.dll", folder)
        linked, flags = [library / "gradclip.lib"], []
    elif runner.static:
        linked, flags = sorted((folder.parent / "objects").glob("*.o")), ["-static", "-lpthread", "-lm"]
    else:
        linked, flags = [library / "libgradclip.so.1"], [f"-Wl,-rpath,{library}", "-lpthread", "-lm"]
    done = subprocess.run(
        [builder.zig, "cc", "-target", target.zig, "-std=gnu11", "-O1", "-g0", f"-I{ROOT}/include", "-o", program,
         ROOT / "Tests/c" / f"{name}.c", *linked, *flags],
        capture_output=True, text=True)
    if done.returncode != 0:
        stop(f"{target.name}: {name}.c does not link:\n{done.stderr}")
    return program


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    names = [target.name for target in TARGETS]
    for name in sys.argv[2:]:
        if name not in names:
            stop(f"there is no target {name}; there are {', '.join(names)}")
    cross = Path(sys.argv[1]).resolve()
    builder = Builder(cross)
    wanted = (ROOT / "Tests/conformance.sha256").read_text().split()[0]
    rows, failed = [], False
    for target in TARGETS:
        if sys.argv[2:] and target.name not in sys.argv[2:]:
            continue
        if target.name in ONLY_LINKED:
            rows.append((target.name, "", ONLY_LINKED[target.name]))
            continue
        runner = RUNNERS[target.name]
        if not (cross / target.name / "lib").is_dir():
            stop(f"{cross / target.name} is missing: run make cross")
        program = runner.command[0] if runner.command else "sh"
        if not shutil.which(program) or (runner.needs and not os.path.exists(runner.needs)):
            stop(f"{target.name} runs {runner.how}; on Debian: apt-get install {runner.package}")
        folder = cross / target.name / "tests"
        folder.mkdir(exist_ok=True)
        (ROOT / "build").mkdir(exist_ok=True)
        levels = build(builder, target, runner, folder, "conformance")
        for level in runner.levels:
            environment = {**os.environ, **runner.environment, "GRADCLIP_ISA": level}
            isa = subprocess.run([*runner.command, levels, "--isa"], env=environment, capture_output=True, text=True).stdout.strip()
            if isa != level:
                rows.append((target.name, level, "not run: this processor has not got it"))
                continue
            done = subprocess.run([*runner.command, levels], env=environment, capture_output=True)
            found = hashlib.sha256(done.stdout).hexdigest()
            right = done.returncode == 0 and found == wanted
            failed |= not right
            rows.append((target.name, level, f"{runner.how}: " + ("the hash" if right else f"FAILED: {found}")))
        passed = 0
        tests = [name for name in C_TESTS if target.kind == "elf" or name not in NEED_POSIX]
        for name in tests:
            test = build(builder, target, runner, folder, name)
            done = subprocess.run([*runner.command, test], env={**os.environ, **runner.environment}, capture_output=True, text=True)
            passed += done.returncode == 0
            if done.returncode != 0:
                failed = True
                print(f"{target.name}: {name} FAILED\n{done.stdout}{done.stderr}", file=sys.stderr)
        rows.append((target.name, "C tests", f"{runner.how}: {passed} of {len(tests)}"))
    print(f"The hash is {wanted}.")
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for row in rows:
        print(f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]}")
    if failed:
        sys.exit("test-platforms: FAILED")


if __name__ == "__main__":
    main()
