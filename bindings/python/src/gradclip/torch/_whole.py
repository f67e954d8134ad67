"""What the functions and the plan do once it is known whose the gradients are."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from .._methods import on_rows
from .._native.errors import NonFiniteGradientError, UnsupportedError
from .._norm import Norm
from . import _fallback
from ._rows import NOTHING, ForTorch, Gradients

FLOAT32_MAX = torch.finfo(torch.float32).max


def clip_grad_norm_(
    parameters: list[Any],
    seen: Gradients | ForTorch,
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    foreach: bool | None,
    eps: float,
    nonfinite: str,
    grad_scale: float,
) -> Tensor:
    if isinstance(seen, ForTorch):
        refuse_options(seen, eps, nonfinite, grad_scale)
        check_max_norm(max_norm)
        return _fallback.clip_grad_norm_(
            parameters, max_norm, norm_type, error_if_nonfinite, foreach
        )
    norm = clip_by_norm(seen, max_norm, norm_type, error_if_nonfinite, eps, nonfinite, grad_scale)
    return as_tensor(norm, seen)


def get_total_norm(
    tensors: list[Any],
    seen: Gradients | ForTorch,
    norm_type: float,
    error_if_nonfinite: bool,
    foreach: bool | None,
    nonfinite: str,
    grad_scale: float,
) -> Tensor:
    if isinstance(seen, ForTorch):
        refuse_options(seen, 1e-6, nonfinite, grad_scale)
        return _fallback.get_total_norm(tensors, norm_type, error_if_nonfinite, foreach)
    return as_tensor(measure(seen, norm_type, error_if_nonfinite, nonfinite, grad_scale), seen)


def clip_grads_with_norm_(
    parameters: list[Any],
    seen: Gradients | ForTorch,
    max_norm: float,
    total_norm: Tensor | float,
    foreach: bool | None,
    eps: float,
    nonfinite: str,
    grad_scale: float,
) -> None:
    if isinstance(total_norm, Tensor) and not _is_number(total_norm):
        seen = ForTorch(0, "is to be scaled by a total_norm that is no number in CPU memory")
    if isinstance(seen, ForTorch):
        refuse_options(seen, eps, nonfinite, grad_scale)
        check_max_norm(max_norm)
        _fallback.clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)
        return
    if not seen.tensors:
        _warn_of_gradients(parameters)
    total = float(total_norm.item() if isinstance(total_norm, Tensor) else total_norm)
    if math.isnan(total) and nonfinite == "propagate":
        check_max_norm(max_norm)
        _fallback.clip_grads_with_norm_(parameters, max_norm, torch.tensor(total), foreach)
        return
    norm = on_rows.clip_grads_with_norm_(seen, max_norm, total, eps, nonfinite, grad_scale)
    if nonfinite == "zero" or norm.clip_coef != 1.0 or grad_scale != 1.0:
        seen.written()


def clip_grad_value_(
    parameters: list[Any], seen: Gradients | ForTorch, clip_value: float, foreach: bool | None
) -> None:
    if isinstance(seen, ForTorch):
        on_rows.clip_grad_value_(NOTHING, clip_value)  # refuses what is no limit
        _fallback.clip_grad_value_(parameters, clip_value, foreach)
        return
    on_rows.clip_grad_value_(seen, clip_value)
    seen.written()


# ---------------------------------------------------------- without torch's part --


def clip_by_norm(
    gradients: Gradients,
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    eps: float,
    nonfinite: str,
    grad_scale: float,
) -> Norm:
    """Clips, and raises as torch does: for a non-finite norm, not for an overflow."""
    policy = "leave" if error_if_nonfinite else nonfinite

    def clip(policy: str) -> Norm:
        return on_rows.clip_grad_norm_(
            gradients, max_norm, norm_type, False, eps, policy, grad_scale, False
        )

    norm = clip(policy)
    if error_if_nonfinite and norm.nonfinite:
        _raise_for(norm, norm_type)
        # Of order 0 or below, the norm of infinities can be finite.
        policy = nonfinite
        norm = clip(policy)
    if has_written(norm, policy, grad_scale):
        gradients.written()
    return norm


def measure(
    gradients: Gradients,
    norm_type: float,
    error_if_nonfinite: bool,
    nonfinite: str,
    grad_scale: float,
) -> Norm:
    policy = "leave" if error_if_nonfinite else nonfinite
    norm = on_rows.get_total_norm(gradients, norm_type, False, policy, grad_scale, False)
    if error_if_nonfinite and norm.nonfinite:
        _raise_for(norm, norm_type)
        if nonfinite == "zero":
            norm = on_rows.get_total_norm(gradients, norm_type, False, "zero", grad_scale, False)
    return norm


def _raise_for(norm: Norm, norm_type: float) -> None:
    if not math.isfinite(norm):
        raise NonFiniteGradientError(norm.nonfinite, norm_type)


def _is_number(total_norm: Tensor) -> bool:
    return type(total_norm) is Tensor and total_norm.is_cpu and total_norm.numel() == 1


def has_written(norm: Norm, nonfinite: str, grad_scale: float) -> bool:
    if norm.nonfinite and nonfinite != "propagate":
        return nonfinite == "zero"
    return norm.clip_coef != 1.0 or grad_scale != 1.0


def as_tensor(norm: float, gradients: Gradients) -> Tensor:
    if not gradients.tensors:
        return torch.tensor(0.0)  # of the default dtype on the default device, as torch's
    wide = gradients.wide or FLOAT32_MAX < norm < math.inf
    # Without a device it would follow torch.set_default_device, away from the gradients.
    return torch.tensor(norm, dtype=torch.float64 if wide else torch.float32, device="cpu")


def check_max_norm(max_norm: float) -> None:
    """Refuses, as the library does, what cannot be a norm, for calls that go to torch."""
    on_rows.clip_grads_with_norm_(NOTHING, max_norm, 0.0, 1e-6, "leave", 1.0)


def refuse_options(why: ForTorch, eps: float, nonfinite: str, grad_scale: float) -> None:
    """UnsupportedError if an argument is given that torch's own function does not have."""
    for name, value, default in (
        ("eps", eps, 1e-6),
        ("nonfinite", nonfinite, "propagate"),
        ("grad_scale", grad_scale, 1.0),
    ):
        if value != default:
            raise UnsupportedError(
                f"{name}={value!r} needs gradients that the library can clip, but gradient "
                f"{why.tensor} {why.what}: torch's own function, which could, has no {name}"
            )


def _warn_of_gradients(parameters: list[Any]) -> None:
    if any(
        not isinstance(p, Parameter) and not (p.requires_grad and p.is_leaf) for p in parameters
    ):
        warnings.warn(
            "clip_grads_with_norm_ takes parameters, and was given tensors that have no gradient "
            "(gradients themselves?): nothing is clipped",
            stacklevel=4,
        )
