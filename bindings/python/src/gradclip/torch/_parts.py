"""The other ways to clip, for parameters: by tensor, by group, by root mean square."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from .._gradients.types import NonFinitePolicy
from .._methods.parts import PartsNorm, by_gradient, by_group, by_rms
from .._native.call import Options
from ._fallback import only_library
from ._rows import Gradients, Parameters, gradients_of, look_at, parameters_of

_ALONE = "this way of clipping is the library's alone"


def clip_by_norm_(
    parameters: Parameters,
    max_norm: float | Sequence[float] | Mapping[str, float],
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 0.0,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> PartsNorm:
    """Scales the gradient of each parameter in place so that its own norm is at most max_norm:
    tf.clip_by_norm, Keras's clipnorm.

    Args:
        parameters: a parameter, any iterable of parameters, or of pairs of a name and a
            parameter (model.named_parameters()). Those whose .grad is None are passed
            over. Gradients lie on the CPU and are dense or have gaps, of float32,
            float64, float16 or bfloat16.
        max_norm: the largest norm allowed, >= 0; or one for each parameter: a sequence, or
            a dictionary by the parameters' names.
        eps: added to the norm; 0 is TensorFlow's and Keras's.
        error_if_nonfinite: raise NonFiniteGradientError, before anything is written, if
            an element is NaN or infinite.
        norm_type, nonfinite, grad_scale, names: as for clip_grad_norm_.

    Returns:
        The norm of all gradients together, a float that carries tensor_norms and
        clip_coefs, one a parameter (0 and 1 where there is no gradient).

    Raises:
        UnsupportedError: a gradient is not in CPU memory, sparse, complex or a subclass.
        ValueError: an argument is outside its range.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_by_norm_([weight], 1.0).clip_coefs, weight.grad
    ((0.2,), tensor([0.6000, 0.8000]))
    """
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale)
    listed, names = parameters_of(parameters, names)
    return by_gradient(look_at_all(listed, names, options.norm_type >= 0), max_norm, options)


def clip_by_block_rms_(
    parameters: Parameters,
    threshold: float = 1.0,
    error_if_nonfinite: bool = False,
    *,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> PartsNorm:
    """Scales the gradient of each parameter in place so that its root mean square is at most
    threshold: optax.clip_by_block_rms, Adafactor's d.

    g / max(1, rms(g) / threshold). The other arguments are those of clip_by_norm_.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([2.0, -2.0])
    >>> clip_by_block_rms_([weight]).clip_coefs, weight.grad
    ((0.5,), tensor([ 1., -1.]))
    """
    options = Options(2.0, error_if_nonfinite, 0.0, nonfinite, grad_scale)
    listed, names = parameters_of(parameters, names)
    return by_rms(look_at_all(listed, names), threshold, options)


def clip_by_group_(
    groups: Mapping[str, Parameters] | Optimizer | Iterable[Mapping[str, Any]],
    max_norm: float | Mapping[str, float],
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 0.0,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
) -> PartsNorm:
    """Scales the gradients of each group of parameters in place so that the norm of the group is
    at most its max_norm.

    Args:
        groups: a dictionary from names to parameters, or an optimizer or its param_groups,
            whose names are their "name" or their number ("0", "1", ...); no two may have
            the same.
        max_norm: the largest norm allowed, >= 0, for all groups or for each by name.
        The others: as for clip_by_norm_.

    Returns:
        The norm of all gradients together, a float that carries group_norms and
        group_coefs, dictionaries by name.

    >>> body, head = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    >>> body.grad, head.grad = torch.tensor([3.0, 4.0]), torch.tensor([7.0])
    >>> clip_by_group_({"body": [body], "head": [head]}, {"body": 1.0, "head": 9.0}).group_norms
    {'body': 5.0, 'head': 7.0}
    """
    if isinstance(groups, Optimizer):
        groups = groups.param_groups
    if not isinstance(groups, Mapping):
        groups = _by_name(groups)
    listed: list[Any] = []
    names: list[str] = []
    of_place: list[int] = []
    for place, (name, parameters) in enumerate(groups.items()):
        mine, inner = parameters_of(parameters)
        listed += mine
        names += [f"{name}.{path}" for path in inner or map(str, range(len(mine)))]
        of_place += [place] * len(mine)
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale)
    seen = look_at_all(listed, names, options.norm_type >= 0)
    return by_group(seen, list(groups), of_place, max_norm, options)


def look_at_all(listed: list[Any], names: list[str] | None, sparse_too: bool = False) -> Gradients:
    seen = look_at(gradients_of(listed), names, complex_too=False, sparse_too=sparse_too)
    return only_library(seen, _ALONE)


def _by_name(groups: Iterable[Mapping[str, Any]]) -> dict[str, Parameters]:
    """An optimizer's param_groups by their names."""
    named: dict[str, Parameters] = {}
    for i, group in enumerate(groups):
        name = str(group.get("name", i))
        if name in named:
            raise ValueError(
                f"groups must have different names: that of groups[{i}] is {name!r}"
                + ("" if "name" in group else " (its number)")
                + f", and so is that of groups[{list(named).index(name)}]"
            )
        named[name] = group["params"]
    return named
