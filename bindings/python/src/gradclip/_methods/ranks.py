"""A norm over several processes: what is said between them, whatever carries it.

The protocol is that of gradclip_accumulator_to_words in gradclip.h: one message of
192 bytes, a second one where the order of the norm needs it, another where an element
is not finite. Whatever goes wrong on one rank does so before the first message, in
which the others learn of it.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Sequence
from ctypes import c_int64
from math import isnan
from struct import pack, unpack
from typing import Any, NamedTuple, Protocol

from .._gradients.rows import Rows, Table
from .._native import ffi
from .._native.call import Handle, Options, call, new_result, norm_of
from .._native.errors import GradClipError, InvalidArgumentError, NonFiniteGradientError
from .._norm import ALL_FINITE, NonFinite, Norm
from .accumulator import Accumulator

_STATE = 1024  # the longest export
_PLACE = 512  # where the first NaN is, as text


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


def _handle(options: Options) -> Handle:
    return Handle("accumulator", options.norm_type, options.native)


def clip(
    transport: Transport,
    collect: Callable[[], Rows],
    max_norm: float,
    options: Options,
    writes: bool,
) -> Norm:
    """Measures the gradients of all ranks, and clips this one's if it `writes`.

    collect makes the rows, and may raise. All ranks must agree on max_norm and options.
    """

    def begin() -> tuple[Handle, Rows, NonFinite]:
        rows = collect()
        return _added(rows, rows.table, max_norm, options)

    handle, rows, nonfinite = _put_together(transport, begin, max_norm)
    return _clipped(handle, rows, max_norm, options, nonfinite, writes)


def _added(
    rows: Rows, table: Table, max_norm: float, options: Options
) -> tuple[Handle, Rows, NonFinite]:
    """An accumulator with the rows that count in the table, and where their first NaN is."""
    handle = _handle(options)
    call(ffi.gradclip_accumulator_add, handle, table.first, rows.count)
    result = _looked_at(handle, max_norm)
    return handle, rows, rows.nonfinite(result) if result.nonfinite_count else ALL_FINITE


def _clipped(
    handle: Handle,
    rows: Rows,
    max_norm: float,
    options: Options,
    nonfinite: NonFinite,
    writes: bool,
) -> Norm:
    if nonfinite and options.error_if_nonfinite:
        raise NonFiniteGradientError(nonfinite)
    result = new_result()
    first, count = (rows.table.first, rows.count) if writes else (None, 0)
    call(ffi.gradclip_accumulator_clip, handle, first, count, max_norm, result)
    norm: Norm = norm_of(result, nonfinite)
    if writes and options.writes(norm):
        rows.written()
    return norm


class OverMeshes(NamedTuple):
    """This rank's gradients, of which each group of ranks has its own."""

    rows: Rows
    of_meshes: list[Table]  # the rows, of which those of one mesh count; one for each mesh
    alike: Table | None  # those that every rank has the same of; None: there are none


def clip_over_meshes(
    meshes: Sequence[Transport],
    collect: Callable[[], OverMeshes],
    max_norm: float,
    options: Options,
    writes: bool,
) -> Norm:
    """clip() for gradients that lie on several meshes, which may have ranks in common.

    The sums of each are exact, so that of all has the same bits however the ranks are cut.
    Where there are several meshes, or gradients that are to be alike everywhere, a second
    message of 24 bytes makes sure that all ranks have the same norm.
    """
    refusal: Exception | None = None
    mine: OverMeshes | None = None
    try:
        mine = collect()
        _handle(options)  # refuses what is no setting
    except Exception as error:
        refusal = error
    more = int(refusal is not None or len(meshes) > 1)
    if mine is not None and mine.alike is not None:
        more = 1
    handles: list[Handle] = []
    found: list[NonFinite] = []
    to_confirm = []
    for i, mesh in enumerate(meshes):

        def begin(i: int = i) -> tuple[Handle, Rows, NonFinite]:
            if refusal is not None:
                raise refusal
            assert mine is not None
            return _added(mine.rows, mine.of_meshes[i], max_norm, options)

        flag = c_int64(more)
        try:
            handle, _, first = _put_together(mesh, begin, max_norm, flag)
            handles.append(handle)
            found.append(first)
        except Exception as error:
            if error is not refusal and not isinstance(error, GradClipError):
                raise  # of the transport: nothing more can be sent
            refusal = error
        if flag.value:
            to_confirm.append(mesh)
    total: Handle | None = None
    if refusal is None and mine is not None:
        total = handles[0]
        for handle in handles[1:]:
            call(ffi.gradclip_accumulator_merge, total, handle)
        if mine.alike is not None:
            handle, _, first = _added(mine.rows, mine.alike, max_norm, options)
            call(ffi.gradclip_accumulator_merge, total, handle)
            found.append(first)
    for mesh in to_confirm:
        refusal = _confirmed(mesh, total, max_norm, refusal)
    if refusal is not None:
        raise refusal
    assert mine is not None and total is not None
    result = _looked_at(total, max_norm)
    nonfinite = ALL_FINITE
    if result.nonfinite_count:
        nonfinite = next(filter(None, found))
        nonfinite.count, nonfinite.nan_count = result.nonfinite_count, result.nan_count
    return _clipped(total, mine.rows, max_norm, options, nonfinite, writes)


def _confirmed(
    mesh: Transport, total: Handle | None, max_norm: float, refusal: Exception | None
) -> Exception | None:
    """What is wrong on any rank of the mesh, or that they do not have the same norm."""
    bits = 0
    if total is not None and refusal is None:
        norm = _looked_at(total, max_norm).total_norm
        bits = -1 if isnan(norm) else unpack("=q", pack("=d", norm))[0]
    words = (c_int64 * 3)(refusal is not None, bits, -bits)
    mesh.max(words)
    if refusal is not None:
        return refusal
    if words[0]:
        return InvalidArgumentError("ranks whose call was refused must be none (got 1 or more)")
    if words[1] != -words[2]:
        return InvalidArgumentError(
            "gradients that are no DTensors, and DTensors of another mesh, must have the same "
            "norm on all ranks that share a device mesh: the ranks disagree"
        )
    return None


def finish(
    transport: Transport, accumulator: Accumulator, max_norm: float, error_if_nonfinite: bool
) -> Norm:
    """The norm of what the accumulators of all ranks hold; this one's stays as it is."""

    def begin() -> tuple[Handle, None, NonFinite]:
        if not isinstance(accumulator, Accumulator):
            raise TypeError(f"accumulator must be a gradclip.Accumulator (got {accumulator!r})")
        handle = _handle(accumulator._options)
        handle.take(accumulator.to_bytes())
        return handle, None, accumulator.finish(max_norm).nonfinite

    handle, _, nonfinite = _put_together(transport, begin, max_norm)
    if nonfinite and error_if_nonfinite:
        raise NonFiniteGradientError(nonfinite)
    return norm_of(_looked_at(handle, max_norm), nonfinite)


# ------------------------------------------------------------------ messages --


def _put_together(
    transport: Transport,
    begin: Callable[[], tuple[Handle, Any, NonFinite]],
    max_norm: float,
    flag: c_int64 | None = None,
) -> tuple[Handle, Any, NonFinite]:
    """Calls begin, and puts the sum over all ranks into the accumulator that it returns; and
    into flag, which is sent along if it is given, how many ranks have set it."""
    refusal: Exception | None = None
    words = (c_int64 * (ffi.GRADCLIP_WORDS + (flag is not None)))()
    if flag is not None:
        words[ffi.GRADCLIP_WORDS] = flag.value
    try:
        handle, rows, own = begin()
        state = handle.state()
        call(ffi.gradclip_accumulator_to_words, handle, max_norm, words)
    except Exception as error:
        refusal = error
        call(ffi.gradclip_accumulator_to_words, None, 0.0, words)
    extremes = (c_int64 * 2)(*words[:2])

    transport.sum(words)
    if flag is not None:
        flag.value = words[ffi.GRADCLIP_WORDS]
    if words[ffi.GRADCLIP_WORD_KIND] < 0:
        transport.max(extremes)
        words[0], words[1] = extremes
    if refusal is not None:
        raise refusal
    # From here on all ranks raise alike, or go on alike.
    call(ffi.gradclip_accumulator_from_words, handle, max_norm, words)
    if words[ffi.GRADCLIP_WORD_KIND] > 0:
        block = len(state).to_bytes(8, "little") + state.ljust(_STATE, b"\0")
        for theirs in transport.gather(block):
            handle.take(theirs[8 : 8 + int.from_bytes(theirs[:8], "little")])
    if words[ffi.GRADCLIP_WORD_NONFINITE]:
        own = _first_of_all(transport, own, _looked_at(handle, max_norm))
    return handle, rows, own


def _looked_at(handle: Handle, max_norm: float) -> ffi.gradclip_result:
    result = new_result()
    call(ffi.gradclip_accumulator_finish, handle, max_norm, result)
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
