"""The packages of the extra `gradclip[cli]`, which are imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .._native.errors import GradClipError

EXTRA = "pip install 'gradclip[cli]'"


class MissingPackageError(GradClipError, ImportError):
    """A package of the extra `gradclip[cli]` is not installed; the message says how to get it."""

    __module__ = "gradclip"


def require(module: str, purpose: str) -> Any:
    """The module, or a MissingPackageError that says what for and how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs the package {package}, which cannot be imported ({error}): {EXTRA}"
        ) from error
