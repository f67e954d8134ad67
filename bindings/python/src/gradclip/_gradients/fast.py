"""Where a list of arrays lies in memory, column by column.

A call without a plan finds this out anew for every array it is given, so it must
cost little. Three ways, from the fastest to the one that knows every reason:

1. writable C-ordered NumPy arrays: map() over C functions, without a loop in
   Python (ctypes' from_buffer checks writability and order on the way; the
   attribute ndarray.ctypes alone costs four times as much);
2. NumPy arrays of which some are in Fortran order or bfloat16: a loop;
3. everything else, and all that turns out to be wrong: `array`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ctypes import addressof, c_char
from operator import attrgetter
from typing import Any, NamedTuple

from .._native import ffi
from .array import DTYPE_NAMES, ITEMSIZES, Block, block

_from_buffer = c_char.from_buffer
_dtype_of = attrgetter("dtype")
_size_of = attrgetter("size")


class Memory(NamedTuple):
    """One entry an array in each column. An empty array may have any address."""

    addresses: list[int]
    lengths: list[int]
    dtypes: list[int]  # GRADCLIP_F32, ...
    # The block of each array that went the third way, None for the others;
    # None for the whole column if all went the first.
    blocks: list[Block | None] | None
    keep: Any  # holds the memory, and keeps it from being resized

    def nbytes(self, i: int) -> int:
        return self.lengths[i] * ITEMSIZES[self.dtypes[i]]


def at_once(grads: Any) -> tuple[list[Any], Memory] | None:
    """The arrays of a list, tuple or dictionary of ndarrays that are writable, in C order and
    not empty, and where they lie; None if it is anything else. Without a loop in Python."""
    kind = type(grads)
    if kind is not list and kind is not tuple and kind is not dict:
        return None
    arrays = list(grads.values() if kind is dict else grads)
    numpy = sys.modules.get("numpy")
    if numpy is None or set(map(type, arrays)) != {numpy.ndarray}:
        return None
    try:
        exports = list(map(_from_buffer, arrays))
    except (TypeError, ValueError, BufferError):
        return None
    dtypes: list[Any] = list(map(_dtypes.get, map(_dtype_of, arrays)))
    if None in dtypes:
        dtypes = [_dtype(array.dtype) for array in arrays]
        if None in dtypes:
            return None
    lengths = list(map(_size_of, arrays))
    # (What tuple makes: a NamedTuple's own constructor is a function in Python.)
    found = (list(map(addressof, exports)), lengths, dtypes, None, exports)
    return arrays, tuple.__new__(Memory, found)


def memory_of(arrays: list[Any], label: Callable[[int], str], writable: bool) -> Memory:
    """Where arrays lie; errors name array i label(i)."""
    ndarray = getattr(sys.modules.get("numpy"), "ndarray", None)
    found = Memory([], [], [], [], [])
    for i, array in enumerate(arrays):
        if type(array) is ndarray and _append_ndarray(found, array):
            continue
        one = block(array, label(i), writable)
        _append(found, one.address, one.length, one.dtype, one)
        found.keep.append(one.keep)
    return found


def _append_ndarray(memory: Memory, array: Any) -> bool:
    """Appends a writable ndarray in C or Fortran order; False if it is none."""
    dtype = _dtype(array.dtype)
    if dtype is None:
        return False
    if dtype == ffi.GRADCLIP_BF16:
        # ml_dtypes' bfloat16 has no format character, and so no buffer of its own.
        array = array.view("u2")
    try:
        export = _from_buffer(array)
    except (TypeError, ValueError, BufferError):
        try:
            export = _from_buffer(array.T)
        except (TypeError, ValueError, BufferError):
            return False
    _append(memory, addressof(export), array.size, dtype, None)
    memory.keep.append(export)
    return True


def _append(memory: Memory, address: int, length: int, dtype: int, one: Block | None) -> None:
    memory.addresses.append(address)
    memory.lengths.append(length)
    memory.dtypes.append(dtype)
    if memory.blocks is not None:
        memory.blocks.append(one)


# NumPy's dtypes in the library's terms, each looked at once. A dtype of another
# byte order is another dtype.
_dtypes: dict[Any, int] = {}
_KNOWN = {name: dtype for dtype, name in DTYPE_NAMES.items()}


def _dtype(dtype: Any) -> int | None:
    known = _dtypes.get(dtype)
    if known is None and dtype.isnative:
        known = _KNOWN.get(dtype.name)
        if known is not None:
            _dtypes[dtype] = known
    return known
