"""The fast way to look at tensors: all at once, if they are contiguous on the CPU.

Where torch has DLPack's C exchange functions (2.13 does) the library itself asks them. With
an older torch each question goes to all tensors in a map() over torch's C functions.
"""

from __future__ import annotations

from array import array
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from .._gradients.dlpack import read, reader_of
from .._gradients.rows import Table
from .._native import ffi

DTYPES = {
    torch.float32: ffi.GRADCLIP_F32,
    torch.float64: ffi.GRADCLIP_F64,
    torch.float16: ffi.GRADCLIP_F16,
    torch.bfloat16: ffi.GRADCLIP_BF16,
}
KINDS = {Tensor, Parameter}  # a subclass may mean anything by its memory

_reader = reader_of(Tensor)

_is_cpu = attrgetter("is_cpu")
_dtype_of = attrgetter("dtype")


class Found(NamedTuple):
    table: Table
    has_float64: bool

    @classmethod
    def of(cls, words: array[int], before: Found | None) -> Found | None:
        """None if two of the tensors share memory. before is what a step before had found."""
        if before is not None and words == before.table.words:
            return before
        table = Table(words, ffi.gradclip_tensor.from_buffer(words) if words else None)
        if table.overlap() is not None:
            return None
        dtypes = words[2::4]
        if before is not None and dtypes == before.table.words[2::4]:  # faster than to look
            return cls(table, before.has_float64)
        return cls(table, ffi.GRADCLIP_F64 in dtypes)


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

    def found(self, before: Found | None = None) -> Found | None:
        del self._words[4 * self.count :]
        return Found.of(self._words, before)


class Memo:
    """What was found the last time, of use to a plan: most of it stays the same."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: Found | None = None

    def found(self, rows: RowsAtOnce) -> Found | None:
        self._last = rows.found(self._last)
        return self._last


# ------------------------------------------------------------------ two ways to ask --


def _read(tensors: tuple[Any, ...], words: array[int], start: int) -> bool:
    try:
        return read(tensors, _reader, ffi.gradclip_tensor.from_buffer(words, 32 * start))
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
