"""Puts the shared library into the wheel, and its sources into the sdist.

The library is the one named by GRADCLIP_PREBUILT, or what `make lib` builds from
its sources: those of the checkout that this package lies in, or those that the
sdist carries in library/. It goes beside the package's modules as
libgradclip.so.1 (its soname), where gradclip._native.load looks for it first.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SONAME = "libgradclip.so.1"
BUILT = Path("build", "lib", "libgradclip.so")
# What `make lib` needs, and Tests: the package manifest names the Swift tests, and
# the Python tests use the oracle.
SOURCES = ("Makefile", "Package.swift", "Sources", "Tests", "exports.map", "include", "packaging")
CARRIED = "library"  # where the sdist has them


class LibraryHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name == "sdist":
            build_data["force_include"].update(self.carried())
        elif version != "editable":  # which finds build/lib of its own checkout
            build_data["force_include"][str(self.library())] = f"gradclip/{SONAME}"
            # The library does not know Python's ABI, only the machine's.
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"
            build_data["pure_python"] = False

    def carried(self) -> dict[str, str]:
        sources = self.sources()
        if sources.parent == Path(self.root):
            return {}  # an sdist made of an sdist: they are in it
        return {str(sources / name): f"{CARRIED}/{name}" for name in SOURCES}

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
