"""The other ways to clip, for parameters: by tensor, by group, by root mean square."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from .._gradients.types import NonFinitePolicy
from .._methods.parts import (
    Parts,
    PartsNorm,
    by_name,
    clip_by_group,
    clip_by_norm,
    limits_of_groups,
    parts_norm,
)
from .._native.call import options_of
from .._native.errors import UnsupportedError
from ._rows import ForTorch, Gradients, checked_names, gradients_of, look_at

Parameters: TypeAlias = "Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]"


def clip_by_norm_(
    parameters: Parameters,
    max_norm: float | Sequence[float] | Mapping[str, float],
    norm_type: float = 2.0,
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
    listed, names = listed_of(parameters, names)
    seen = look_at_all(listed, names)
    limits = _limits(seen, max_norm, len(listed))
    options = options_of(eps, nonfinite, grad_scale, error_if_nonfinite)
    found = clip_by_norm(seen, limits, float(norm_type), options)
    return _of_parameters(seen, found, len(listed), error_if_nonfinite, nonfinite, grad_scale)


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
    listed, names = listed_of(parameters, names)
    seen = look_at_all(listed, names)
    options = options_of(0.0, nonfinite, grad_scale, error_if_nonfinite)
    found = clip_by_norm(seen, [threshold], 2.0, options, rms=True)
    return _of_parameters(seen, found, len(listed), error_if_nonfinite, nonfinite, grad_scale)


def clip_by_group_(
    groups: Mapping[str, Parameters] | Iterable[Mapping[str, Any]],
    max_norm: float | Mapping[str, float],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 0.0,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
) -> PartsNorm:
    """Scales the gradients of each group of parameters in place so that the norm of the group is
    at most its max_norm.

    Args:
        groups: a dictionary from names to parameters, or an optimizer's param_groups,
            whose names are their "name" or their number ("0", "1", ...); no two may have
            the same.
        max_norm: the largest norm allowed, >= 0, for all groups or for each by name.
        The others: as for clip_by_norm_.

    Returns:
        The norm of all gradients together, a float that carries group_norms and
        clip_coefs, dictionaries by name.

    >>> body, head = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    >>> body.grad, head.grad = torch.tensor([3.0, 4.0]), torch.tensor([7.0])
    >>> clip_by_group_({"body": [body], "head": [head]}, {"body": 1.0, "head": 9.0}).group_norms
    {'body': 5.0, 'head': 7.0}
    """
    if not isinstance(groups, Mapping):
        groups = _by_name(groups)
    listed: list[Any] = []
    names: list[str] = []
    of_place: list[int] = []
    for place, (name, parameters) in enumerate(groups.items()):
        mine, inner = listed_of(parameters, None)
        listed += mine
        names += [f"{name}.{path}" for path in inner or map(str, range(len(mine)))]
        of_place += [place] * len(mine)
    seen = look_at_all(listed, names)
    of_row: list[int | None] = [None] * seen.count
    for place, row in places_and_rows(seen):
        if of_row[row] not in (None, of_place[place]):
            raise ValueError(f"the gradient of {names[place]!r} is in two groups")
        of_row[row] = of_place[place]
    options = options_of(eps, nonfinite, grad_scale, error_if_nonfinite)
    limits = limits_of_groups(list(groups), max_norm)
    found = clip_by_group(seen, [group or 0 for group in of_row], limits, float(norm_type), options)
    norm = _of_parameters(seen, found, len(listed), error_if_nonfinite, nonfinite, grad_scale)
    norm.clip_coefs = dict(zip(groups, found.coefs))
    norm.group_norms = dict(zip(groups, found.part_norms))
    return norm


# ------------------------------------------------ what clipping by weights needs too --


def listed_of(
    parameters: Parameters, names: Iterable[str] | None
) -> tuple[list[Any], list[str] | None]:
    listed: list[Any] = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if listed and all(isinstance(entry, tuple) and len(entry) == 2 for entry in listed):
        if names is None:
            names = [name for name, _ in listed]
        listed = [parameter for _, parameter in listed]
    return listed, checked_names(names, len(listed))


def look_at_all(listed: list[Any], names: list[str] | None) -> Gradients:
    seen = look_at(gradients_of(listed), names, complex_too=False)
    if isinstance(seen, ForTorch):
        raise UnsupportedError(
            f"gradient {seen.tensor} {seen.what}: this way of clipping is the library's alone"
        )
    return seen


def places_and_rows(seen: Gradients) -> Iterable[tuple[int, int]]:
    """The place of each gradient in the list, and its row."""
    for i in range(len(seen.tensors)):
        place = i if seen.place_of is None else seen.place_of[i]
        yield place, i if seen.row_of is None else seen.row_of[i]


def writes(norm: PartsNorm, nonfinite: str, grad_scale: float) -> bool:
    if norm.nonfinite and nonfinite != "propagate":
        return nonfinite == "zero"
    return norm.clip_coef != 1.0 or grad_scale != 1.0


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


# ---------------------------------------------------------------------- by parameter --


def _limits(
    seen: Gradients, max_norm: float | Sequence[float] | Mapping[str, float], count: int
) -> list[float]:
    if isinstance(max_norm, Mapping):
        max_norm = by_name("max_norm", max_norm, seen.names)
    if not isinstance(max_norm, Sequence):
        return [max_norm]
    if len(max_norm) != count:
        raise ValueError(
            f"max_norm must be a number or have one a parameter: {count} (got {len(max_norm)})"
        )
    limits: list[float | None] = [None] * seen.count
    for place, row in places_and_rows(seen):
        if limits[row] not in (None, max_norm[place]):
            raise ValueError(
                f"max_norm must be one for the same gradient (got {limits[row]!r}, "
                f"and {max_norm[place]!r} for parameter {place})"
            )
        limits[row] = max_norm[place]
    return [0.0 if limit is None else limit for limit in limits] or [0.0]


def _of_parameters(
    seen: Gradients,
    found: Parts,
    count: int,
    error_if_nonfinite: bool,
    nonfinite: str,
    grad_scale: float,
) -> PartsNorm:
    norm = parts_norm(seen, found.result, error_if_nonfinite)
    norms, coefs = [0.0] * count, [1.0] * count
    for place, row in places_and_rows(seen):
        norms[place] = found.norms[row]
        if len(found.coefs) == seen.count:
            coefs[place] = found.coefs[row]
    norm.tensor_norms, norm.clip_coefs = tuple(norms), tuple(coefs)
    norm.clipped_count = sum(1 for coef in found.coefs if coef != 1.0)
    if writes(norm, nonfinite, grad_scale):
        seen.written()
    return norm
