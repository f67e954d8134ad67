"""The four functions of torch.nn.utils, argument for argument."""

from __future__ import annotations

import math
import types
import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from .._choosers.chooser import Chooser
from .._gradients.types import NonFinitePolicy
from .._methods.whole import clip_value_of, run
from .._native import ffi
from .._native.call import Options
from .._native.errors import NonFiniteGradientError
from .._norm import Norm
from . import _fallback, _sharded
from ._rows import (
    FLOAT32_MAX,
    ForTorch,
    Gradients,
    Held,
    Memo,
    Parameters,
    gradients_in,
    gradients_of,
    is_group,
    look_at,
    parameters_of,
)


def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float | Chooser,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
    *,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> Tensor:
    """Scales the gradients of parameters in place so that their norm, taken together, is at
    most max_norm. Does what torch.nn.utils.clip_grad_norm_ does.

    Args:
        parameters: a parameter, or any iterable of parameters; a model, its
            named_parameters() (then errors have the names), an optimizer, or
            param_groups. Those whose .grad is None are passed over. Gradients that are
            the same memory count, and are scaled, once.
        max_norm: the largest norm allowed, >= 0. 0 gives zeros; infinity only
            measures, and writes nothing. Or a chooser, which takes the norm in and sets
            it: what it decided, .skip above all, is its .last.
        norm_type: the order p of the norm, any number but NaN; 'inf' too.
        error_if_nonfinite: raise NonFiniteGradientError (a RuntimeError), before
            anything is written, if the norm is NaN or infinite for gradients
            that are not finite.
        foreach: as in torch, which only looks at it for gradients that go to
            torch's own function.
        eps: added to the norm in the coefficient, >= 0. 1e-6 is torch's; 0 is
            that of optax, TensorFlow and the textbooks.
        nonfinite: what to do when elements are NaN or infinite. "propagate":
            what torch does, multiply by the coefficient that follows from the
            non-finite norm. "leave": write nothing. "zero": set them to 0 and
            clip the rest by the norm of the rest.
        grad_scale: what the gradients are still multiplied by (loss scaling),
            > 2**-1024. The norm is that of the gradients / grad_scale, and they are
            divided by it in the same pass.
        names: names of the parameters for errors, one each.

    Gradients lie on the CPU and are float32, float64, float16, bfloat16, or
    complex if norm_type is 2. They may have any memory format; those with gaps
    in their memory are clipped in a copy, which is copied back. Sparse ones
    (nn.Embedding(sparse=True)) are coalesced if they are scaled, and count as what they
    stand for: an index that is there twice counts by its sum. DTensors whose parts lie
    on the CPU (fully_shard with CPUOffloadPolicy) are clipped by the norm of all ranks of
    their device meshes: gradclip.torch.distributed.clip_grad_norm_ does that. If there is any
    other gradient among them, all go to torch's own function.

    Returns:
        The norm before clipping: float32, or float64 if a gradient is of double
        precision or the norm exceeds the float32 range.

    Raises:
        NonFiniteGradientError: see error_if_nonfinite.
        ValueError: an argument is outside its range (torch takes a negative
            max_norm, and flips signs).
        UnsupportedError: eps, nonfinite or grad_scale is given, and gradients
            must go to torch's own function, which has no such argument.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_grad_norm_([weight], max_norm=1.0)
    tensor(5.)
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    if torch.compiler.is_compiling():
        return _fallback.clip_grad_norm_(
            parameters, max_norm, norm_type, error_if_nonfinite, foreach
        )
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale)
    listed, names = parameters_of(parameters, names)
    if not listed and isinstance(parameters, types.GeneratorType):
        warnings.warn(
            "`parameters` is an empty generator, no gradient clipping will occur.",
            stacklevel=2,
        )
    order, memo = options.norm_type, parameters._memo if isinstance(parameters, Held) else None
    seen = look_at(gradients_of(listed), names, order == 2, memo, order >= 0)
    return clip_whole(listed, seen, max_norm, options, foreach, names)


def get_total_norm(
    tensors: Parameters,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
    *,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> Tensor:
    """The norm of tensors, taken together. Does what torch.nn.utils.get_total_norm does.

    Args:
        tensors: a tensor or any iterable of tensors: the gradients themselves,
            not the parameters. Of a model, an optimizer or param_groups their gradients.

    The other arguments, which tensors are taken, and what is returned, are as for
    clip_grad_norm_; nonfinite="zero" leaves NaN and infinities out of the norm.

    >>> get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5.)
    """
    if torch.compiler.is_compiling():
        return _fallback.get_total_norm(tensors, norm_type, error_if_nonfinite, foreach)
    options = Options(norm_type, error_if_nonfinite, 1e-6, nonfinite, grad_scale)
    listed, names = parameters_of(tensors, names, "tensors")
    seen: Gradients | ForTorch
    if hold_parameters(tensors):
        seen = look(listed, names, options, memo_of(tensors))
        grads = [parameter.grad for parameter in listed]
        return norm_whole(listed, grads, seen, options, foreach, names)
    if any(tensor is None for tensor in listed):
        seen = ForTorch(0, "is None, or another is")  # which torch has no use for here
    else:
        order = options.norm_type
        seen = look_at(gradients_in(listed), names, order == 2, sparse_too=order >= 0)
    return norm_whole(listed, listed, seen, options, foreach, names)


def clip_grads_with_norm_(
    parameters: Parameters,
    max_norm: float,
    total_norm: Tensor,
    foreach: bool | None = None,
    *,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
) -> None:
    """Scales the gradients of parameters in place by min(1, max_norm / (total_norm + eps)), for
    a norm that is known already. Does what torch.nn.utils.clip_grads_with_norm_ does.

    Args:
        parameters: the parameters, as for clip_grad_norm_, not the gradients.
        total_norm: a tensor of one element or a number, >= 0 or NaN (with which
            all gradients become NaN).

    The other arguments are as for clip_grad_norm_. Complex gradients are taken
    whatever norm total_norm is. Warns when it is given gradients in the place of
    parameters, which leaves them as they are.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_grads_with_norm_([weight], 1.0, get_total_norm([weight.grad]))
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    if torch.compiler.is_compiling():
        _fallback.clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)
        return
    options = Options(eps=eps, nonfinite=nonfinite, grad_scale=grad_scale)
    listed, names = parameters_of(parameters)
    seen = look(listed, names, options, memo_of(parameters))
    clip_by_total(listed, seen, number("max_norm", max_norm), total_norm, options, foreach)


def clip_grad_value_(
    parameters: Parameters, clip_value: float, foreach: bool | None = None
) -> None:
    """Clamps every element of the parameters' gradients to [-clip_value, clip_value], in place.
    Does what torch.nn.utils.clip_grad_value_ does.

    Args:
        parameters: the parameters, as for clip_grad_norm_.
        clip_value: the largest magnitude allowed, >= 0. It is rounded to each
            gradient's dtype. NaN stays NaN; infinities become +-clip_value.
        foreach: as for clip_grad_norm_.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, -0.5])
    >>> clip_grad_value_([weight], 1.0)
    >>> weight.grad
    tensor([ 1.0000, -0.5000])
    """
    if torch.compiler.is_compiling():
        _fallback.clip_grad_value_(parameters, clip_value, foreach)
        return
    listed, names = parameters_of(parameters)
    seen = look_at(gradients_of(listed), names, False, memo_of(parameters))
    clip_values(listed, seen, number("clip_value", clip_value), foreach)


# ---------------------------------------- once it is known whose the gradients are --


def number(name: str, value: Any) -> float:
    """What torch takes as one: whatever float() does, numbers of numpy, tensors and "10" too."""
    try:
        return float(value.item() if isinstance(value, Tensor) else value)
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f"{name} must be a real number (got {value!r})") from None


def memo_of(parameters: Parameters) -> Memo | None:
    return parameters._memo if isinstance(parameters, Held) else None


def look(
    parameters: list[Any], names: list[str] | None, options: Options, memo: Memo | None = None
) -> Gradients | ForTorch:
    norm_type = options.norm_type
    return look_at(gradients_of(parameters), names, norm_type == 2, memo, norm_type >= 0)


def clip_whole(
    parameters: list[Any],
    seen: Gradients | ForTorch,
    max_norm: float | Chooser,
    options: Options,
    foreach: bool | None,
    names: list[str] | None,
) -> Tensor:
    plain = isinstance(seen, Gradients) and seen.place_of is None  # none of many is a DTensor
    if not plain and _sharded.spans_ranks(parameters, seen):
        return _sharded.clip_grad_norm_(parameters, max_norm, options, names)
    if hasattr(max_norm, "feed"):
        return as_tensor(by_chooser(max_norm, parameters, seen, options), seen)
    if type(max_norm) is not float:
        max_norm = number("max_norm", max_norm)
    if isinstance(seen, ForTorch):
        _fallback.refuse(seen, options)
        _fallback.check_max_norm(max_norm)
        arguments = (max_norm, options.norm_type, options.error_if_nonfinite, foreach)
        clipped: Tensor = _fallback.by_torch(
            seen, _fallback.clip_grad_norm_, parameters, *arguments
        )
        return clipped
    return as_tensor(clip_seen(seen, max_norm, options), seen)


def norm_whole(
    owners: list[Any],
    grads: list[Any],
    seen: Gradients | ForTorch,
    options: Options,
    foreach: bool | None,
    names: list[str] | None,
) -> Tensor:
    """The norm of the gradients, some of them None, of some owners (or their own)."""
    if _sharded.may_be(seen) and _sharded.are_in_memory(owners, grads):
        return _sharded.get_total_norm(owners, grads, options, names)
    if isinstance(seen, ForTorch):
        _fallback.refuse(seen, options)
        tensors = grads if owners is grads else [grad for grad in grads if grad is not None]
        arguments = (options.norm_type, options.error_if_nonfinite, foreach)
        norm: Tensor = _fallback.by_torch(seen, _fallback.get_total_norm, tensors, *arguments)
        return norm
    return as_tensor(measure_seen(seen, options), seen)


def clip_by_total(
    parameters: list[Any],
    seen: Gradients | ForTorch,
    max_norm: float,
    total_norm: Tensor | float,
    options: Options,
    foreach: bool | None,
) -> None:
    if isinstance(seen, ForTorch) and not _sharded.is_dtensor(total_norm):
        parameters, seen = _sharded.local_parts(parameters, seen)
    if isinstance(total_norm, Tensor) and not _is_number(total_norm):
        seen = ForTorch(0, "is to be scaled by a total_norm that is no number in CPU memory")
    if isinstance(seen, ForTorch):
        _fallback.refuse(seen, options)
        _fallback.check_max_norm(max_norm)
        own = _fallback.clip_grads_with_norm_
        _fallback.by_torch(seen, own, parameters, max_norm, total_norm, foreach)
        return
    if not seen.arrays:
        _warn_of_gradients(parameters)
    total = number("total_norm", total_norm)
    if math.isnan(total) and options.nonfinite == "propagate":
        _fallback.check_max_norm(max_norm)
        _fallback.clip_grads_with_norm_(parameters, max_norm, torch.tensor(total), foreach)
        return
    norm = run(ffi.gradclip_clip_grads_with_norm, seen, options, max_norm, total)
    if options.nonfinite == "zero" or norm.clip_coef != 1.0 or options.grad_scale != 1.0:
        seen.written()


def clip_values(
    parameters: list[Any], seen: Gradients | ForTorch, clip_value: float, foreach: bool | None
) -> None:
    if isinstance(seen, ForTorch):
        parameters, seen = _sharded.local_parts(parameters, seen, complex_too=False)
    if isinstance(seen, ForTorch):
        _fallback.check_value(clip_value)
        _fallback.by_torch(seen, _fallback.clip_grad_value_, parameters, clip_value, foreach)
        return
    clip_value_of(seen, clip_value)
    seen.written()


def clip_seen(seen: Gradients, max_norm: float, options: Options) -> Norm:
    """Clips, and raises as torch does: for a non-finite norm, not for an overflow."""
    first = options
    if options.error_if_nonfinite:
        first = options.but(error_if_nonfinite=False, nonfinite="leave")
    norm = run(ffi.gradclip_clip_grad_norm, seen, first, max_norm, first.norm_type)
    if options.error_if_nonfinite and norm.nonfinite:
        _raise_for(norm, options)
        # Of order 0 or below, the norm of infinities can be finite.
        first = options.but(error_if_nonfinite=False)
        norm = run(ffi.gradclip_clip_grad_norm, seen, first, max_norm, first.norm_type)
    if first.writes(norm):
        seen.written()
    return norm


def measure_seen(seen: Gradients, options: Options) -> Norm:
    first = options
    if options.error_if_nonfinite:
        first = options.but(error_if_nonfinite=False, nonfinite="leave")
    norm = run(ffi.gradclip_get_total_norm, seen, first, first.norm_type)
    if options.error_if_nonfinite and norm.nonfinite:
        _raise_for(norm, options)
        if options.nonfinite == "zero":
            first = options.but(error_if_nonfinite=False)
            norm = run(ffi.gradclip_get_total_norm, seen, first, first.norm_type)
    return norm


def by_chooser(
    chooser: Any, parameters: list[Any], seen: Gradients | ForTorch, options: Options
) -> Norm:
    """Clips as a chooser of this package decides; its .last is the decision."""
    if options.error_if_nonfinite and not isinstance(seen, ForTorch):
        measure_seen(seen, options)
    if options.nonfinite == "propagate":  # a NaN is left alone, and its step to be skipped
        options = options.but(nonfinite="leave", error_if_nonfinite=False)
    return _fallback.clip_by_chooser(chooser, parameters, seen, options)


def as_tensor(norm: float, seen: Gradients | ForTorch) -> Tensor:
    if isinstance(seen, Gradients) and not seen.arrays:
        return torch.tensor(0.0)  # of the default dtype on the default device, as torch's
    wide = isinstance(seen, Gradients) and seen.wide
    wide = wide or FLOAT32_MAX < norm < math.inf
    # Without a device it would follow torch.set_default_device, away from the gradients.
    return torch.tensor(norm, dtype=torch.float64 if wide else torch.float32, device="cpu")


def _raise_for(norm: Norm, options: Options) -> None:
    if not math.isfinite(norm):
        raise NonFiniteGradientError(norm.nonfinite, options.norm_type)


def _is_number(total_norm: Tensor) -> bool:
    return type(total_norm) is Tensor and total_norm.is_cpu and total_norm.numel() == 1


def hold_parameters(given: Any) -> bool:
    """Whether these are parameters beyond doubt, where gradients are asked for: theirs are meant."""
    groups = isinstance(given, list) and bool(given) and isinstance(given[0], dict)
    return groups or is_group(given) or isinstance(given, (Module, Optimizer, Held))


def _warn_of_gradients(parameters: list[Any]) -> None:
    if any(
        not isinstance(p, Parameter) and not (p.requires_grad and p.is_leaf) for p in parameters
    ):
        warnings.warn(
            "clip_grads_with_norm_ takes parameters, and was given tensors that have no gradient "
            "(gradients themselves?): nothing is clipped",
            stacklevel=4,
        )
