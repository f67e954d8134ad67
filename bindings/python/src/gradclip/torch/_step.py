"""clip_and_step: clipping that is left to the optimizer, which reads the gradients anyway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer
from torch.optim import optimizer as _hooks

from .._methods.whole import clip_coef
from .._native.call import Options
from .._native.errors import UnsupportedError
from . import _fallback, _sharded
from ._clip import as_tensor, clip_seen, clip_whole, look, measure_seen, number
from ._rows import FLOAT32_MAX, ForTorch, parameters_of

# The optimizers whose fused kernels divide gradients by optimizer.grad_scale. A
# subclass may do more in its step() than they do, and look at the gradients.
_FUSED = (Adam, AdamW, SGD, Adagrad)


def clip_and_step(
    optimizer: Optimizer,
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
    *,
    eps: float = 1e-6,
    names: Iterable[str] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    closure: None = None,
) -> Tensor:
    """Clips the gradients of an optimizer's parameters, of all groups together, and steps.

    The parameters become what clip_grad_norm_ and optimizer.step() would make of
    them, to rounding. With torch's Adam, AdamW, SGD and Adagrad, made with
    fused=True and without hooks before the step, the coefficient is not multiplied
    into the gradients but handed to the optimizer in its `grad_scale`, by which
    its kernel divides: that saves a pass over the gradients. A grad_scale that is
    set already counts: the norm is that of the gradients / grad_scale. Other
    optimizers, gradients of double precision (grad_scale is float32), and DTensors in CPU
    memory, by the norm of all their ranks, are clipped in place.

    Where a gradient is NaN or infinite, step() is not called, and nothing changes.

    Args:
        optimizer: the optimizer. Its gradients have been computed.
        max_norm, norm_type, error_if_nonfinite, foreach, eps: as for clip_grad_norm_.
        names: names of the parameters for errors, one each, in the order of the groups.
        scaler: the torch.amp.GradScaler that scaled the loss: its unscale_() and step() are
            called here, and its update() is left to you. Do not call unscale_() before.
        closure: refused. The gradients that a closure would compute do not exist
            yet when they are to be clipped.

    Returns:
        The norm before clipping, as clip_grad_norm_ does; it is not finite where
        the step was left out for a NaN or an infinity (for norm_type <= 0 it may be).

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_and_step(optimizer, max_norm=1.0)
    tensor(5.)
    >>> weight.detach()
    tensor([-0.6000, -0.8000])
    """
    if closure is not None:
        raise ValueError(
            "closure must be None: its gradients would be computed in the step, after "
            f"clipping (got {closure!r})"
        )
    options = Options(norm_type, error_if_nonfinite, eps)
    parameters, names = parameters_of(optimizer, names)
    if hasattr(max_norm, "feed"):
        raise TypeError(
            "max_norm must be a number: with a chooser call clip_grad_norm_(optimizer, chooser), and "
            f"step() unless chooser.last.skip (got {max_norm!r})"
        )
    if scaler is not None and scaler.is_enabled():
        scaler.unscale_(optimizer)
        # What is not finite the scaler has seen: it leaves the step out, and lowers the scale.
        seen = look(parameters, names, options)
        norm = clip_whole(parameters, seen, max_norm, options, foreach, names)
        scaler.step(optimizer)
        return norm
    seen = look(parameters, names, options)
    scale = getattr(optimizer, "grad_scale", None)
    if _sharded.spans_ranks(parameters, seen):
        work = _sharded.OverRanks(parameters, names, options)
        if scale is not None:
            work.refusal = UnsupportedError("optimizer.grad_scale must be None for DTensors")
        found = work.clip(max_norm, "leave")
        if not found.nonfinite:
            optimizer.step()
        return _sharded.as_tensor(found, parameters)
    max_norm = number("max_norm", max_norm)
    if isinstance(seen, ForTorch):
        _fallback.refuse(seen, options.but(nonfinite="propagate"))
        _fallback.check_max_norm(max_norm)
        return _by_torch(optimizer, parameters, max_norm, options, foreach)
    scaled_by = 1.0 if scale is None else float(scale)
    if _divides(optimizer) and not seen.wide:
        found = measure_seen(seen, options.but(grad_scale=scaled_by))
        coef = clip_coef(max_norm, found, eps) if not found.nonfinite else 1.0
        if coef * FLOAT32_MAX > scaled_by:
            if not found.nonfinite:
                with _divisor(optimizer, scaled_by, coef):
                    optimizer.step()
            return as_tensor(found, seen)
    # The optimizer will divide by its grad_scale afterwards: clip as if it had.
    unit = 1.0 if options.norm_type == 0 else scaled_by
    found = clip_seen(seen, max_norm * unit, options.but(eps=eps * unit))
    if not found.nonfinite:
        optimizer.step()
    return as_tensor(found / unit, seen)


def _divides(optimizer: Optimizer) -> bool:
    """Whether step() divides all gradients by grad_scale, and does nothing before."""
    # torch keeps hooks under private names: where it has others, a hook is taken for possible.
    return (
        type(optimizer) in _FUSED
        and all(group.get("fused") for group in optimizer.param_groups)
        and not getattr(optimizer, "_optimizer_step_pre_hooks", True)
        and not getattr(_hooks, "_global_optimizer_pre_hooks", True)
    )


@contextmanager
def _divisor(optimizer: Any, scaled_by: float, clip_coef: float) -> Iterator[None]:
    if clip_coef == 1:
        yield
        return
    missing = object()
    before = getattr(optimizer, "grad_scale", missing)
    optimizer.grad_scale = torch.tensor(scaled_by / clip_coef, dtype=torch.float32, device="cpu")
    try:
        yield
    finally:
        if before is missing:
            del optimizer.grad_scale
        else:
            optimizer.grad_scale = before


def _by_torch(
    optimizer: Optimizer,
    parameters: list[Any],
    max_norm: float,
    options: Options,
    foreach: bool | None,
) -> Tensor:
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm_type = options.norm_type
    norm = _fallback.get_total_norm(gradients, norm_type, options.error_if_nonfinite, foreach)
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None and norm_type != 0:
        norm = norm / scale.to(norm.device)
    if torch.isfinite(norm):
        _fallback.clip_grads_with_norm_(parameters, max_norm, norm, foreach)
        optimizer.step()
    return norm
