"""Gradient clipping for arrays in CPU memory.

    norm = gradclip.clip_grad_norm_(grads, max_norm=1.0)

grads are NumPy arrays or any other writable arrays with the buffer protocol or
DLPack, in a list, a dictionary or any nesting of them. The semantics are those
of torch.nn.utils.clip_grad_norm_; the norm is computed in float64 and cannot
overflow, and NaN or infinite gradients are reported with their place.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ._choosers import AdaGC, AutoClip, Decision, SkipStep, ZClip
from ._methods.accumulator import Accumulator
from ._methods.examples import PerExample, adapt_max_norm, clip_per_example
from ._methods.inspect import inspect
from ._methods.parts import PartsNorm, clip_by_block_rms_, clip_by_group_, clip_by_norm_
from ._methods.plan import Plan
from ._methods.report import Inspection, Report
from ._methods.units import adaptive_clip_grad_
from ._methods.whole import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    defer_clip,
    get_total_norm,
)
from ._monitor.diagnosis import Culprit, Diagnosis, Spike
from ._monitor.monitor import Monitor
from ._monitor.recorder import MonitorWarning, Step
from ._native.errors import (
    BadDataError,
    GradClipError,
    InvalidArgumentError,
    LogError,
    MissingPackageError,
    NonFiniteGradientError,
    OutOfMemoryError,
    UnsupportedError,
)
from ._native.threads import get_num_threads, set_num_threads
from ._norm import NonFinite, Norm
from ._version import __version__

if TYPE_CHECKING:
    from ._advise import advise
    from ._advise.advice import Advice

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
    "get_num_threads",
    "get_total_norm",
    "inspect",
    "set_num_threads",
]


def _at_home(public: dict[str, Any]) -> None:
    """Makes classes tell the module where users know them from, whose names are given."""
    home = public["__name__"]
    for value in public.values():
        if isinstance(value, type) and value.__module__.startswith(f"{home}._"):
            value.__module__ = home


_at_home(globals())

# What needs NumPy is loaded when it is first used.
_LATER = {"Advice": "_advise.advice", "advise": "_advise"}
_MODULES = ("deepspeed", "flower", "mpi", "torch")


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        value = getattr(import_module(f".{_LATER[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r} before it is imported: "
            f"import {__name__}.{name}"
        )
    # With its name and obj Python itself adds "Did you mean", from what dir() lists.
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__]
    )
