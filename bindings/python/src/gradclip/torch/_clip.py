"""The four functions of torch.nn.utils, argument for argument."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable
from typing import TypeAlias

import torch
from torch import Tensor

from .._gradients.types import NonFinitePolicy
from . import _fallback, _sharded, _whole
from ._rows import ForTorch, Gradients, checked_names, gradients_in, gradients_of, look_at

TensorOrTensors: TypeAlias = "Tensor | Iterable[Tensor]"


def clip_grad_norm_(
    parameters: TensorOrTensors,
    max_norm: float,
    norm_type: float = 2.0,
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
        parameters: a parameter, or any iterable of parameters. Those whose .grad
            is None are passed over. Gradients that are the same memory count,
            and are scaled, once.
        max_norm: the largest norm allowed, >= 0. 0 gives zeros; infinity only
            measures, and writes nothing.
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
    in their memory are clipped in a copy, which is copied back. DTensors whose parts lie
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
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    else:
        is_generator = isinstance(parameters, types.GeneratorType)
        parameters = list(parameters)
        if is_generator and not parameters:
            warnings.warn(
                "`parameters` is an empty generator, no gradient clipping will occur.",
                stacklevel=2,
            )
    max_norm, norm_type = float(max_norm), float(norm_type)
    listed_names = checked_names(names, len(parameters))
    seen = look_at(gradients_of(parameters), listed_names, complex_too=norm_type == 2)
    if _sharded.may_be(seen):
        grads = [parameter.grad for parameter in parameters]
        if _sharded.are_in_memory(parameters, grads):
            return _sharded.clip_grad_norm_(
                parameters,
                grads,
                max_norm,
                norm_type,
                error_if_nonfinite,
                eps,
                nonfinite,
                grad_scale,
                listed_names,
            )
    return _whole.clip_grad_norm_(
        parameters,
        seen,
        max_norm,
        norm_type,
        error_if_nonfinite,
        foreach,
        eps,
        nonfinite,
        grad_scale,
    )


def get_total_norm(
    tensors: TensorOrTensors,
    norm_type: float = 2.0,
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
            not the parameters.

    The other arguments, which tensors are taken, and what is returned, are as for
    clip_grad_norm_; nonfinite="zero" leaves NaN and infinities out of the norm.

    >>> get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5.)
    """
    if torch.compiler.is_compiling():
        return _fallback.get_total_norm(tensors, norm_type, error_if_nonfinite, foreach)
    listed: list[Tensor] = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm_type = float(norm_type)
    seen: Gradients | ForTorch
    if any(tensor is None for tensor in listed):
        seen = ForTorch(0, "is None, or another is")  # which torch has no use for here
    else:
        listed_names = checked_names(names, len(listed))
        seen = look_at(gradients_in(listed), listed_names, complex_too=norm_type == 2)
        if _sharded.may_be(seen) and _sharded.are_in_memory(listed, listed):
            return _sharded.get_total_norm(
                listed, norm_type, error_if_nonfinite, nonfinite, grad_scale, listed_names
            )
    return _whole.get_total_norm(
        listed, seen, norm_type, error_if_nonfinite, foreach, nonfinite, grad_scale
    )


def clip_grads_with_norm_(
    parameters: TensorOrTensors,
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
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    seen = look_at(gradients_of(parameters))
    if isinstance(seen, ForTorch) and not _sharded.is_dtensor(total_norm):
        parameters, seen = _sharded.local_parts(parameters, seen)
    _whole.clip_grads_with_norm_(
        parameters, seen, float(max_norm), total_norm, foreach, eps, nonfinite, grad_scale
    )


def clip_grad_value_(
    parameters: TensorOrTensors, clip_value: float, foreach: bool | None = None
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
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    seen = look_at(gradients_of(parameters), complex_too=False)
    if isinstance(seen, ForTorch):
        parameters, seen = _sharded.local_parts(parameters, seen, complex_too=False)
    _whole.clip_grad_value_(parameters, seen, float(clip_value), foreach)
