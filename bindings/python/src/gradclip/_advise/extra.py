"""The packages of the extra `gradclip[cli]`, which are imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .._native.errors import MissingPackageError as MissingPackageError

EXTRA = "or all that the commands can use: pip install 'gradclip[cli]'"


def require(module: str, purpose: str) -> Any:
    """The module, or a MissingPackageError that says what for and how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs the package {package}, which cannot be imported ({error}): pip install {package}, {EXTRA}"
        ) from error
