"""The library's other ways to clip, on collected gradients: the half that arrays and torch share.

What is given and returned is by row of the library's list (see `_tensors.Tensors`).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from ctypes import byref, c_double, c_uint32, sizeof
from typing import Any, NamedTuple

from . import _ffi
from ._calls import call, new_result, real
from ._layout import c_order, flat_index
from ._norm import NonFinite, Norm
from ._tensors import Rows, Table


class Parts(NamedTuple):
    """What clipping in parts found."""

    result: _ffi.gradclip_result
    norms: list[float]  # of the rows
    coefs: list[float]  # of the parts
    part_norms: list[float]  # of groups


class PartsNorm(Norm):
    """A total norm, before clipping, and what each part was clipped by.

    The attributes of `Norm`, and:

    Attributes:
        clip_coef: the smallest coefficient.
        factor: what belongs to it.
        tensor_norms: the norm of each gradient (None where units are measured).
        clip_coefs: the coefficient of each gradient, in the order given (1 for None);
            a dictionary of the groups' for clip_by_group_; for adaptive_clip_grad_
            of each gradient the coefficients of its units, as an array of float64
            (None for gradients that were left out).
        group_norms: the norm of each group, for clip_by_group_; else None.
        clipped_count: how many gradients, groups or units were scaled down.
    """

    __module__ = "gradclip"

    __slots__ = ("clip_coefs", "clipped_count", "group_norms")

    clip_coefs: Any
    clipped_count: int
    group_norms: dict[str, float] | None


def clip_by_norm(
    rows: Rows, max_norms: Sequence[float], norm_type: float, options: Any, rms: bool = False
) -> Parts:
    """One max_norm for all rows, or one each; with rms, of their root mean squares."""
    coefs = (c_double * rows.count)()
    result, norms = _with_norms(rows)
    limits = (c_double * len(max_norms))(*[real("max_norm", limit) for limit in max_norms])
    if rms:
        call(
            _ffi.gradclip_clip_by_block_rms,
            rows.table.first,
            rows.count,
            limits[0],
            options,
            result,
            coefs,
        )
    else:
        call(
            _ffi.gradclip_clip_by_norm,
            rows.table.first,
            rows.count,
            limits,
            len(limits),
            norm_type,
            options,
            result,
            coefs,
        )
    return Parts(result, list(norms), list(coefs), [])


def clip_by_group(
    rows: Rows, groups: list[int], max_norms: list[float], norm_type: float, options: Any
) -> Parts:
    count = len(max_norms)
    coefs, group_norms = (c_double * count)(), (c_double * count)()
    result, norms = _with_norms(rows)
    call(
        _ffi.gradclip_clip_by_group,
        rows.table.first,
        rows.count,
        (c_uint32 * rows.count)(*groups),
        (c_double * count)(*[real("max_norm", limit) for limit in max_norms]),
        count,
        norm_type,
        options,
        result,
        group_norms,
        coefs,
    )
    return Parts(result, list(norms), list(coefs), list(group_norms))


def adaptive_clip_grad(
    rows: Rows,
    weights: Table,
    units: list[tuple[int, int, int]],
    clip_factor: float,
    eps: float,
    norm_type: float,
    options: Any,
) -> tuple[_ffi.gradclip_result, Any]:
    """The result, and the coefficients of all units, one after the other."""
    coefs = (c_double * sum(outer * inner for outer, _, inner in units))()
    result = new_result()
    call(
        _ffi.gradclip_adaptive_clip_grad,
        rows.table.first,
        weights.first,
        (_ffi.gradclip_units * rows.count)(*[_ffi.gradclip_units(*unit) for unit in units]),
        rows.count,
        clip_factor,
        eps,
        norm_type,
        options,
        result,
        coefs,
    )
    return result, coefs


RULES = {
    "clip": _ffi.GRADCLIP_EXAMPLE_CLIP,
    "automatic": _ffi.GRADCLIP_EXAMPLE_AUTOMATIC,
    "threshold": _ffi.GRADCLIP_EXAMPLE_THRESHOLD,
}


class Examples(NamedTuple):
    """What clipping by example found."""

    result: _ffi.gradclip_per_example_result
    norms: list[float]
    factors: list[float]


def clip_per_example(
    rows: Rows,
    sums: Table | None,
    examples: int,
    max_norms: Sequence[float],
    rule: str,
    options: Any,
) -> Examples:
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(map(repr, RULES))} (got {rule!r})")
    limits = (c_double * len(max_norms))(*[real("max_norm", limit) for limit in max_norms])
    norms = (c_double * (examples * len(limits)))()
    factors = (c_double * (examples * len(limits)))()
    result = _ffi.gradclip_per_example_result(sizeof(_ffi.gradclip_per_example_result))
    call(
        _ffi.gradclip_clip_per_example,
        rows.table.first,
        None if sums is None else sums.first,
        rows.count,
        examples,
        limits,
        len(limits),
        RULES[rule],
        options,
        byref(result),
        norms,
        factors,
    )
    return Examples(result, list(norms), list(factors))


def adapt_max_norm(
    max_norm: float,
    unclipped: float,
    examples: float,
    quantile: float = 0.5,
    learning_rate: float = 0.2,
) -> float:
    """The max_norm for the next step of DP-SGD, so that a share `quantile` of the examples
    stays unclipped: max_norm * exp(-learning_rate * (unclipped / examples - quantile)).

    The geometric update of Andrew et al., arXiv 1905.03871.

    Args:
        max_norm: the present one, finite and >= 0.
        unclipped: how many examples were not clipped. For privacy it has noise added
            first, so it may be any finite number.
        examples: of how many, > 0; the expected number with Poisson sampling.
        quantile: the share that is to stay unclipped, 0 to 1.
        learning_rate: how fast, >= 0.

    Raises:
        ValueError: an argument is outside its range.

    >>> adapt_max_norm(1.0, unclipped=96, examples=128, quantile=0.5)
    0.951229424500714
    """
    adapted = c_double()
    call(
        _ffi.gradclip_adapt_max_norm,
        max_norm,
        unclipped,
        examples,
        quantile,
        learning_rate,
        byref(adapted),
    )
    return adapted.value


# ------------------------------------------------------------------ axes of units --


def timm_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes that timm's adaptive_clip_grad reduces: all but the first, of a vector all."""
    return tuple(range(len(shape))) if len(shape) <= 1 else tuple(range(1, len(shape)))


def optax_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """The axes that optax.adaptive_grad_clip reduces: all of what is a vector but for extents
    of 1, the first of rank 2 and 3, all but the last of rank 4 and 5. (So in optax 0.2.8.)"""
    if sum(1 for extent in shape if extent != 1) <= 1:
        return tuple(range(len(shape)))
    if len(shape) > 5:
        raise ValueError(f"optax has no rule for rank {len(shape)}: shape {tuple(shape)}")
    return tuple(range(len(shape) - 1)) if len(shape) > 3 else (0,)


def reduced_axes(axes: Any, shape: Sequence[int], label: str) -> tuple[int, ...]:
    """The axes to reduce of one gradient, as axes says: a convention or a tuple."""
    if isinstance(axes, str):
        if axes not in ("timm", "optax"):
            raise ValueError(f"axes must be 'timm', 'optax' or a tuple of axes (got {axes!r})")
        return timm_axes(shape) if axes == "timm" else optax_axes(shape)
    try:
        given = [operator.index(axis) for axis in axes]
    except TypeError:
        raise TypeError(
            f"axes must be 'timm', 'optax' or a tuple of integers (got {axes!r})"
        ) from None
    for axis in given:
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"axes of {label} must lie in its shape {tuple(shape)} (got {axis})")
    reduced = sorted({axis % len(shape) for axis in given})
    if len(reduced) < len(given):
        raise ValueError(f"axes of {label} must differ (got {tuple(given)})")
    return tuple(reduced)


def unit_shape(extents: Sequence[int], reduced: Sequence[bool]) -> tuple[int, int, int] | None:
    """(outer, reduced, inner) of an array with these extents from the slowest axis to the
    fastest; None if the reduced axes are not neighbours in memory."""
    if 0 in extents:
        return (0, 0, 0)
    shape = [1, 1, 1]
    place = 0
    for extent, is_reduced in zip(extents, reduced):
        if extent == 1:
            continue
        if is_reduced:
            if place == 2:
                return None
            place = 1
        elif place == 1:
            place = 2
        shape[place] *= extent
    return (shape[0], shape[1], shape[2])


def unpermuted(
    found: NonFinite, element: int, extents: Sequence[int], order: Sequence[int]
) -> NonFinite:
    """Where the element of a C-ordered copy lies in the original, axis a of the copy being axis
    order[a] of the original."""
    index = [0] * len(extents)
    shape = [0] * len(extents)
    for axis, extent, place in zip(order, extents, c_order(extents).index_of(element)):
        index[axis], shape[axis] = place, extent
    found.index = tuple(index)
    found.element = flat_index(index, shape)
    return found


def _with_norms(rows: Rows) -> tuple[_ffi.gradclip_result, Any]:
    result = new_result()
    norms = (c_double * rows.count)()
    if rows.count:
        result.tensor_norms = norms
    return result, norms
