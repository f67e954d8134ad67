"""An archive of everything a program needs that does not want to build the library: for people without Swift.

archives.py LIBRARY WHEEL OUTPUT: of the library that `make` built for this machine (`make dist`, which sets BUILD
and VERSION); `make cross` makes one for every target. The same tree gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from cross import ROOT, Target, run

# What lies beside the libraries, where it lies in the repository too; and what of it is only for working on it.
SOURCES = ("bindings/c", "bindings/cpp", "bindings/go", "bindings/rust", "bindings/swift", "bindings/python/README.md", "docs")
LEFT_OUT = ("target", "build", "tests", ".gitignore", "docc.sh")
LINK = re.compile(r"\[([^]]*)\]\(([^)\s:]+)\)")


def version() -> str:
    header = (ROOT / "include/gradclip.h").read_text()
    return header.split('#define GRADCLIP_VERSION_STRING "', 1)[1].split('"', 1)[0]


def oldest_python() -> str:
    return re.search(r'^requires-python = ">=([0-9.]+)"', (ROOT / "bindings/python/pyproject.toml").read_text(), re.M)[1]


def epoch() -> str:
    """As old as the last commit, or as the header without git."""
    if os.environ.get("SOURCE_DATE_EPOCH"):
        return os.environ["SOURCE_DATE_EPOCH"]
    done = subprocess.run(["git", "-C", str(ROOT), "log", "-1", "--format=%ct"], capture_output=True, text=True)
    return done.stdout.strip() or str(int((ROOT / "include/gradclip.h").stat().st_mtime))


def archive(target: Target, library: Path, wheel: Path, output: Path) -> Path:
    """OUTPUT/gradclip-VERSION-TARGET.tar.gz, or .zip for Windows, and its SHA-256."""
    with tempfile.TemporaryDirectory() as manual:
        run(sys.executable, ROOT / "packaging/man.py", ROOT / "include/gradclip.h",
            time.strftime("%Y-%m-%d", time.gmtime(int(epoch()))), manual)
        return pack(target.name, target.name.partition("-")[0], target.minimum, library, Path(manual), wheel, output)


def pack(name: str, system: str, minimum: str, library: Path, manual: Path, wheel: Path, output: Path) -> Path:
    name = f"gradclip-{version()}-{name}"
    static = library.parent / "libgradclip.a"
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, name)
        run("env", f"SYSTEM={system}", f"VERSION={version()}", f"LIBRARY={library}", f"STATIC={static if static.exists() else ''}",
            f"MANUAL={manual}", f"DESTDIR={folder}", f"PREFIX=/{name}", f"LIBDIR=/{name}/lib", f"INCLUDEDIR=/{name}/include",
            f"DATADIR=/{name}/share", ROOT / "packaging/install.sh", "install")
        kinds = {system, "static" if static.exists() else "", "" if system == "windows" else "unix"}
        (tree / "README.md").write_text(readme(kinds, minimum))
        for file in ("LICENSE", "CHANGELOG.md"):
            shutil.copy(ROOT / file, tree)
        (tree / "python").mkdir()
        shutil.copy(wheel, tree / "python")
        for source in SOURCES:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, tree / source, ignore=shutil.ignore_patterns(*LEFT_OUT))
            else:
                (tree / source).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, tree / source)
        for page in tree.rglob("*.md"):
            page.write_text(without_dead_links(page))
        output.mkdir(parents=True, exist_ok=True)
        packed = output / (name + (".zip" if system == "windows" else ".tar.gz"))
        (zipped if system == "windows" else tarred)(tree, packed)
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    Path(f"{packed}.sha256").write_text(f"{digest}  {packed.name}\n")
    return packed


def readme(kinds: set[str], minimum: str) -> str:
    """README.md.in, of which a line that begins with a kind and a bar is there for that kind alone."""
    lines = []
    for line in (ROOT / "packaging/README.md.in").read_text().splitlines():
        marked = re.match(r"(linux|macos|windows|unix|static)\| ?", line)
        if marked is None or marked[1] in kinds:
            lines.append(line[marked.end() if marked else 0 :])
    return "\n".join(lines + [""]).replace("@VERSION@", version()).replace("@MINIMUM@", minimum).replace("@PYTHON@", oldest_python())


def without_dead_links(page: Path) -> str:
    """The page, in which a link to what an archive lacks (the tests, say) is its words alone."""
    def link(found: re.Match[str]) -> str:
        name = found[2].partition("#")[0]
        return found[0] if not name or (page.parent / name).exists() else found[1]
    text = re.split(r"^(```.*?^```)", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in text)


def members(tree: Path) -> list[Path]:
    return [tree, *sorted(tree.rglob("*"))]


def mode(path: Path) -> int:
    return 0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644


def tarred(tree: Path, packed: Path) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as made:
        for path in members(tree):
            entry = made.gettarinfo(str(path), str(path.relative_to(tree.parent)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime, entry.mode = int(epoch()), 0o777 if path.is_symlink() else mode(path)
            if entry.isreg():
                with path.open("rb") as content:
                    made.addfile(entry, content)
            else:
                made.addfile(entry)
    packed.write_bytes(gzip.compress(plain.getvalue(), 9, mtime=0))


def zipped(tree: Path, packed: Path) -> None:
    date = time.gmtime(int(epoch()))[:6]
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for path in members(tree):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(tree.parent)), date)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.create_system, entry.external_attr = 3, (0o100000 | mode(path)) << 16
                made.writestr(entry, path.read_bytes())


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    library, wheel, output = (Path(word).resolve() for word in sys.argv[1:])
    system = {"Linux": "linux", "Darwin": "macos"}[platform.system()]
    minimum = "glibc 2.17" if system == "linux" else "macOS 11"
    packed = pack(f"{system}-{platform.machine()}", system, minimum, library, Path(os.environ["MANUAL"]), wheel, output)
    print(f"{packed}: {packed.stat().st_size} bytes")


if __name__ == "__main__":
    main()
