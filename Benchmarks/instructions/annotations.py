"""What annotations are worth: the library without those of a file, in bytes of code and instructions a call.

    python3 Benchmarks/instructions/annotations.py [--always] [FILE or FOLDER ...]

works on a copy of the tree in build/annotations, and builds the library once for each name: a minute each. A folder's files go
together. Without names each file of the engine and of the C interface. Needs valgrind.
"""

import argparse
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "annotations"


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--always", action="store_true", help="@inline(__always) instead of @inline(never)")
    parser.add_argument("names", nargs="*", help="files and folders below the repository's root")
    arguments = parser.parse_args()
    annotation = re.compile(r"@inline\(__always\)\s+" if arguments.always else r"@inline\(never\)\s+")
    COPY.mkdir(parents=True, exist_ok=True)
    for name in output("git", "ls-files", cwd=ROOT).splitlines():
        source, target = ROOT / name, COPY / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() or source.is_file():
            target.unlink(missing_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    kinds: list[str] = []
    base = measured(kinds)
    names = arguments.names or sorted(
        str(file.relative_to(COPY)) for folder in ("Sources/GradClip", "Sources/GradClipABI") for file in (COPY / folder).rglob("*.swift"))
    print("| without those of | annotations | bytes |", " | ".join(kinds), "|")
    print("|---" * (3 + len(kinds)) + "|")
    print("| (none) | |", " | ".join(map(str, base)), "|", flush=True)
    for name in names:
        files = sorted((COPY / name).rglob("*.swift")) if (COPY / name).is_dir() else [COPY / name]
        texts = {file: file.read_text() for file in files}
        count = sum(len(annotation.findall(text)) for text in texts.values())
        if not count:
            continue
        for file, text in texts.items():
            file.write_text(annotation.sub("", text))
        try:
            change = [f"{now - before:+}" for now, before in zip(measured(kinds), base, strict=True)]
        finally:
            for file, text in texts.items():
                file.write_text(text)
        print(f"| {name} | {count} |", " | ".join(change), "|", flush=True)


if __name__ == "__main__":
    main()
