#!/usr/bin/env python3
"""archives.py CROSS [TARGET...]: the wheels and archives that `make cross` put into CROSS/dist, used as their users do.

Each archive is unpacked into a clean folder. What its README names is there, a program is compiled and linked with the
libraries in it, and run where this machine can run it, natively or in an emulator (Tests/platforms/run.py says how). pip
installs the wheel for its platform, and the Python package here says of each library whose it is, or loads it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "packaging"), str(ROOT / "Tests/platforms")]
from archives import version  # noqa: E402
from cross import BINARIES, TARGETS, Builder, Target, run, stop  # noqa: E402
from run import RUNNERS  # noqa: E402


def unpacked(target: Target, dist: Path, work: Path) -> Path:
    (archive,) = [path for path in dist.glob(f"gradclip-{version()}-{target.name}.*") if path.suffix != ".sha256"]
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert Path(f"{archive}.sha256").read_text() == f"{digest}  {archive.name}\n", archive
    shutil.unpack_archive(archive, work)
    assert os.listdir(work) == [f"gradclip-{version()}-{target.name}"], os.listdir(work)
    (tree,) = work.iterdir()
    for path in tree.rglob("*"):
        assert not path.is_file() or str(ROOT).encode() not in path.read_bytes(), f"{path} names a folder of this machine"
    return tree


def complete(tree: Path) -> None:
    """All that the table of its README names, and what every archive has."""
    named = re.findall(r"^\| (.*?) \|", (tree / "README.md").read_text(), re.M)
    files = [file for cell in named for file in re.findall(r"`([^`]+)`", cell)]
    assert len(files) >= 8, files
    for file in [*files, "LICENSE", "CHANGELOG.md", "lib/pkgconfig/gradclip.pc", "lib/cmake/gradclip/gradclipConfig.cmake",
                 "include/gradclip/clip.hpp", "bindings/rust/Cargo.toml", "bindings/go/go.mod", "bindings/c/examples/char_rnn.c",
                 "docs/embedding.md"]:
        assert list(tree.glob(file)), f"{tree.name} has no {file}"
    for page in tree.rglob("*.md"):
        for link in re.findall(r"\]\(([^)\s:#]+)(?:#[^)\s]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{tree.name}: {page.relative_to(tree)} leads to {link}, which is not there"


def programs(builder: Builder, target: Target, tree: Path, work: Path) -> dict[str, Path]:
    """Tests/install/program.c on the shared library and on the static one, and an example."""
    suffix = ".exe" if target.kind == "pe" else ""
    lib = tree / "lib"
    shared = {"elf": [f"-L{lib}", "-lgradclip", f"-Wl,-rpath,{lib}"], "macho": [lib / "libgradclip.dylib"], "pe": [lib / "gradclip.lib"]}
    linked = {"shared": shared[target.kind]}
    if (lib / "libgradclip.a").exists():
        linked["static"] = [lib / "libgradclip.a", "-static"] if target.name.endswith("musl") else [lib / "libgradclip.a"]
    made = {}
    for name, libraries in linked.items():
        made[name] = work / f"{name}{suffix}"
        run(builder.zig, "cc", "-target", target.zig, "-std=c11", "-O1", "-g0", f"-I{tree}/include", "-o", made[name],
            ROOT / "Tests/install/program.c", *libraries, "-lpthread", "-lm")
    run(builder.zig, "cc", "-target", target.zig, "-std=c11", "-O1", "-g0", f"-I{tree}/include", "-o", work / f"example{suffix}",
        tree / "bindings/c/examples/char_rnn.c", *linked["shared"], "-lm")
    if target.kind == "pe":
        shutil.copy(tree / "bin/gradclip.dll", work)
    return made


def python(target: Target, tree: Path, work: Path) -> str:
    """pip takes the wheel for its platform; this Python loads the library in it, or says whose it is."""
    (wheel,) = (tree / "python").iterdir()
    site = work / "site"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--only-binary=:all:",
        f"--platform={target.wheel}", "--target", site, wheel)
    library = site / "gradclip" / BINARIES[target.kind]
    environment = {**os.environ, "PYTHONPATH": str(site), "GRADCLIP_LIBRARY": str(library)}
    done = subprocess.run([sys.executable, "-c", "import array, gradclip; print(gradclip.get_total_norm([array.array(\"f\", [3, 4])]))"], cwd=work, env=environment,
                          capture_output=True, text=True)
    if target.name == "linux-x86_64-gnu":
        assert done.stdout == "5.0\n", done.stderr
        return "its library loads here"
    said = re.search(r" is for (.*), and this Python needs (.*)", done.stderr)
    assert done.returncode != 0 and said, done.stderr
    words = {"linux": "Linux", "macos": "macOS", "windows": "Windows", "gnu": "glibc"}
    assert said[1].split() == [words.get(word, word) for word in target.name.split("-")], said[1]
    return f"Python says it is for {said[1]}"


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cross = Path(sys.argv[1]).resolve()
    builder = Builder(cross)
    for target in TARGETS:
        if sys.argv[2:] and target.name not in sys.argv[2:]:
            continue
        if not (cross / "dist").is_dir():
            stop(f"{cross / 'dist'} is missing: run make cross")
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            (work / "a clean folder").mkdir()
            tree = unpacked(target, cross / "dist", work / "a clean folder")
            complete(tree)
            seen = ["linked"]
            runner = RUNNERS.get(target.name)
            made = programs(builder, target, tree, work)
            for name, program in made.items():
                if runner is None or target.kind == "macho" or (name == "shared" and runner.static):
                    continue
                # (musl's loader is for programs that ask for one.)
                command = () if name == "static" and "ld-musl" in "".join(runner.command) else runner.command
                done = subprocess.run([*command, program], env={**os.environ, **runner.environment}, capture_output=True, text=True)
                assert done.returncode == 0 and done.stdout.startswith(version()), f"{target.name}: {name}: {done}"
                seen.append(f"{name}: {runner.how}")
            seen.append(python(target, tree, work))
            if target.kind == "elf" and runner and not runner.static:  # the wheel's library in the place of the archive's
                environment = {**os.environ, **runner.environment, "LD_LIBRARY_PATH": str(work / "site/gradclip")}
                done = subprocess.run([*runner.command, made["shared"]], env=environment, capture_output=True, text=True)
                assert done.returncode == 0 and done.stdout.startswith(version()), f"{target.name}: the wheel's library: {done}"
                seen.append("a program runs with it")
        print(f"ok: {target.name}: {'; '.join(seen)}", flush=True)


if __name__ == "__main__":
    main()
