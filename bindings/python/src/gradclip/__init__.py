"""Gradient clipping for arrays in CPU memory.

    norm = gradclip.clip_grad_norm_(grads, max_norm=1.0)

grads are NumPy arrays or any other writable arrays with the buffer protocol or
DLPack, in a list, a dictionary or any nesting of them. The semantics are those
of torch.nn.utils.clip_grad_norm_; the norm is computed in float64 and cannot
overflow, and NaN or infinite gradients are reported with their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._methods.accumulator import Accumulator
from ._methods.inspect import inspect
from ._methods.plan import Plan
from ._methods.whole import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    defer_clip,
    get_total_norm,
)
from ._native.errors import (
    BadDataError,
    GradClipError,
    InvalidArgumentError,
    NonFiniteGradientError,
    OutOfMemoryError,
    UnsupportedError,
)
from ._norm import NonFinite, Norm
from ._version import __version__

if TYPE_CHECKING:
    from ._advise import advise
    from ._advise.advice import Advice
    from ._advise.extra import MissingPackageError
    from ._advise.log import LogError
    from ._choosers import AdaGC, AutoClip, Decision, SkipStep, ZClip
    from ._methods.examples import PerExample, adapt_max_norm, clip_per_example
    from ._methods.parts import PartsNorm, clip_by_block_rms_, clip_by_group_, clip_by_norm_
    from ._methods.report import Inspection, Report
    from ._methods.units import adaptive_clip_grad_
    from ._monitor.diagnosis import Culprit, Diagnosis, Spike
    from ._monitor.monitor import Monitor
    from ._monitor.recorder import MonitorWarning, Step

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
    "Culprit": "_monitor.diagnosis",
    "Decision": "_choosers",
    "Diagnosis": "_monitor.diagnosis",
    "Inspection": "_methods.report",
    "LogError": "_advise.log",
    "MissingPackageError": "_advise.extra",
    "Monitor": "_monitor.monitor",
    "MonitorWarning": "_monitor.recorder",
    "PartsNorm": "_methods.parts",
    "PerExample": "_methods.examples",
    "Report": "_methods.report",
    "SkipStep": "_choosers",
    "Spike": "_monitor.diagnosis",
    "Step": "_monitor.recorder",
    "ZClip": "_choosers",
    "adapt_max_norm": "_methods.examples",
    "adaptive_clip_grad_": "_methods.units",
    "advise": "_advise",
    "clip_by_block_rms_": "_methods.parts",
    "clip_by_group_": "_methods.parts",
    "clip_by_norm_": "_methods.parts",
    "clip_per_example": "_methods.examples",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
