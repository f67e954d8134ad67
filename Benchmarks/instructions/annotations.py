"""What each file's `@inline(never)` is worth: the library without them, in bytes of code and instructions a call.

    python3 Benchmarks/instructions/annotations.py [FILE...]

works on a copy of the tree in build/annotations, and builds the library once a file: a minute each. Without names all files
of the engine and of the C interface that have one. Needs valgrind.
"""

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "annotations"
ANNOTATION = re.compile(r"@inline\(never\)\s+")


def output(*command: str, **options) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def instructions(program: pathlib.Path, kind: int) -> int:
    """Of one call: what 120 take beyond 20."""

    def collected(times: int) -> int:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), str(kind), str(times)]
        found = subprocess.run(command, check=True, text=True, capture_output=True).stderr
        return int(re.search(r"Collected : (\d+)", found)[1])

    return (collected(120) - collected(20)) // 100


def measured(kinds: list[str]) -> list[int]:
    subprocess.run(["make", "-s", "lib"], cwd=COPY, check=True, stdout=subprocess.DEVNULL)
    library = COPY / "build" / "lib"
    program = COPY / "build" / "calls"
    output("cc", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/include", f"{ROOT}/Benchmarks/instructions/calls.c", "-o", str(program), f"-L{library}",
           "-lgradclip", f"-Wl,-rpath,{library}")
    kinds[:] = output(str(program)).splitlines()
    code = int(output("size", str(library / "libgradclip.so")).splitlines()[1].split()[0])
    return [code, *(instructions(program, k) for k in range(len(kinds)))]


def main() -> None:
    COPY.mkdir(parents=True, exist_ok=True)
    for name in output("git", "ls-files", cwd=ROOT).splitlines():
        source, target = ROOT / name, COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() or source.is_file():
            target.unlink(missing_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    kinds: list[str] = []
    base = measured(kinds)
    names = sys.argv[1:] or sorted(
        str(file.relative_to(COPY)) for folder in ("Sources/GradClip", "Sources/GradClipABI") for file in (COPY / folder).rglob("*.swift"))
    print("| file | annotations | bytes |", " | ".join(kinds), "|")
    print("|---" * (3 + len(kinds)) + "|")
    print("| all, as they are | |", " | ".join(map(str, base)), "|", flush=True)
    for name in names:
        file = COPY / name
        text = file.read_text()
        without, count = ANNOTATION.subn("", text)
        if not count:
            continue
        file.write_text(without)
        try:
            change = [f"{now - before:+}" for now, before in zip(measured(kinds), base, strict=True)]
        finally:
            file.write_text(text)
        print(f"| {name} | {count} |", " | ".join(change), "|", flush=True)


if __name__ == "__main__":
    main()
