"""A norm over several processes: what is said between them, whatever carries it.

The protocol is that of gradclip_accumulator_to_words in gradclip.h: one message of
192 bytes, a second one where the order of the norm needs it, another where an element
is not finite. Whatever goes wrong on one rank does so before the first message, in
which the others learn of it.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterable
from ctypes import byref, c_int64, c_size_t, c_void_p, create_string_buffer
from typing import Any, Protocol

from .._gradients.rows import Rows, Table
from .._native import ffi
from .._native.call import call, new_result, norm_of, options_of
from .._native.errors import NonFiniteGradientError
from .._norm import ALL_FINITE, NonFinite, Norm
from .accumulator import Accumulator

_Words = c_int64 * ffi.GRADCLIP_WORDS
_STATE = 1024  # the longest export
_PLACE = 512  # where the first NaN is, as text
_UNCOUNTED = ffi.GRADCLIP_UNCOUNTED << 32  # in the third word of a row


class Transport(Protocol):
    """The ranks whose gradients have one norm, and how to reach them."""

    @property
    def rank(self) -> int:
        """The number by which this process is named to the user."""

    def sum(self, words: ctypes.Array[c_int64]) -> None:
        """Adds up words of all ranks, in place."""

    def max(self, words: ctypes.Array[c_int64]) -> None:
        """The largest of all ranks' words, in place."""

    def gather(self, block: bytes) -> list[bytes]:
        """The blocks of all ranks, in the same order everywhere. They are of one length."""


class Settings:
    """What all ranks must agree on."""

    def __init__(
        self,
        max_norm: float,
        norm_type: float,
        error_if_nonfinite: bool,
        eps: float,
        nonfinite: str,
        grad_scale: float,
        exact_f64: bool,
    ) -> None:
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.error_if_nonfinite = error_if_nonfinite
        self.options = (eps, nonfinite, grad_scale, error_if_nonfinite, exact_f64)


class _Handle:
    """An accumulator of the library, freed when it goes out of use."""

    def __init__(self, settings: Settings) -> None:
        self.pointer = c_void_p()
        options = options_of(*settings.options)
        call(ffi.gradclip_accumulator_create, settings.norm_type, options, self.pointer)

    def __del__(self, _free: Any = ffi.gradclip_accumulator_free) -> None:
        _free(getattr(self, "pointer", None))

    def state(self) -> bytes:
        size = c_size_t(_STATE)
        state = create_string_buffer(_STATE)
        call(ffi.gradclip_accumulator_export, self.pointer, state, byref(size))
        return state.raw[: size.value]

    def add_state(self, state: bytes) -> None:
        call(ffi.gradclip_accumulator_import, self.pointer, state, len(state))


def clip(
    transport: Transport, collect: Callable[[], Rows], settings: Settings, writes: bool
) -> tuple[Norm, Rows]:
    """Measures the gradients of all ranks, and clips this one's if it `writes`.

    collect makes the rows, and may raise.
    """

    def begin() -> tuple[_Handle, Rows, NonFinite]:
        rows = collect()
        handle = _Handle(settings)
        call(ffi.gradclip_accumulator_add, handle.pointer, rows.table.first, rows.count)
        result = _looked_at(handle, settings.max_norm)
        return handle, rows, rows.nonfinite(result) if result.nonfinite_count else ALL_FINITE

    handle, rows, nonfinite = _put_together(transport, begin, settings.max_norm)
    if nonfinite and settings.error_if_nonfinite:
        raise NonFiniteGradientError(nonfinite)
    result = new_result()
    first, count = (rows.table.first, rows.count) if writes else (None, 0)
    call(ffi.gradclip_accumulator_clip, handle.pointer, first, count, settings.max_norm, result)
    return norm_of(result, nonfinite, None), rows


def finish(
    transport: Transport, accumulator: Accumulator, max_norm: float, error_if_nonfinite: bool
) -> Norm:
    """The norm of what the accumulators of all ranks hold; this one's stays as it is."""

    def begin() -> tuple[_Handle, None, NonFinite]:
        if not isinstance(accumulator, Accumulator):
            raise TypeError(f"accumulator must be a gradclip.Accumulator (got {accumulator!r})")
        norm_type, eps, nonfinite, grad_scale, exact_f64 = accumulator._settings
        handle = _Handle(
            Settings(max_norm, norm_type, False, eps, nonfinite, grad_scale, exact_f64)
        )
        handle.add_state(accumulator.to_bytes())
        return handle, None, accumulator.finish(max_norm).nonfinite

    handle, _, nonfinite = _put_together(transport, begin, max_norm)
    if nonfinite and error_if_nonfinite:
        raise NonFiniteGradientError(nonfinite)
    return norm_of(_looked_at(handle, max_norm), nonfinite, None)


def without(rows: Table, uncounted: Iterable[int]) -> Table:
    """The rows, some of which are scaled but not counted."""
    words = rows.words[:]
    for row in uncounted:
        words[4 * row + 2] |= _UNCOUNTED
    return Table(words, ffi.gradclip_tensor.from_buffer(words) if words else None)


# ------------------------------------------------------------------ messages --


def _put_together(
    transport: Transport, begin: Callable[[], tuple[_Handle, Any, NonFinite]], max_norm: float
) -> tuple[_Handle, Any, NonFinite]:
    """Calls begin, and puts the sum over all ranks into the accumulator that it returns."""
    refusal: Exception | None = None
    words = _Words()
    try:
        handle, rows, own = begin()
        state = handle.state()
        call(ffi.gradclip_accumulator_to_words, handle.pointer, max_norm, words)
    except Exception as error:
        refusal = error
        call(ffi.gradclip_accumulator_to_words, None, 0.0, words)
    extremes = (c_int64 * 2)(*words[:2])

    transport.sum(words)
    if words[ffi.GRADCLIP_WORD_KIND] < 0:
        transport.max(extremes)
        words[0], words[1] = extremes
    if refusal is not None:
        raise refusal
    # From here on all ranks raise alike, or go on alike.
    call(ffi.gradclip_accumulator_from_words, handle.pointer, max_norm, words)
    if words[ffi.GRADCLIP_WORD_KIND] > 0:
        block = len(state).to_bytes(8, "little") + state.ljust(_STATE, b"\0")
        for theirs in transport.gather(block):
            handle.add_state(theirs[8 : 8 + int.from_bytes(theirs[:8], "little")])
    if words[ffi.GRADCLIP_WORD_NONFINITE]:
        own = _first_of_all(transport, own, _looked_at(handle, max_norm))
    return handle, rows, own


def _looked_at(handle: _Handle, max_norm: float) -> ffi.gradclip_result:
    result = new_result()
    call(ffi.gradclip_accumulator_finish, handle.pointer, max_norm, result)
    return result


def _first_of_all(transport: Transport, own: NonFinite, result: ffi.gradclip_result) -> NonFinite:
    """Where the first NaN or infinity of all ranks is, from where each has its first."""
    for block in transport.gather(_place(own, transport.rank)):
        place = json.loads(block)
        if place is not None:
            rank, tensor, name, element, index = place
            return NonFinite(
                count=result.nonfinite_count,
                nan_count=result.nan_count,
                tensor=tensor,
                name=name,
                element=element,
                index=None if index is None else tuple(index),
                rank=rank,
            )
    raise AssertionError("a rank with non-finite elements does not say where")


def _place(own: NonFinite, rank: int) -> bytes:
    name, index = own.name, own.index
    while True:
        place = [rank, own.tensor, name, own.element, index] if own else None
        text = json.dumps(place).encode()
        if len(text) <= _PLACE:
            return text.ljust(_PLACE)
        if name:
            name = name[: len(name) - 1]  # long names are cut off
        else:
            index = None
