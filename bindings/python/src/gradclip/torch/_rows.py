"""The gradients of torch parameters as rows of the library's list.

There are two ways to look at a list of tensors. The fast one (_fast.py) gives up
at the first surprise. The other goes through the tensors one by one, and also takes
other memory formats, complex and repeated tensors, and tensors with gaps
in their memory. What neither can pass on to the library is for torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from .._gradients.layout import Layout, c_order, flat_index, layout
from .._gradients.rows import Table
from .._native import ffi
from .._norm import NonFinite
from ._fast import DTYPES, KINDS, Memo, RowsAtOnce

# A complex number is two real ones, and |z|^2 = re^2 + im^2.
_COMPLEX = {
    torch.complex64: ffi.GRADCLIP_F32,
    torch.complex128: ffi.GRADCLIP_F64,
    torch.complex32: ffi.GRADCLIP_F16,
}
_WIDE = {torch.float64, torch.complex128}
_PORTION = 256  # so that all is asked of a tensor while it is in the cache

_grad_of = attrgetter("grad")


class ForTorch(NamedTuple):
    """Why gradients cannot go to the library: `tensor`, by its place in the list, is `what`."""

    tensor: int
    what: str


class Gradients:
    """Gradients that can go to the library.

    Attributes:
        tensors: the gradients that are not None.
        place_of: where each of them stood in the list; None: they are the list.
        row_of: the row of each; None: the same.
        table, count: the rows.
        names: of the whole list, None entries included.
        wide: whether one of them is of double precision.
    """

    __slots__ = (
        "_copies",
        "_elements_of_row",
        "count",
        "names",
        "place_of",
        "row_of",
        "table",
        "tensors",
        "wide",
    )

    def __init__(
        self,
        tensors: list[Tensor],
        place_of: list[int] | None,
        names: list[str] | None,
        table: Table,
        wide: bool,
        row_of: list[int] | None = None,
        copies: list[tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.tensors = tensors
        self.place_of = place_of
        self.names = names
        self.table = table
        self.count: int = len(table.words) // 4
        self.wide = wide
        self.row_of = row_of
        self._copies = copies or []

    def written(self) -> None:
        """To be called when the library has written them.

        Copies go back to the tensors with gaps, and autograd is told: a later
        backward pass through a changed gradient must raise as it does with torch.
        """
        if self._copies:
            with torch.no_grad():
                for tensor, copy in self._copies:
                    tensor.copy_(copy)
        if self.tensors:
            increment_version(self.tensors)

    def nonfinite(self, result: ffi.gradclip_result) -> NonFinite:
        row = result.first_tensor
        i = row if self.row_of is None else self.row_of.index(row)
        tensor = self.tensors[i]
        first = result.first_element // 2 if tensor.is_complex() else result.first_element
        order = dense_layout(tensor) or c_order(tensor.shape)  # a copy is in C order
        index = order.index_of(first)
        place = i if self.place_of is None else self.place_of[i]
        return NonFinite(
            count=result.nonfinite_count,
            nan_count=result.nan_count,
            tensor=place,
            name=None if self.names is None else self.names[place],
            element=flat_index(index, order.shape),
            index=index,
        )

    def place_of_row(self) -> list[int]:
        """Where in the list the gradient of each row stood, the first if it is there twice."""
        places = range(len(self.tensors)) if self.place_of is None else self.place_of
        first: dict[int, int] = {}
        for i, place in enumerate(places):
            first.setdefault(i if self.row_of is None else self.row_of[i], place)
        return [first[row] for row in range(self.count)]

    def norms(self, of_rows: list[float]) -> tuple[float, ...]:
        """For each of the list but the last ones that are None; None entries have 0."""
        of_tensors = of_rows if self.row_of is None else [of_rows[row] for row in self.row_of]
        if self.place_of is None:
            return tuple(of_tensors)
        norms = [0.0] * (self.place_of[-1] + 1 if self.place_of else 0)
        for place, norm in zip(self.place_of, of_tensors):
            norms[place] = norm
        return tuple(norms)


NOTHING = Gradients([], None, None, Table.of((), (), ()), False)


def look_at(
    gradients: _Gathered,
    names: list[str] | None = None,
    complex_too: bool = True,
    memo: Memo | None = None,
) -> Gradients | ForTorch:
    """The gradients for the library, or why they are for torch.

    names has one name for each that was asked for a gradient; complex_too says
    whether complex tensors are for the library.
    """
    tensors, place_of, rows = gradients
    if rows is not None:
        found = rows.found() if memo is None else memo.found(rows)
        if found is not None:
            return Gradients(tensors, place_of, names, *found)
    return _one_by_one(tensors, place_of, names, complex_too)


def checked_names(names: Iterable[str] | None, count: int) -> list[str] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError(f"names must be an iterable of names, one a parameter (got {names!r})")
    listed = [str(name) for name in names]
    if len(listed) != count:
        raise ValueError(f"names must have one name a parameter: {count} (got {len(listed)})")
    return listed


# -------------------------------------------------------------------- at once --


class _Gathered(NamedTuple):
    tensors: list[Any]  # without None
    place_of: list[int] | None  # where each stood; None: there was no None
    rows: RowsAtOnce | None  # None if not all are such tensors


def gradients_of(parameters: list[Any]) -> _Gathered:
    """The .grad of each of parameters, None left out."""
    return _gather(parameters, lambda chunk: tuple(map(_grad_of, chunk)))


def gradients_in(tensors: list[Any]) -> _Gathered:
    """The tensors themselves, None left out."""
    return _gather(tensors, tuple)


def _gather(owners: list[Any], gradients: Callable[[list[Any]], tuple[Any, ...]]) -> _Gathered:
    rows: RowsAtOnce | None = RowsAtOnce(len(owners))
    tensors: list[Any] = []
    place_of: list[int] | None = None
    for start in range(0, len(owners), _PORTION):
        chunk = gradients(owners[start : start + _PORTION])
        kinds = set(map(type, chunk))
        if type(None) in kinds and place_of is None:
            place_of = list(range(start))
        if place_of is not None:
            place_of += [start + i for i, tensor in enumerate(chunk) if tensor is not None]
            chunk = tuple([tensor for tensor in chunk if tensor is not None])
            kinds.discard(type(None))
        tensors += chunk
        if rows is not None and not (kinds <= KINDS and rows.take(chunk)):
            rows = None
    return _Gathered(tensors, place_of, rows)


# ------------------------------------------------------------------- one by one --


def _one_by_one(
    tensors: list[Any], place_of: list[int] | None, names: list[str] | None, complex_too: bool
) -> Gradients | ForTorch:
    rows: dict[tuple[Any, ...], int] = {}
    columns: list[tuple[int, int, int]] = []  # address, length, dtype of each row
    row_of = []
    copies = []
    for i, tensor in enumerate(tensors):
        place = i if place_of is None else place_of[i]
        what = _for_torch(tensor, complex_too)
        if what is not None:
            return ForTorch(place, what)
        length, dtype = tensor.numel(), _dtype(tensor.dtype)
        if tensor.is_complex():
            length *= 2
        key: tuple[Any, ...] = (i,)  # of its own: empty tensors share no memory
        has_gaps = dense_layout(tensor) is None
        if has_gaps:
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), dtype)
        elif length:
            key = (tensor.data_ptr(), length, dtype)
        if key not in rows:
            rows[key] = len(columns)
            held = tensor
            if has_gaps:
                held = _contiguous(tensor)
                copies.append((tensor, held))
            columns.append((held.data_ptr() if length else 0, length, dtype))
        row_of.append(rows[key])
    table = Table.of(*(zip(*columns) if columns else ((), (), ())))
    overlap = table.overlap()
    if overlap is not None:
        i = row_of.index(overlap[1])
        return ForTorch(i if place_of is None else place_of[i], "overlaps another in memory")
    wide = any(tensor.dtype in _WIDE for tensor in tensors)
    return Gradients(tensors, place_of, names, table, wide, row_of, copies)


def _for_torch(tensor: Any, complex_too: bool) -> str | None:
    """What makes a tensor one for torch's own function; None if nothing does."""
    what = not_plain(tensor)
    if what is not None:
        return what
    if tensor.dtype not in DTYPES and not (complex_too and tensor.dtype in _COMPLEX):
        return f"is of {tensor.dtype}"
    if not tensor.numel():
        return None
    try:
        address = tensor.data_ptr()
    except RuntimeError:
        address = 0
    if address == 0:
        return "has no memory of its own"
    if _may_overlap_itself(tensor.shape, tensor.stride()):
        return "has several elements in one place of its memory"
    return None


def not_plain(tensor: Any) -> str | None:
    """What makes it no plain tensor in CPU memory, of whatever dtype; None if nothing does."""
    if type(tensor) not in KINDS:
        return f"is of the type {type(tensor).__module__}.{type(tensor).__name__}"
    if not tensor.is_cpu:
        return f"is on the device {tensor.device}"
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"has the layout {'nested' if tensor.is_nested else tensor.layout}"
    return None


def _dtype(dtype: torch.dtype) -> int:
    return DTYPES[dtype] if dtype in DTYPES else _COMPLEX[dtype]


def dense_layout(tensor: Tensor) -> Layout | None:
    """How a dense tensor lies in memory; None if there are gaps."""
    if tensor.is_contiguous():
        return c_order(tensor.shape)
    return layout(tensor.shape, tensor.stride(), 1)


def _may_overlap_itself(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    reach = 0
    for stride, extent in sorted(zip(strides, shape)):
        if extent > 1:
            if stride <= reach:
                return True
            reach += stride * (extent - 1)
    return False


def _contiguous(tensor: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").copy_(tensor)
