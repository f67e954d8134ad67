"""Adaptive gradient clipping: each unit of a gradient against the same unit of its weights."""

from __future__ import annotations

import operator
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from ctypes import c_double
from typing import Any, NamedTuple, TypeAlias

from .._gradients.layout import Layout, c_order, flat_index
from .._gradients.pairs import matched
from .._gradients.rows import Rows, Table, Tensors
from .._gradients.types import Grads, NonFinitePolicy
from .._native import ffi
from .._native.call import Options, call, new_result
from .._norm import NonFinite
from .parts import PartsNorm, parts_norm

Exclude: TypeAlias = "Iterable[str] | Callable[[str], bool] | None"


def adaptive_clip_grad_(
    grads: Grads,
    weights: Grads,
    clip_factor: float = 0.01,
    eps: float = 1e-3,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    axes: str | Sequence[int] = "timm",
    exclude: Exclude = None,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> PartsNorm:
    """Scales each unit of each gradient in place by its norm against that of the same unit of
    the weights: adaptive gradient clipping (Brock et al., NFNets, arXiv 2102.06171).

    With limit = clip_factor * max(||w||, eps) for a unit w of weights, its gradient g stays
    as it is where ||g|| < limit, and becomes g * limit / max(||g||, 1e-6) otherwise. That
    is what timm.utils.adaptive_clip_grad and optax.adaptive_grad_clip compute, with exact
    norms. They differ in what a unit is: see axes.

    Args:
        grads: as for clip_grad_norm_.
        weights: the weights, structured as the gradients are, each of its gradient's
            shape; their dtype may be another. They are only read. Where both are in
            dictionaries they are matched by their keys, in whatever order these are;
            otherwise by position.
        clip_factor: finite, >= 0; 0.01 is usual.
        eps: what the norm of a unit of weights counts at least, finite, >= 0.
        norm_type: the order of the norms, > 0.
        axes: the axes that are reduced: all elements that differ only in their index on
            these are one unit. A tuple for all gradients (negative numbers count from
            the end); "timm": of rank 0 and 1 all, otherwise all but the first; "optax":
            of shapes with at most one extent above 1 all, of rank 2 and 3 the first, of
            rank 4 and 5 all but the last; a higher rank is an error. (So the two agree on
            vectors; of rank 3 timm reduces axes 1 and 2, and optax axis 0.)
        exclude: gradients to leave alone, NFNets' classifier for instance: their names,
            or what their names begin with up to a ".", or a function of the name that
            says so. They are divided by grad_scale.
        names: names of the gradients; by default the keys of dictionaries.
        error_if_nonfinite, nonfinite, grad_scale, exact_f64: as for clip_grad_norm_. With
            nonfinite="propagate" a NaN makes its own unit NaN. Weights that are not
            finite are an error with the other policies.

    Returns:
        The norm of all gradients together (those excluded left out), a float, with
        clip_coefs and the other attributes of `PartsNorm`.

    Raises:
        ValueError: weights do not match, an axis lies outside a shape, an excluded name
            is none, and as clip_grad_norm_ does.
        TypeError: as clip_grad_norm_ does.

    Reduced axes that are no neighbours in memory are clipped in a copy; that needs NumPy
    arrays.

    >>> import array
    >>> grad, weight = array.array("d", [30.0, 40.0]), array.array("d", [3.0, 4.0])
    >>> norm = adaptive_clip_grad_([grad], [weight], clip_factor=0.5)
    >>> norm, norm.clipped_count, grad
    (50.0, 1, array('d', [1.5, 2.0]))
    """
    tensors = Tensors(grads, names, writable=True)
    held = Tensors(weights, None, writable=False)
    if held.places != tensors.places:
        raise ValueError(f"weights must be as many as grads: {tensors.places} (got {held.places})")
    left_out = excluded(tensors.names, exclude, tensors.places)
    options = Options(
        norm_type,
        error_if_nonfinite,
        nonfinite=nonfinite,
        grad_scale=grad_scale,
        exact_f64=exact_f64,
    )
    array_of_leaf = {held.place(i): i for i in range(len(held.arrays))}
    weight_of = matched("weights", tensors.places, tensors.keys, held.keys)
    found: list[_Row | None] = [None] * tensors.count
    copies: dict[int, _Copy] = {}
    for i in range(len(tensors.arrays)):
        row = tensors.row(i)
        if found[row] is None:
            leaf = tensors.place(i)
            weight = array_of_leaf.get(weight_of[leaf])
            found[row], copy = _row(tensors, i, held, weight, axes, left_out[leaf])
            if copy is not None:
                copies[row] = copy
    rows = [row for row in found if row is not None]
    words = tensors.table.words
    for place, entry in enumerate(rows):
        words[4 * place] = entry.address
        words[4 * place + 2] |= entry.flags << (32 if sys.byteorder == "little" else 0)
    table = Table.of(
        [row.weight for row in rows],
        [tensors.table.words[4 * i + 1] for i in range(tensors.count)],
        [row.weight_dtype for row in rows],
    )
    units = [row.units for row in rows]
    norm = by_unit(
        _InCopies(tensors, copies),
        table,
        units,
        clip_factor,
        eps,
        options,
        [bool(row.flags) for row in rows],
    )
    for copy in copies.values():
        if copy.grad is not None and not (norm.nonfinite and nonfinite == "leave"):
            copy.original[...] = copy.grad.transpose(sorted(copy.order, key=copy.order.__getitem__))
    return norm


class _Row(NamedTuple):
    address: int
    weight: int
    weight_dtype: int
    units: tuple[int, int, int]
    flags: int


class _Copy(NamedTuple):
    """What stands for a gradient or its weights where units do not lie as the library needs."""

    original: Any
    grad: Any  # None: the gradient itself is clipped
    weight: Any
    order: list[int]  # axis a of the copies is axis order[a] of the originals


class _InCopies(Rows):
    """The rows of tensors, some of which are clipped in a copy: of these a NaN lies elsewhere."""

    __slots__ = ("_copies", "_tensors")

    def __init__(self, tensors: Tensors, copies: dict[int, _Copy]) -> None:
        for name in Rows.__slots__:
            setattr(self, name, getattr(tensors, name))
        self._tensors = tensors
        self._copies = copies

    def nonfinite(self, result: Any) -> NonFinite:
        copy = self._copies.get(result.first_tensor)
        found = self._tensors.nonfinite(result)
        if copy is None or copy.grad is None:
            return found
        return unpermuted(found, result.first_element, copy.grad.shape, copy.order)


def _row(
    tensors: Tensors,
    i: int,
    held: Tensors,
    weight: int | None,
    axes: str | Sequence[int],
    is_excluded: bool,
) -> tuple[_Row, _Copy | None]:
    address = tensors.memory.addresses[i]
    length = tensors.memory.lengths[i]
    if is_excluded:
        # Not measured: its own memory stands for the weights.
        return _Row(address, address, tensors.memory.dtypes[i], (1, length, 1), 1), None
    if weight is None:
        raise ValueError(f"{tensors.label(i)} has no weights: its entry in weights is None")
    order, other = tensors.order(i), held.order(weight)
    if order.shape != other.shape:
        raise ValueError(
            f"weights of {tensors.label(i)} must have its shape {order.shape} (got {other.shape})"
        )
    reduced = reduced_axes(axes, order.shape, tensors.label(i))
    units = unit_shape(
        [order.shape[axis] for axis in order.axes], [axis in reduced for axis in order.axes]
    )
    dtype = held.memory.dtypes[weight]
    if units is not None and _same_order(order, other):
        return _Row(address, held.memory.addresses[weight], dtype, units, 0), None
    return _copied(tensors, i, held, weight, reduced, units is not None)


def _copied(
    tensors: Tensors,
    i: int,
    held: Tensors,
    weight: int,
    reduced: tuple[int, ...],
    in_place: bool,
) -> tuple[_Row, _Copy]:
    """A row of copies in which units are contiguous; of the weights alone if that is enough."""
    numpy = sys.modules.get("numpy")
    grad, other = tensors.arrays[i], held.arrays[weight]
    ndarray = getattr(numpy, "ndarray", ())
    if not isinstance(grad, ndarray) or not isinstance(other, ndarray):
        raise ValueError(
            f"{tensors.label(i)} and its weights lie differently in memory, or the reduced axes "
            "are no neighbours there: pass NumPy arrays"
        )
    assert numpy is not None
    layout = tensors.order(i)
    kept = [axis for axis in range(grad.ndim) if axis not in reduced]
    order = [*kept, *reduced]
    mine = None
    if in_place:
        order = list(layout.axes)
        flip = tuple(slice(None, None, -1 if layout.reversed[axis] else None) for axis in order)
        copy = numpy.ascontiguousarray(other.transpose(order)[flip])
        units = unit_shape(
            [layout.shape[axis] for axis in order], [axis in reduced for axis in order]
        )
        assert units is not None
        address = tensors.memory.addresses[i]
    else:
        copy = numpy.ascontiguousarray(other.transpose(order))
        mine = numpy.ascontiguousarray(grad.transpose(order))
        outer = 1
        for axis in kept:
            outer *= grad.shape[axis]
        units = (outer, grad.size // outer if outer else 0, 1)
        address = mine.__array_interface__["data"][0]
    row = _Row(address, copy.__array_interface__["data"][0], held.memory.dtypes[weight], units, 0)
    return row, _Copy(grad, mine, copy, order)


def _same_order(order: Layout, other: Layout) -> bool:
    return order.axes == other.axes and order.reversed == other.reversed


def excluded(names: Sequence[str] | None, exclude: Exclude, count: int) -> list[bool]:
    """Which of the gradients with these names are left out."""
    if exclude is None:
        return [False] * count
    if names is None:
        raise ValueError("exclude needs names: pass a dictionary of gradients, or names")
    if callable(exclude):
        return [bool(exclude(name)) for name in names]
    if isinstance(exclude, str):
        raise TypeError(f"exclude must be names or a function (got {exclude!r}, one name)")
    wanted = list(exclude)
    for name in wanted:
        if not any(_belongs(other, name) for other in names):
            raise ValueError(f"exclude names no gradient: {name!r}")
    return [any(_belongs(name, other) for other in wanted) for name in names]


def _belongs(name: str, to: str) -> bool:
    return name == to or name.startswith(to + ".")


def _of_rows(
    coefs: Any, units: list[tuple[int, int, int]], left_out: Sequence[bool]
) -> list[array[float] | None]:
    """The coefficients of each row's units; None of a row that was left out."""
    rows: list[array[float] | None] = []
    start = 0
    for (outer, _, inner), is_excluded in zip(units, left_out):
        end = start + outer * inner
        rows.append(None if is_excluded else array("d", coefs[start:end]))
        start = end
    return rows


# -------------------------------------------------------------- on rows --


def by_unit(
    rows: Rows,
    weights: Table,
    units: list[tuple[int, int, int]],
    clip_factor: float,
    eps: float,
    options: Options,
    left_out: Sequence[bool],
) -> PartsNorm:
    """left_out: which rows are not measured."""
    coefs = (c_double * sum(outer * inner for outer, _, inner in units))()
    result = new_result()
    call(
        ffi.gradclip_adaptive_clip_grad,
        rows.table.first,
        weights.first,
        (ffi.gradclip_units * rows.count)(*[ffi.gradclip_units(*unit) for unit in units]),
        rows.count,
        clip_factor,
        eps,
        options.norm_type,
        options.native,
        result,
        coefs,
    )
    norm = parts_norm(rows, result, options)
    norm.clip_coefs = rows.at_places(_of_rows(coefs, units, left_out), None)
    norm.clipped_count = sum(coef != 1.0 for coef in coefs)
    return norm


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
