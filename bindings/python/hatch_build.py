"""Puts the shared library into the wheel.

The library is the one named by GRADCLIP_PREBUILT, or what `make lib` builds in
the source tree that this package lies in. It goes beside the package's modules
as libgradclip.so.1 (its soname), where gradclip._library looks for it first.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SONAME = "libgradclip.so.1"
BUILT = Path("build", "lib", "libgradclip.so.1.0.0")


class LibraryHook(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # an editable install finds build/lib of its own checkout
        build_data["force_include"][str(self.library())] = f"gradclip/{SONAME}"
        # The library does not know Python's ABI, only the machine's.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False

    def library(self) -> Path:
        prebuilt = os.environ.get("GRADCLIP_PREBUILT")
        if prebuilt:
            library = Path(prebuilt)
            if not library.is_absolute():  # builders run in a directory of their own choice
                raise ValueError(f"GRADCLIP_PREBUILT must be an absolute path (got {prebuilt})")
            if not library.is_file():
                raise FileNotFoundError(f"GRADCLIP_PREBUILT names no file: {prebuilt}")
            return library.resolve()
        sources = Path(self.root).parent.parent
        if not (sources / "Package.swift").is_file():
            raise FileNotFoundError(
                f"the sources of libgradclip are not in {sources}: build from a checkout of the "
                "whole project, or set GRADCLIP_PREBUILT to the path of a built libgradclip.so"
            )
        subprocess.run(["make", "--directory", str(sources), "lib"], check=True)
        return sources / BUILT
