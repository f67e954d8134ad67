"""Gradients as the library takes them: a list of gradclip_tensor."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from ctypes import c_size_t
from typing import Any, NamedTuple, NoReturn

from .._native import ffi
from .._native.errors import error_for
from .._norm import NonFinite
from .array import DTYPE_NAMES, ITEMSIZES
from .fast import at_once, memory_of
from .layout import Layout, flat_index, layout
from .tree import LEAF, Node, Tree, flatten
from .types import Grads


def _word(low: int, high: int) -> int:
    """Two neighbouring 32-bit fields of a structure as one 64-bit word."""
    return int(struct.unpack("=Q", struct.pack("=II", low, high))[0])


_CPU = array("Q", [_word(1, 0)])  # device_type, device_id
_EMPTY = array("Q", [0, 0, _word(ffi.GRADCLIP_F32, 0), *_CPU])
_WORDS = {dtype: _word(dtype, 0) for dtype in ITEMSIZES}  # dtype, flags
_UNCOUNTED = _word(0, ffi.GRADCLIP_UNCOUNTED)


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
        first = ffi.gradclip_tensor.from_buffer(words) if count else None
        return tuple.__new__(cls, (words, first))  # not a NamedTuple's own, a function in Python

    def dtype(self, row: int) -> int:
        first: int = ffi.gradclip_tensor.from_buffer(self.words, 32 * row).dtype
        return first

    def overlap(self) -> tuple[int, int] | None:
        """Two tensors that share memory, the earlier one first; None if no two do."""
        count = len(self.words) // 4
        first, second = c_size_t(), c_size_t()
        status = ffi.gradclip_find_overlap(self.first, count, first, second)
        if status:
            raise error_for(status)
        return None if first.value == count else (first.value, second.value)

    def without(self, rows: Iterable[int]) -> Table:
        """The tensors, those of some rows to be scaled but not counted."""
        words = self.words[:]
        for row in rows:
            words[4 * row + 2] |= _UNCOUNTED
        return Table(words, ffi.gradclip_tensor.from_buffer(words) if words else None)

    def at(self, addresses: Iterable[int]) -> Table:
        """The same lengths and dtypes at other addresses."""
        words = self.words[:]
        words[0::4] = array("Q", addresses)
        return Table(words, ffi.gradclip_tensor.from_buffer(words) if words else None)

    def spread(self, rows: Sequence[int | None]) -> Table:
        """The tensors of these rows, an empty one for None and for a row that was there before."""
        words = array("Q")
        seen: set[int | None] = {None}
        for row in rows:
            words.extend(
                _EMPTY if row in seen or row is None else self.words[4 * row : 4 * row + 4]
            )
            seen.add(row)
        return Table(words, ffi.gradclip_tensor.from_buffer(words) if words else None)


class Rows:
    """Gradients as rows of the library's list, wherever they come from.

    A *place* is one of what was given, None included; an *array* what stands there if it
    is not None; a *row* an entry of the library's list. Arrays that are the same memory
    share a row, so that they are counted and scaled once.

    Attributes:
        arrays: without None.
        places: how many were given, None included.
        place_of: the place of each array; None: the same.
        row_of: the row of each array; None: the same.
        names: of the places, or None.
        table, count: the rows.
    """

    __slots__ = ("arrays", "count", "names", "place_of", "places", "row_of", "table")

    noun = "gradient"  # what errors call one

    arrays: Sequence[Any]
    count: int
    names: list[str] | None
    place_of: Sequence[int] | None
    places: int
    row_of: Sequence[int] | None
    table: Table

    # What each kind knows of its arrays.

    def order(self, i: int) -> Layout:
        """How the elements of the array i lie in the memory of its row."""
        raise NotImplementedError

    def dtype(self, i: int) -> str:
        """What the array i holds, by name."""
        raise NotImplementedError

    def shape(self, i: int) -> tuple[int, ...]:
        return self.order(i).shape

    def index_of(self, i: int, element: int) -> tuple[int, ...]:
        """The index in the array i of an element of its row."""
        return self.order(i).index_of(element)

    def written(self) -> None:
        """To be called when the library has written the rows."""

    def copied(
        self, i: int, array: Any, axes: Sequence[int], backwards: Sequence[bool]
    ) -> tuple[Any, int]:
        """A copy in C order of the array i, or of one like it, whose axis a is the array's axes[a],
        from its end if backwards[a]; and its address."""
        raise NotImplementedError

    def put_back(self, array: Any, copy: Any, axes: Sequence[int]) -> None:
        """Writes a copy, whose axes are put in this order, to the array that it was made of."""
        raise NotImplementedError

    def label(self, i: int) -> str:
        """What errors call the array i."""
        place = self.place(i)
        return f"{self.noun} {place}" if self.names is None else repr(self.names[place])

    # Between places, arrays and rows.

    def place(self, i: int) -> int:
        """Where the array i stands."""
        return i if self.place_of is None else self.place_of[i]

    def row(self, i: int) -> int:
        """Which row the array i is."""
        return i if self.row_of is None else self.row_of[i]

    def first_of(self, row: int) -> int:
        """The first array that is a row."""
        return row if self.row_of is None else self.row_of.index(row)

    def row_at(self) -> list[int | None]:
        """The row of each place, None where there is no gradient."""
        rows: list[int | None] = [None] * self.places
        for i in range(len(self.arrays)):
            rows[self.place(i)] = self.row(i)
        return rows

    def place_of_row(self) -> list[int]:
        """The place of each row, the first if it is there twice."""
        return [self.place(self.first_of(row)) for row in range(self.count)]

    def at_places(self, of_rows: Sequence[Any], none: Any) -> tuple[Any, ...]:
        """For each place what its row has; none where there is no gradient."""
        if self.place_of is None and self.row_of is None:
            return tuple(of_rows)
        return tuple(none if row is None else of_rows[row] for row in self.row_at())

    def of_rows(self, at_places: Sequence[Any], what: str) -> list[Any]:
        """For each row what its place has; ValueError where the same gradient has two."""
        rows: list[Any] = [_NOTHING] * self.count
        for i in range(len(self.arrays)):
            row, value = self.row(i), at_places[self.place(i)]
            if rows[row] is not _NOTHING and rows[row] != value:
                raise ValueError(what.format(self.label(i), rows[row], value))
            rows[row] = value
        return rows

    def nonfinite(
        self, result: ffi.gradclip_result, index: tuple[int, ...] | None = None
    ) -> NonFinite:
        """Where a call found NaNs or infinities, in the caller's terms. index: of the first in
        its array, where the library did not get the array's own memory."""
        i = self.first_of(result.first_tensor)
        if index is None:
            index = self.index_of(i, result.first_element)
        place = self.place(i)
        return NonFinite(
            count=result.nonfinite_count,
            nan_count=result.nan_count,
            tensor=place,
            name=None if self.names is None else self.names[place],
            element=flat_index(index, self.shape(i)),
            index=index,
        )


_NOTHING = object()


class Tensors(Rows):
    """The arrays of a call or a plan, and the containers that they came in."""

    __slots__ = ("keys", "memory", "tree")

    def __init__(self, grads: Any, names: Iterable[str] | None, writable: bool) -> None:
        self.names = self.place_of = self.row_of = None
        found = at_once(grads)
        if found is not None:
            # A list or a dictionary of NumPy arrays, the usual thing.
            self.arrays, self.memory = found
            self.places = len(self.arrays)
            make: Any = type(grads)
            if make is dict:
                keys = list(grads)
                self.names = list(map(str, keys))
                make = lambda parts: dict(zip(keys, parts))  # noqa: E731
            self.tree: Tree = tuple.__new__(Node, (make, [LEAF] * self.places))
        else:
            leaves, self.names, self.tree = flatten(grads)
            self.places = len(leaves)
            self.arrays = leaves
        self.keys: list[str] | None = self.names  # whatever names the caller gave beside them
        if names is not None:
            self.names = checked_names(names, self.places, self.noun)
        if found is None:
            if type(None) in set(map(type, leaves)):
                self.place_of = [i for i, leaf in enumerate(leaves) if leaf is not None]
                self.arrays = [leaves[i] for i in self.place_of]
            self.memory = memory_of(self.arrays, self.label, writable)
        columns = self.memory[:3]
        self.table = Table.of(*columns)
        if self.table.overlap() is not None:
            self.row_of, rows = self._share_rows()
            self.table = Table.of(*([column[i] for i in rows] for column in columns))
            overlap = self.table.overlap()
            if overlap is not None:
                first, second = (self.label(rows[row]) for row in overlap)
                raise ValueError(
                    f"{second} overlaps {first} in memory: what they share would be counted and "
                    "scaled twice"
                )
        self.count = len(self.table.words) // 4

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

    def label(self, i: int) -> str:
        if self.tree is LEAF:
            return "grads"
        place = self.place(i)
        return (
            f"grads[{place}]" if self.names is None else f"grads[{place}] ({self.names[place]!r})"
        )

    def order(self, i: int) -> Layout:
        blocks = self.memory.blocks
        one = None if blocks is None else blocks[i]
        if one is not None:
            return one.layout
        ndarray = self.arrays[i]
        order = layout(ndarray.shape, ndarray.strides, ndarray.itemsize)
        assert order is not None
        return order

    def dtype(self, i: int) -> str:
        return DTYPE_NAMES[self.memory.dtypes[i]]

    def copied(
        self, i: int, array: Any, axes: Sequence[int], backwards: Sequence[bool]
    ) -> tuple[Any, int]:
        numpy = sys.modules.get("numpy")
        if numpy is None or not isinstance(array, numpy.ndarray):
            raise ValueError(
                f"{self.label(i)} and its weights lie differently in memory, or the reduced axes "
                "are no neighbours there: pass NumPy arrays"
            )
        flip = tuple(slice(None, None, -1 if is_reversed else None) for is_reversed in backwards)
        copy = numpy.ascontiguousarray(array.transpose(axes)[flip])
        return copy, copy.__array_interface__["data"][0]

    def put_back(self, array: Any, copy: Any, axes: Sequence[int]) -> None:
        array[...] = copy.transpose(axes)


class Held:
    """Gradients that were looked at already: a Plan, which every function takes in their place."""

    def __init__(self, grads: Grads, names: Iterable[str] | None) -> None:
        self._tensors: Tensors | None = Tensors(grads, names, writable=True)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Plan cannot be copied or pickled: it holds memory of this process")

    def _open(self) -> Tensors:
        if self._tensors is None:
            raise ValueError("the plan is closed")
        return self._tensors


def rows_of(grads: Any, names: Iterable[str] | None, writable: bool) -> Tensors:
    """The rows of what a function is given."""
    if not isinstance(grads, Held):
        return Tensors(grads, names, writable)
    if names is not None:
        raise TypeError("names must be None for a Plan, which was made with them")
    return grads._open()


def checked_names(names: Iterable[str], count: int, noun: str) -> list[str]:
    """The names that a caller gave, one for each of count."""
    if isinstance(names, str):
        raise TypeError(f"names must be an iterable of names, one a {noun} (got {names!r})")
    try:
        listed = [str(name) for name in names]
    except TypeError:
        raise TypeError(f"names must be an iterable of names (got {names!r})") from None
    if len(listed) != count:
        raise ValueError(f"names must have one name a {noun}: {count} (got {len(listed)})")
    return listed
