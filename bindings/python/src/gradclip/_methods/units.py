"""Adaptive gradient clipping: each unit of a gradient against the same unit of its weights."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Iterable, Sequence
from ctypes import c_double
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from .._gradients.layout import Layout, c_order
from .._gradients.pairs import partners
from .._gradients.rows import Rows, Table, Tensors, rows_of
from .._gradients.types import Grads, NonFinitePolicy
from .._native import ffi
from .._native.call import Options, call, new_result
from .parts import PartsNorm, parts_norm

Exclude: TypeAlias = Iterable[str] | Callable[[str], bool] | None


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
    tensors = rows_of(grads, names, writable=True)
    held = Tensors(weights, None, writable=False)
    if held.places != tensors.places:
        raise ValueError(f"weights must be as many as grads: {tensors.places} (got {held.places})")
    options = Options(
        norm_type,
        error_if_nonfinite,
        nonfinite=nonfinite,
        grad_scale=grad_scale,
        exact_f64=exact_f64,
    )
    partner = partners("weights", tensors, held)

    def weight_of(i: int) -> Weight:
        k = partner[i]
        if k is None:
            raise ValueError(f"{tensors.label(i)} has no weights: its entry in weights is None")
        addresses, _, dtypes, _, _ = held.memory
        return Weight(held.arrays[k], addresses[k], dtypes[k], held.order(k))

    return by_unit(tensors, weight_of, axes, exclude, clip_factor, eps, options)


def excluded(names: Sequence[str] | None, exclude: Exclude, count: int) -> list[bool]:
    """Which of the gradients with these names are left out."""
    if exclude is None:
        return [False] * count
    if names is None:
        raise ValueError("exclude needs names: pass a dictionary of gradients, or names")
    if callable(exclude):
        return [bool(exclude(name)) for name in names]
    if isinstance(exclude, str) or not isinstance(exclude, Iterable):
        raise TypeError(f"exclude must be several names or a function (got {exclude!r})")
    wanted = list(exclude)
    for name in wanted:
        if not any(_belongs(other, name) for other in names):
            raise ValueError(f"exclude names no gradient: {name!r}")
    return [any(_belongs(name, other) for other in wanted) for name in names]


def _belongs(name: str, to: str) -> bool:
    return name == to or name.startswith(to + ".")


# -------------------------------------------------------------- on rows --


class Weight(NamedTuple):
    """What belongs to a gradient, and where it lies."""

    array: Any
    address: int
    dtype: int
    order: Layout


class _Unit(NamedTuple):
    """What the library is told of a row."""

    address: int
    weight: int
    weight_dtype: int
    shape: tuple[int, int, int]


class _Copy(NamedTuple):
    """What is clipped in place of a gradient whose units do not lie as the library needs."""

    original: Any
    copy: Any
    axes: list[int]  # axis a of the copy is axis axes[a] of the original

    def put_back(self, rows: Rows) -> None:
        inverse = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        rows.put_back(self.original, self.copy, inverse)

    def index_of(self, element: int) -> tuple[int, ...]:
        index = c_order([self.original.shape[axis] for axis in self.axes]).index_of(element)
        return tuple(place for _, place in sorted(zip(self.axes, index)))


def by_unit(
    rows: Rows,
    weight_of: Callable[[int], Weight],
    axes: str | Sequence[int],
    exclude: Exclude,
    clip_factor: float,
    eps: float,
    options: Options,
) -> PartsNorm:
    """weight_of: the weights of an array; an error if there are none that can be measured."""
    left_out = excluded(rows.names, exclude, rows.places)
    units: dict[int, _Unit] = {}
    copies: dict[int, _Copy] = {}
    keep: list[Any] = []  # what the library reads and nobody else holds
    uncounted = []
    words = rows.table.words
    for i in range(len(rows.arrays)):
        row = rows.row(i)
        if row in units:
            continue
        address, length = words[4 * row], words[4 * row + 1]
        if left_out[rows.place(i)]:
            # Not measured: its own memory stands for the weights.
            uncounted.append(row)
            units[row] = _Unit(address, address, rows.table.dtype(row), (1, length, 1))
            continue
        weight, order = weight_of(i), rows.order(i)
        if order.shape != weight.order.shape:
            raise ValueError(
                f"weights of {rows.label(i)} must have its shape {order.shape} "
                f"(got {weight.order.shape})"
            )
        reduced = reduced_axes(axes, order.shape, rows.label(i))
        shape = unit_shape(order, order.axes, reduced)
        held, copied = weight.address, None
        if shape is None:
            kept = [axis for axis in range(len(order.shape)) if axis not in reduced]
            by = [*kept, *reduced]
            forwards = [False] * len(by)
            mine, address = rows.copied(i, rows.arrays[i], by, forwards)
            copied, held = rows.copied(i, weight.array, by, forwards)
            copies[row] = _Copy(rows.arrays[i], mine, by)
            shape = unit_shape(order, by, reduced)
            assert shape is not None
        elif (order.axes, order.reversed) != (weight.order.axes, weight.order.reversed):
            backwards = [order.reversed[axis] for axis in order.axes]
            copied, held = rows.copied(i, weight.array, order.axes, backwards)
        keep += [weight.array, copied]
        units[row] = _Unit(address, held, weight.dtype, shape)
    listed = [units[row] for row in range(rows.count)]
    table = rows.table.at([unit.address for unit in listed]).without(uncounted)
    held_in = Table.of(
        [unit.weight for unit in listed], words[1::4], [unit.weight_dtype for unit in listed]
    )
    counts = [outer * inner for _, _, _, (outer, _, inner) in listed]
    coefs = (c_double * sum(counts))()
    result = new_result()
    call(
        ffi.gradclip_adaptive_clip_grad,
        table.first,
        held_in.first,
        (ffi.gradclip_units * rows.count)(*[unit.shape for unit in listed]),
        rows.count,
        clip_factor,
        eps,
        options.norm_type,
        options.native,
        result,
        coefs,
    )
    copy = copies.get(result.first_tensor)
    index = None if copy is None else copy.index_of(result.first_element)
    norm = parts_norm(rows, result, options, None, index)
    ends = list(accumulate(counts))
    of_rows: list[Any] = [array("d", coefs[end - count : end]) for count, end in zip(counts, ends)]
    for row in uncounted:
        of_rows[row] = None
    norm.clip_coefs = rows.at_places(of_rows, None)
    norm.clipped_count = sum(coef != 1.0 for coef in coefs)
    if options.writes(norm) or (norm.nonfinite and options.nonfinite != "leave"):
        for one in copies.values():
            one.put_back(rows)
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


def unit_shape(
    order: Layout, axes: Sequence[int], reduced: Sequence[int]
) -> tuple[int, int, int] | None:
    """(outer, reduced, inner) of an array whose axes lie in memory as given, from the slowest to
    the fastest; None if the reduced ones are not neighbours there."""
    if 0 in order.shape:
        return (0, 0, 0)
    shape = [1, 1, 1]
    place = 0
    for axis in axes:
        if order.shape[axis] == 1:
            continue
        if axis in reduced:
            if place == 2:
                return None
            place = 1
        elif place == 1:
            place = 2
        shape[place] *= order.shape[axis]
    return (shape[0], shape[1], shape[2])
