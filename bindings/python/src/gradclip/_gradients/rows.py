"""Gradients as the library takes them: a list of gradclip_tensor."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from ctypes import c_size_t
from typing import Any, NamedTuple, Protocol

from .._native import ffi
from .._native.errors import error_for
from .._norm import NonFinite
from .array import ITEMSIZES
from .fast import Memory, memory_of
from .layout import Layout, flat_index, layout
from .tree import LEAF, Tree, flatten


def _word(low: int, high: int) -> int:
    """Two neighbouring 32-bit fields of a structure as one 64-bit word."""
    return int(struct.unpack("=Q", struct.pack("=II", low, high))[0])


_CPU = array("Q", [_word(1, 0)])  # device_type, device_id
_WORDS = {dtype: _word(dtype, 0) for dtype in ITEMSIZES}  # dtype, flags


class Table(NamedTuple):
    """An array of gradclip_tensor in memory that Python holds: four words a tensor."""

    words: array[int]
    first: ffi.gradclip_tensor | None  # what the library is given; None is NULL

    @classmethod
    def of(cls, addresses: Iterable[int], lengths: Iterable[int], dtypes: Iterable[int]) -> Table:
        data = array("Q", addresses)
        count = len(data)
        words = array("Q", bytes(32 * count))
        words[0::4] = data
        words[1::4] = array("Q", lengths)
        words[2::4] = array("Q", map(_WORDS.__getitem__, dtypes))
        words[3::4] = _CPU * count
        return cls(words, ffi.gradclip_tensor.from_buffer(words) if count else None)

    def overlap(self) -> tuple[int, int] | None:
        """Two tensors that share memory, the earlier one first; None if no two do."""
        count = len(self.words) // 4
        first, second = c_size_t(), c_size_t()
        status = ffi.gradclip_find_overlap(self.first, count, first, second)
        if status:
            raise error_for(status)
        return None if first.value == count else (first.value, second.value)

    def at(self, addresses: Iterable[int]) -> Table:
        """The same lengths and dtypes at other addresses."""
        words = self.words[:]
        words[0::4] = array("Q", addresses)
        return Table(words, ffi.gradclip_tensor.from_buffer(words) if words else None)


class Rows(Protocol):
    """What a call into the library needs to know of gradients, wherever they come from."""

    count: int

    @property
    def table(self) -> Table: ...

    def nonfinite(self, result: ffi.gradclip_result) -> NonFinite:
        """Where a call found NaNs or infinities, in the caller's terms."""

    def norms(self, of_rows: list[float]) -> tuple[float, ...]:
        """The norm of each gradient, as the caller counts them, from the norm of each row."""


class Tensors:
    """The gradients of a call or a plan.

    A *leaf* is one of what was given, None included; an *array* a leaf that is
    not None; a *row* an entry of the library's list. Arrays that are the same
    memory share a row, so that they are counted and scaled once.
    """

    __slots__ = (
        "arrays",
        "count",
        "keys",
        "leaf_of",
        "leaves",
        "memory",
        "names",
        "row_of",
        "table",
        "tree",
    )

    def __init__(self, grads: Any, names: Iterable[str] | None, writable: bool) -> None:
        flat = flatten(grads)
        self.leaves: list[Any] = flat.leaves
        self.tree: Tree = flat.tree
        self.keys: list[str] | None = flat.names  # whatever names the caller gave beside them
        self.names: list[str] | None = flat.names
        if names is not None:
            self.names = _checked_names(names, len(flat.leaves))
        self.arrays: list[Any] = flat.leaves
        self.leaf_of: Sequence[int] | None = None  # of an array; None: the same
        if type(None) in flat.kinds:
            self.leaf_of = [i for i, leaf in enumerate(flat.leaves) if leaf is not None]
            self.arrays = [flat.leaves[i] for i in self.leaf_of]
            flat.kinds.discard(type(None))
        self.memory: Memory = memory_of(self.arrays, flat.kinds, self.label, writable)
        self.row_of: list[int] | None = None  # of an array; None: the same
        self.table = Table.of(*self.memory[:3])
        if self.table.overlap() is not None:
            self.row_of, rows = self._share_rows()
            self.table = Table.of(*([column[i] for i in rows] for column in self.memory[:3]))
            overlap = self.table.overlap()
            if overlap is not None:
                first, second = (self.label(rows[row]) for row in overlap)
                raise ValueError(
                    f"{second} overlaps {first} in memory: what they share would be counted and "
                    "scaled twice"
                )
        self.count: int = len(self.table.words) // 4

    # ---------------------------------------------------------- shared memory --

    def _share_rows(self) -> tuple[list[int], list[int]]:
        """The row of each array and the array of each row, where some are the same memory."""
        rows: dict[tuple[int, ...], int] = {}
        row_of = []
        for i, key in enumerate(zip(*self.memory[:3])):
            row_of.append(rows.setdefault(key if key[1] else (i,), len(rows)))
        array_of = [0] * len(rows)
        for i in reversed(range(len(row_of))):
            array_of[row_of[i]] = i
        return row_of, array_of

    # --------------------------------------------------------------- telling --

    def leaf(self, i: int) -> int:
        """Which leaf the array i is."""
        return i if self.leaf_of is None else self.leaf_of[i]

    def label(self, i: int) -> str:
        """What errors call the array i."""
        if self.tree is LEAF:
            return "grads"
        leaf = self.leaf(i)
        return f"grads[{leaf}]" if self.names is None else f"grads[{leaf}] ({self.names[leaf]!r})"

    def layout(self, i: int) -> Layout:
        """How the elements of the array i lie in its memory."""
        blocks = self.memory.blocks
        one = None if blocks is None else blocks[i]
        if one is not None:
            return one.layout
        ndarray = self.arrays[i]
        order = layout(ndarray.shape, ndarray.strides, ndarray.itemsize)
        assert order is not None
        return order

    def nonfinite(self, result: ffi.gradclip_result) -> NonFinite:
        """Where a call found NaNs or infinities, in the caller's terms."""
        row = result.first_tensor
        i = row if self.row_of is None else self.row_of.index(row)
        order = self.layout(i)
        index = order.index_of(result.first_element)
        return NonFinite(
            count=result.nonfinite_count,
            nan_count=result.nan_count,
            tensor=self.leaf(i),
            name=None if self.names is None else self.names[self.leaf(i)],
            element=flat_index(index, order.shape),
            index=index,
        )

    def norms(self, of_rows: list[float]) -> tuple[float, ...]:
        """The norm of each leaf from the norm of each row."""
        of_arrays = of_rows if self.row_of is None else [of_rows[row] for row in self.row_of]
        if self.leaf_of is None:
            return tuple(of_arrays)
        of_leaves = [0.0] * len(self.leaves)
        for leaf, norm in zip(self.leaf_of, of_arrays):
            of_leaves[leaf] = norm
        return tuple(of_leaves)


def _checked_names(names: Iterable[str], count: int) -> list[str]:
    if isinstance(names, str):
        raise TypeError(f"names must be an iterable of names, one a gradient (got {names!r})")
    listed = [str(name) for name in names]
    if len(listed) != count:
        raise ValueError(f"names must have one name a gradient: {count} (got {len(listed)})")
    return listed
