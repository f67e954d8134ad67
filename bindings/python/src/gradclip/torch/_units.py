"""Adaptive gradient clipping for parameters: each unit of a gradient against its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from .._gradients.layout import c_order
from .._gradients.rows import Rows, Table
from .._gradients.types import NonFinitePolicy
from .._methods import units as by_unit
from .._methods.parts import PartsNorm
from .._methods.units import Exclude, excluded
from .._native.call import Options
from .._native.errors import UnsupportedError
from .._norm import NonFinite
from ._parts import look_at_all
from ._rows import DTYPES, Gradients, Parameters, dense_layout, not_plain, parameters_of


def adaptive_clip_grad(
    parameters: Parameters,
    clip_factor: float = 0.01,
    eps: float = 1e-3,
    norm_type: float | str = 2.0,
    *,
    axes: str | Sequence[int] = "timm",
    exclude: Exclude = None,
    error_if_nonfinite: bool = False,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> PartsNorm:
    """Scales each unit of the parameters' gradients in place by its norm against that of the same
    unit of the weights: adaptive gradient clipping (NFNets, arXiv 2102.06171).

    Takes what timm.utils.adaptive_clip_grad takes, and does what that does, with exact
    norms. The formula, axes and what is returned are those of gradclip.adaptive_clip_grad_.

    Args:
        parameters: as for clip_by_norm_: the weights, and their .grad.
        exclude: names of parameters to leave alone (NFNets' classifier), or what names
            begin with up to a ".", or a function of the name; needs names, or
            parameters as named_parameters().
        The others: as for gradclip.adaptive_clip_grad_ and clip_by_norm_.

    Raises:
        UnsupportedError: a gradient or a weight that is no plain tensor in CPU memory.
        ValueError, TypeError: as gradclip.adaptive_clip_grad_ does.

    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> weight.grad = torch.tensor([[30.0, 40.0]])
    >>> adaptive_clip_grad([weight], clip_factor=0.5).clipped_count, weight.grad
    (1, tensor([[1.5000, 2.0000]]))
    """
    options = Options(
        float(norm_type), error_if_nonfinite, nonfinite=nonfinite, grad_scale=grad_scale
    )
    listed, names = parameters_of(parameters, names)
    seen = look_at_all(listed, names)
    left_out = excluded(seen.names, exclude, len(listed))
    rows: dict[int, tuple[int, int, tuple[int, int, int], int, int]] = {}
    keep: list[Any] = []
    permuted: dict[int, tuple[Tensor, Tensor, list[int]]] = {}
    words = seen.table.words
    for i, tensor in enumerate(seen.arrays):
        place, row = seen.place(i), seen.row(i)
        if row in rows:
            continue
        address, length, dtype = words[4 * row], words[4 * row + 1], words[4 * row + 2]
        if left_out[place]:
            rows[row] = (address, address, (1, length, 1), dtype, 1)
            continue
        weight = listed[place].detach()
        what = not_plain(weight)
        if what is None and weight.dtype not in DTYPES:
            what = f"is of {weight.dtype}"
        if what is not None:
            raise UnsupportedError(f"parameter {place} {what}: its weights cannot be measured")
        order = dense_layout(tensor) or c_order(tensor.shape)
        reduced = by_unit.reduced_axes(axes, order.shape, f"parameter {place}")
        units = by_unit.unit_shape(
            [order.shape[axis] for axis in order.axes], [axis in reduced for axis in order.axes]
        )
        mine = tensor
        if units is None:
            kept = [axis for axis in range(tensor.dim()) if axis not in reduced]
            by = [*kept, *reduced]
            with torch.no_grad():
                mine = tensor.permute(by).contiguous()
                weight = weight.permute(by).contiguous()
            permuted[row] = (tensor, mine, by)
            outer = mine.numel() // max(1, prod(tensor.shape[axis] for axis in reduced))
            units = (outer, mine.numel() // max(1, outer), 1)
            address = mine.data_ptr()
        elif dense_layout(weight) != order:
            with torch.no_grad():
                like = torch.empty(
                    [order.shape[axis] for axis in order.axes], dtype=weight.dtype, device="cpu"
                )
                weight = like.copy_(weight.permute(order.axes))
        keep += [mine, weight]
        rows[row] = (address, weight.data_ptr(), units, DTYPES[weight.dtype], 0)
    for row, (address, _, _, _, flags) in rows.items():
        words[4 * row] = address
        words[4 * row + 2] |= flags << 32
    ordered = [rows[row] for row in range(seen.count)]
    table = Table.of(
        [row[1] for row in ordered],
        [words[4 * i + 1] for i in range(seen.count)],
        [row[3] for row in ordered],
    )
    norm = by_unit.by_unit(
        _InCopies(seen, permuted),
        table,
        [row[2] for row in ordered],
        clip_factor,
        eps,
        options,
        [bool(row[4]) for row in ordered],
    )
    if options.writes(norm):
        seen.written()
        with torch.no_grad():
            for tensor, mine, by in permuted.values():
                tensor.copy_(mine.permute(sorted(range(len(by)), key=by.__getitem__)))
    return norm


class _InCopies(Rows):
    """The rows of gradients, some of which are clipped in a permuted copy."""

    __slots__ = ("_permuted", "_seen")

    def __init__(self, seen: Gradients, permuted: dict[int, tuple[Tensor, Tensor, list[int]]]):
        for name in Rows.__slots__:
            setattr(self, name, getattr(seen, name))
        self._seen = seen
        self._permuted = permuted

    def nonfinite(self, result: Any) -> NonFinite:
        found = self._seen.nonfinite(result)
        if result.first_tensor not in self._permuted:
            return found
        _, mine, by = self._permuted[result.first_tensor]
        return by_unit.unpermuted(found, result.first_element, mine.shape, by)
