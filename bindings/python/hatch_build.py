"""Puts the shared library into the wheel, and its sources into the sdist; and puts
README.md into the package's metadata, without relative links.

The library is the one named by GRADCLIP_PREBUILT, or what `make lib` builds from
its sources: those of the checkout that this package lies in, or those that the
sdist carries in library/. It goes beside the package's modules under the name that
its system has for it, where gradclip._native.load looks first.

The wheel is for this machine, or for the platform tag that GRADCLIP_WHEEL_PLATFORM names
(`make cross`); a library of another machine is refused.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

BUILT = Path("build", "lib", "libgradclip.so")
# What `make lib` needs, and Tests: the package manifest names the Swift tests, and
# the Python tests use the oracle.
SOURCES = ("Makefile", "Package.swift", "Sources", "Tests", "include", "packaging")
CARRIED = "library"  # where the sdist has them
# How platform tags begin, the system, the libc.
SYSTEMS = (
    ("manylinux", "Linux", "glibc"),
    ("musllinux", "Linux", "musl"),
    ("linux_", "Linux", ""),
    ("macosx_", "macOS", ""),
    ("win", "Windows", ""),
)


def this_platform() -> str:
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    if platform.endswith("universal2"):  # Python is one file for two processors, the library is not
        platform = platform.replace("universal2", os.uname().machine)
    return platform


def machine_of(platform: str, own: str | None) -> str:
    """The machine that a platform tag is for, in the words of gradclip._native.binary."""
    for prefix, system, libc in SYSTEMS:
        if platform.startswith(prefix):
            # manylinux_2_17_x86_64, manylinux2014_aarch64, macosx_11_0_arm64, win_amd64
            last = re.sub(r"^[a-z]+\d*_(\d+_\d+_)?", "", platform)
            words = [system, {"amd64": "x86_64", "win32": "i686"}.get(last, last), libc]
            if prefix == "linux_" and own is not None:
                words += own.split()[2:]  # this Python's
            return " ".join(word for word in words if word)
    raise ValueError(f"GRADCLIP_WHEEL_PLATFORM is no platform tag that is known (got {platform})")


def for_an_index(readme: str, source: str | None) -> str:
    """README.md where nothing lies beside it: its links lead to the repository at `source`, or are
    the names of what they lead to in a checkout, where there is no such address."""

    def absolute(link: re.Match[str]) -> str:
        path = os.path.normpath(os.path.join("bindings/python", link[2]))
        if source is None:
            return f"`{path}`"
        return f"[{link[1]}]({source}/blob/main/{path}{link[3] or ''})"

    return re.sub(r"\[([^]]*)\]\((?!\w+:|#)([^)#]+)(#[^)]*)?\)", absolute, readme)


class ReadmeHook(MetadataHookInterface):
    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": for_an_index(text, metadata.get("urls", {}).get("Source")),
        }


class LibraryHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            build_data["force_include"].update(self.carried())
        elif version != "editable":  # which finds build/lib of its own checkout
            library = self.library()
            platform = os.environ.get("GRADCLIP_WHEEL_PLATFORM") or this_platform()
            name = self.name_in_wheel(library, platform)
            build_data["force_include"][str(library)] = f"gradclip/{name}"
            # The library does not know Python's ABI, only the machine's.
            build_data["tag"] = f"py3-none-{platform}"
            build_data["pure_python"] = False

    def name_in_wheel(self, library: Path, platform: str) -> str:
        binary = runpy.run_path(os.path.join(self.root, "src", "gradclip", "_native", "binary.py"))
        found, wanted = binary["machine"](str(library)), machine_of(platform, binary["own"]())
        if found is None:
            raise ValueError(f"{library} is no shared library of Linux, macOS or Windows")
        if not binary["fits"](found, wanted):
            raise ValueError(
                f"{library} is for {found}, and a wheel for {platform} needs one for {wanted}"
            )
        return str(binary["NAMES"][found.split()[0]])

    def carried(self) -> dict[str, str]:
        sources = self.sources()
        if sources.parent == Path(self.root):
            return {}  # an sdist made of an sdist: they are in it
        paths = [sources / name for name in SOURCES]
        # What is a link to a folder is a folder in the sdist.
        paths += [path for path in (sources / "Sources").iterdir() if path.is_symlink()]
        return {str(path): f"{CARRIED}/{path.relative_to(sources)}" for path in paths}

    def library(self) -> Path:
        prebuilt = os.environ.get("GRADCLIP_PREBUILT")
        if prebuilt:
            library = Path(prebuilt)
            if not library.is_absolute():  # builders run in a directory of their own choice
                raise ValueError(f"GRADCLIP_PREBUILT must be an absolute path (got {prebuilt})")
            if not library.is_file():
                raise FileNotFoundError(f"GRADCLIP_PREBUILT names no file: {prebuilt}")
            return library.resolve()
        sources = self.sources()
        subprocess.run(["make", "--directory", str(sources), "lib"], check=True)
        return (sources / BUILT).resolve()

    def sources(self) -> Path:
        root = Path(self.root)
        places = (root / CARRIED, root.parent.parent)
        for place in places:
            if (place / "Package.swift").is_file():
                return place
        raise FileNotFoundError(
            f"the sources of libgradclip are neither in {places[0]} nor in {places[1]}: build "
            "from an sdist or a checkout of the whole project, or set GRADCLIP_PREBUILT to the "
            "path of a built libgradclip.so"
        )
