"""Gradient clipping for arrays in CPU memory.

    norm = gradclip.clip_grad_norm_(grads, max_norm=1.0)

grads are NumPy arrays or any other writable arrays with the buffer protocol or
DLPack, in a list, a dictionary or any nesting of them. The semantics are those
of torch.nn.utils.clip_grad_norm_; the norm is computed in float64 and cannot
overflow, and NaN or infinite gradients are reported with their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._accumulator import Accumulator
from ._clip import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    defer_clip,
    get_total_norm,
)
from ._errors import (
    BadDataError,
    GradClipError,
    InvalidArgumentError,
    NonFiniteGradientError,
    OutOfMemoryError,
    UnsupportedError,
)
from ._inspect import inspect
from ._norm import NonFinite, Norm
from ._plan import Plan
from ._version import __version__

if TYPE_CHECKING:
    from ._report import Inspection, Report

__all__ = [
    "Accumulator",
    "BadDataError",
    "GradClipError",
    "Inspection",
    "InvalidArgumentError",
    "NonFinite",
    "NonFiniteGradientError",
    "Norm",
    "OutOfMemoryError",
    "Plan",
    "Report",
    "UnsupportedError",
    "__version__",
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "defer_clip",
    "get_total_norm",
    "inspect",
]


def __getattr__(name: str) -> Any:
    # What inspect() returns is loaded when it is first used.
    if name in ("Inspection", "Report"):
        from . import _report

        return getattr(_report, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
