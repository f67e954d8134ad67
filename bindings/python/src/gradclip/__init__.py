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
    from ._adaptive import adaptive_clip_grad_
    from ._advise import advise
    from ._advise.advice import Advice
    from ._advise.extra import MissingPackageError
    from ._advise.log import LogError
    from ._chooser import Decision
    from ._choosers import AdaGC, AutoClip, SkipStep, ZClip
    from ._diagnosis import Culprit, Diagnosis, Spike
    from ._family import PartsNorm, adapt_max_norm
    from ._monitor import Monitor
    from ._parts import clip_by_block_rms_, clip_by_group_, clip_by_norm_
    from ._per_example import PerExample, clip_per_example
    from ._recorder import MonitorWarning, Step
    from ._report import Inspection, Report

__all__ = [
    "Accumulator",
    "AdaGC",
    "Advice",
    "AutoClip",
    "BadDataError",
    "Culprit",
    "Decision",
    "Diagnosis",
    "GradClipError",
    "Inspection",
    "InvalidArgumentError",
    "LogError",
    "MissingPackageError",
    "Monitor",
    "MonitorWarning",
    "NonFinite",
    "NonFiniteGradientError",
    "Norm",
    "OutOfMemoryError",
    "PartsNorm",
    "PerExample",
    "Plan",
    "Report",
    "SkipStep",
    "Spike",
    "Step",
    "UnsupportedError",
    "ZClip",
    "__version__",
    "adapt_max_norm",
    "adaptive_clip_grad_",
    "advise",
    "clip_by_block_rms_",
    "clip_by_group_",
    "clip_by_norm_",
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "clip_per_example",
    "defer_clip",
    "get_total_norm",
    "inspect",
]


# What is loaded when it is first used, and where it is.
_LATER = {
    "AdaGC": "_choosers",
    "Advice": "_advise.advice",
    "AutoClip": "_choosers",
    "Culprit": "_diagnosis",
    "Decision": "_chooser",
    "Diagnosis": "_diagnosis",
    "Inspection": "_report",
    "LogError": "_advise.log",
    "MissingPackageError": "_advise.extra",
    "Monitor": "_monitor",
    "MonitorWarning": "_recorder",
    "PartsNorm": "_family",
    "PerExample": "_per_example",
    "Report": "_report",
    "SkipStep": "_choosers",
    "Spike": "_diagnosis",
    "Step": "_recorder",
    "ZClip": "_choosers",
    "adapt_max_norm": "_family",
    "adaptive_clip_grad_": "_adaptive",
    "advise": "_advise",
    "clip_by_block_rms_": "_parts",
    "clip_by_group_": "_parts",
    "clip_by_norm_": "_parts",
    "clip_per_example": "_per_example",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
