#!/usr/bin/env python3
"""run.py [--quick] CROSS [TARGET...]: the libraries that `make cross` put into the folder CROSS give one hash.

Each is linked with the conformance program (Tests/c/conformance.c), the archive too where there is one, and run
where this machine can run it: on its processor, on the loader of another libc, or in an emulator. The SHA-256 of
what it prints must be the one in Tests/conformance.sha256. C tests run on each, too; with --quick few in the
emulators. A table says what was run and how, and what was only linked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))
from cross import BINARIES, TARGETS, Builder, Target, stop  # noqa: E402

X86_LEVELS = ("baseline", "x86-64-v3", "x86-64-v4", "x86-64-v4-ifma")

# What needs nothing but C; GOLDEN reads the golden file, of which emulators get a part.
C_TESTS = (
    "semantics",
    "deferred",
    "arguments",
    "structs",
    "parts",
    "units",
    "dlpack",
    "overlap",
    "accumulator_cuts",
    "accumulator_states",
    "accumulator_words",
    "chooser_states",
    "chooser_clips",
    "differences",
    "monitor",
    "article",
)
GOLDEN = ("golden", "golden_accumulator", "golden_inspect", "golden_choosers")
POSIX = ("memory", "threads", "chooser_tensors")  # and pages that are protected, threads
QUICK = ("semantics", "arguments", "structs", "memory", "threads", "accumulator_states", "chooser_states")


@dataclass(frozen=True)
class Runner:
    """How programs of a target run here."""

    how: str
    command: tuple[str, ...] = ()
    needs: str = ""  # a path that must be there
    package: str = ""  # Debian's
    static: bool = False  # there is no loader: programs are linked with the archive
    levels: tuple[str, ...] = ("neon",)
    tests: tuple[str, ...] = C_TESTS + GOLDEN
    emulated: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    python: str = ""  # the script that runs the wheel in a Python for the machine


MUSL = "/lib/ld-musl-x86_64.so.1"
QEMU = "in qemu-aarch64, an emulator of the processor"
RUNNERS = {
    "linux-x86_64-gnu": Runner("natively", levels=X86_LEVELS, tests=C_TESTS + GOLDEN + POSIX),
    "linux-x86_64-musl": Runner(
        "natively, on musl's loader", (MUSL,), MUSL, "musl", levels=X86_LEVELS, tests=C_TESTS + GOLDEN + POSIX
    ),
    "linux-aarch64-gnu": Runner(
        QEMU,
        ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"),
        "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
        "qemu-user libc6-arm64-cross",
        tests=C_TESTS + GOLDEN + POSIX,
        emulated=True,
        python="arm64_python.py",
    ),
    "linux-aarch64-musl": Runner(
        QEMU, ("qemu-aarch64",), "", "qemu-user", static=True, tests=C_TESTS + GOLDEN + POSIX, emulated=True
    ),
    "windows-x86_64": Runner(
        "in wine, which stands for Windows",
        ("/usr/lib/wine/wine64",),
        "/usr/lib/wine/wine64",
        "wine64",
        levels=X86_LEVELS,
        emulated=True,
        environment={"WINEDEBUG": "-all", "WINEPREFIX": str(ROOT / "build/wine")},
    ),
    "macos-arm64": Runner(
        "in unicorn, an emulator of the processor; libSystem is stubbed",
        (sys.executable, str(ROOT / "Tests/platforms/macos.py")),
        emulated=True,
        tests=("semantics", "deferred", "arguments", "structs", "parts", "dlpack", "overlap"),
    ),
}


@dataclass
class Place:
    """A target, and where its programs are built and run."""

    builder: Builder
    target: Target
    runner: Runner
    folder: Path

    def build(self, name: str, static: bool = False) -> Path:
        program = self.folder / (name + ("-static" if static else ""))
        library = self.folder.parent / "lib"
        sources = [f"{name}.c"] + ["golden_file.c"] * (name in GOLDEN[:3])
        flags = ["-lpthread", "-lm"]
        if self.target.kind == "pe":
            program = program.with_suffix(".exe")
            linked, flags = [library / "gradclip.lib"], []
        elif static:
            linked = [library / "libgradclip.a"]
            if "musl" in self.target.zig:
                flags.append("-static")
        else:
            linked = [self.folder / BINARIES[self.target.kind]]
            if self.target.kind == "elf":
                flags.append(f"-Wl,-rpath,{self.folder}")
        done = subprocess.run(
            [
                self.builder.zig,
                "cc",
                "-target",
                self.target.zig,
                "-std=gnu11",
                "-O1",
                "-g0",
                "-U_FORTIFY_SOURCE",
                "-D_FORTIFY_SOURCE=0",
                f"-I{ROOT}/include",
                "-o",
                program,
                *sources,
                *linked,
                *flags,
            ],
            cwd=ROOT / "Tests/c",
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            stop(f"{self.target.name}: {name}.c does not link:\n{done.stderr}")
        return program

    def run(self, program: str | Path, *arguments: str | Path, level: str = "") -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, **self.runner.environment}
        if level:
            environment["GRADCLIP_ISA"] = level
        # What is linked statically needs no loader, only the processor.
        command = () if str(program).endswith("-static") and not self.runner.emulated else self.runner.command
        return subprocess.run([*command, program, *arguments], env=environment, capture_output=True)


@dataclass
class Row:
    target: str
    what: str
    how: str
    outcome: str = ""
    failure: str = ""


def conformance(place: Place, row: Row, level: str, program: Path, wanted: str) -> None:
    isa = place.run(program, "--isa", level=level).stdout.decode().strip()
    if isa != level and level != X86_LEVELS[0] and level in X86_LEVELS and isa in X86_LEVELS:
        row.how, row.outcome = "not run", "this processor has not got it"
        return
    done = place.run(program, level=level)
    found = hashlib.sha256(done.stdout).hexdigest()
    row.outcome = "the hash"
    if done.returncode != 0 or found != wanted or isa != level:
        row.outcome = "FAILED"
        row.failure = (
            f"{isa}, status {done.returncode}, {done.stdout.count(10)} lines, {found}\n{done.stderr.decode(errors='replace')}"
        )


def c_test(place: Place, row: Row, name: str, golden: Path) -> None:
    arguments = [] if name not in GOLDEN else [ROOT / "Tests/golden/choosers.txt" if name == "golden_choosers" else golden]
    done = place.run(place.build(name, static=place.runner.static), *arguments)
    if done.returncode != 0:
        row.failure = f"{name}: status {done.returncode}\n{(done.stdout + done.stderr).decode(errors='replace')}"


def wheel(cross: Path, row: Row, script: str, tag: str, quick: bool) -> None:
    """The wheel, imported and used by a Python for the target's machine."""
    made = sorted((cross / "dist").glob(f"*{tag}.whl"))
    if len(made) != 1:
        row.failure = f"{cross / 'dist'} has {len(made)} wheels for {tag}: run make cross"
        return
    command = [sys.executable, ROOT / "Tests/platforms" / script, *["--quick"] * quick, cross / Path(script).stem, made[0]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    passed = [line for line in done.stdout.splitlines() if " passed" in line]
    row.outcome = passed[-1].split(" in ")[0] if passed else "FAILED"
    if done.returncode != 0:
        row.failure, row.outcome = done.stdout, "FAILED"


def part_of_golden(folder: Path, every: int) -> Path:
    """Of the golden file every so manieth case; a case's further lines begin with "t "."""
    lines, number = [], 0
    for line in (ROOT / "Tests/golden/golden.txt").read_text().splitlines(keepends=True):
        if not line.startswith(("t ", "#")):
            number += 1
        if line.startswith("#") or number % every == 0:
            lines.append(line)
    part = folder / f"golden-{every}.txt"
    part.write_text("".join(lines))
    return part


def prepare(builder: Builder, cross: Path, target: Target) -> Place:
    runner = RUNNERS[target.name]
    library = cross / target.name / "lib"
    if not library.is_dir():
        stop(f"{cross / target.name} is missing: run make cross")
    program = runner.command[0] if runner.command else "sh"
    if not shutil.which(program) or (runner.needs and not os.path.exists(runner.needs)):
        stop(f"{target.name} runs {runner.how}; on Debian: apt-get install {runner.package}")
    for module in ("unicorn", "lief") if target.kind == "macho" else ():
        if not importlib.util.find_spec(module):
            stop(f"{target.name} runs {runner.how}, and there is no {module}: pip install -r Tests/platforms/requirements.txt")
    folder = cross / target.name / "tests"
    folder.mkdir(exist_ok=True)
    shutil.copy(library / BINARIES[target.kind], folder)
    builder.check(target, library / BINARIES[target.kind])
    place = Place(builder, target, runner, folder)
    if target.kind == "pe":
        place.run("cmd", "/c", "exit")  # makes wine's folder, before several programs would
    return place


def main() -> None:
    words = sys.argv[1:]
    quick = "--quick" in words
    words = [word for word in words if word != "--quick"]
    if not words:
        sys.exit(__doc__)
    names = [target.name for target in TARGETS]
    for name in words[1:]:
        if name not in names:
            stop(f"there is no target {name}; there are {', '.join(names)}")
    cross = Path(words[0]).resolve()
    builder = Builder(cross)
    wanted = (ROOT / "Tests/conformance.sha256").read_text().split()[0]
    targets = [target for target in TARGETS if not words[1:] or target.name in words[1:]]
    rows: list[Row] = []
    jobs = []
    parts = {every: part_of_golden(cross, every) for every in (1, 16)}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for target in reversed(targets):  # the slowest first
            place = prepare(builder, cross, target)
            runner = place.runner
            programs = {} if runner.static else {BINARIES[target.kind]: place.build("conformance")}
            if target.static:
                programs["libgradclip.a"] = place.build("conformance", static=True)
            own = [Row(target.name, "exported names", "compared with the header's", "the same")]
            if runner.static:
                own.append(Row(target.name, BINARIES[target.kind], "only linked"))
            for file, program in programs.items():
                for level in runner.levels if file != "libgradclip.a" or runner.static else runner.levels[:1]:
                    alone = file == "libgradclip.a" and not runner.emulated
                    own.append(Row(target.name, f"{file}, {level}", "natively" if alone else runner.how))
                    jobs.append((own[-1], pool.submit(conformance, place, own[-1], level, program, wanted)))
            if runner.python:
                own.append(Row(target.name, "the wheel, in Debian's Python for it", runner.how))
                jobs.append((own[-1], pool.submit(wheel, cross, own[-1], runner.python, target.wheel, quick)))
            tests = [name for name in runner.tests if not (quick and runner.emulated) or name in QUICK]
            tested = Row(target.name, f"{len(tests)} C tests", runner.how, "passed")
            for name in tests:
                row = Row(target.name, name, runner.how)
                jobs.append((row, pool.submit(c_test, place, row, name, parts[16 if runner.emulated else 1])))
            rows = [*own, tested, *rows]
        for row, job in jobs:
            job.result()
            if row.failure:
                print(f"{row.target}, {row.what}, {row.how}: FAILED\n{row.failure}", file=sys.stderr)
                for other in rows:
                    if other.target == row.target and other.what.endswith("C tests") and row not in rows:
                        other.outcome = "FAILED"
    print(f"The hash is {wanted}.")
    widths = [max(len(line[i]) for line in ((row.target, row.what, row.how) for row in rows)) for i in range(3)]
    for row in rows:
        print(f"{row.target:{widths[0]}}  {row.what:{widths[1]}}  {row.how:{widths[2]}}  {row.outcome}".rstrip())
    if any(row.failure for row, _ in jobs):
        sys.exit("test-platforms: FAILED")


if __name__ == "__main__":
    main()
