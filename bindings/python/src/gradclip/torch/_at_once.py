"""The fast way to look at tensors: all at once, if they are contiguous on the CPU.

Where torch has DLPack's C exchange functions (2.13 does) the library itself asks them. With
an older torch each question goes to all tensors in a map() over torch's C functions.
"""

from __future__ import annotations

from array import array
from operator import attrgetter, mul
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from .. import _ffi
from .._arrays import ITEMSIZES
from .._dlpack import read, reader_of
from .._tensors import Table, are_disjoint

DTYPES = {
    torch.float32: _ffi.GRADCLIP_F32,
    torch.float64: _ffi.GRADCLIP_F64,
    torch.float16: _ffi.GRADCLIP_F16,
    torch.bfloat16: _ffi.GRADCLIP_BF16,
}
KINDS = {Tensor, Parameter}  # a subclass may mean anything by its memory

_reader = reader_of(Tensor)

_is_cpu = attrgetter("is_cpu")
_dtype_of = attrgetter("dtype")


class Found(NamedTuple):
    table: Table
    has_float64: bool


class RowsAtOnce:
    """The library's list, filled portion by portion: four words a tensor, as in Table."""

    __slots__ = ("_words", "count")

    def __init__(self, room: int) -> None:
        self.count = 0
        self._words = array("Q", bytes(32 * room))

    def take(self, tensors: tuple[Any, ...]) -> bool:
        """Appends tensors of KINDS; False if one of them is not as it must be."""
        if not tensors:
            return True
        taken = _ask if _reader is None else _read
        start = self.count
        self.count += len(tensors)
        return taken(tensors, self._words, start)

    def found(self) -> Found | None:
        """None if two of the tensors share memory."""
        words = self._finished()
        dtypes = words[2::4]
        sizes = map(ITEMSIZES.__getitem__, dtypes)
        if not are_disjoint(words[0::4].tolist(), list(map(mul, words[1::4], sizes))):
            return None
        return Found(_table(words), _ffi.GRADCLIP_F64 in dtypes)

    def found_after(self, before: Found) -> Found | None:
        """The same, where a step before had these rows, perhaps at other addresses.

        Only repeated tensors are looked for then: those that overlap otherwise are
        counted and scaled twice where they do, as torch does.
        """
        words, expected = self._finished(), before.table.words
        if words == expected:
            return before
        if len(words) != len(expected):
            return self.found()
        addresses = words[0::4]
        expected = expected[:]
        expected[0::4] = addresses
        if words != expected:
            return self.found()
        if len(set(addresses)) != self.count:
            return None
        return Found(_table(words), before.has_float64)

    def _finished(self) -> array[int]:
        del self._words[4 * self.count :]
        return self._words


class Memo:
    """What was found the last time, of use to a plan: most of it stays the same."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: Found | None = None

    def found(self, rows: RowsAtOnce) -> Found | None:
        self._last = rows.found() if self._last is None else rows.found_after(self._last)
        return self._last


def _table(words: array[int]) -> Table:
    return Table(words, _ffi.gradclip_tensor.from_buffer(words) if words else None)


# ------------------------------------------------------------------ two ways to ask --


def _read(tensors: tuple[Any, ...], words: array[int], start: int) -> bool:
    try:
        return read(tensors, _reader, _ffi.gradclip_tensor.from_buffer(words, 32 * start))
    except Exception:  # torch's own, of several types: for sparse tensors and others
        return False


def _ask(tensors: tuple[Any, ...], words: array[int], start: int) -> bool:
    # Where torch knows no other device, what has an address lies on the CPU.
    if torch.accelerator.current_accelerator() is not None and not all(map(_is_cpu, tensors)):
        return False
    try:
        if not all(map(Tensor.is_contiguous, tensors)):
            return False
        # Tensors without plain memory (sparse, wrapped by torch.func) raise here.
        addresses = list(map(Tensor.data_ptr, tensors))
    except RuntimeError:
        return False
    dtypes: list[torch.dtype] = list(map(_dtype_of, tensors))
    if 0 in addresses or not DTYPES.keys() >= set(dtypes):
        return False
    table = Table.of(addresses, map(Tensor.numel, tensors), map(DTYPES.__getitem__, dtypes))
    words[4 * start : 4 * (start + len(tensors))] = table.words
    return True
