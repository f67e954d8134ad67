"""Tables in blocks of many lines at once: a long log is read ten times as fast as by its cells.

A block is given up, to be read line by line, where its rows have unequal numbers of cells, or
quotation marks, or what is taken of them is blank or no plain number.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..log import Array

_LINE_FEED, _QUOTE, _POINT, _ZERO = 10, 34, 46, 48
# So many characters hold at most 15 digits, which float64 holds exactly, as it does the powers.
_WIDEST = 16
_POWERS = 10.0 ** np.arange(_WIDEST + 1)

Bytes = npt.NDArray[np.uint8]


def edges_of(block: bytes, delimiter: str, width: int) -> npt.NDArray[np.int64] | None:
    """For each line where its cells end, after where the line before it ends; None where not
    all have `width` cells. The delimiter of a table of one column is the line feed."""
    data = np.frombuffer(block, np.uint8)
    if data[-1] != _LINE_FEED or _QUOTE in block or b"\r" in block or b"\0" in block:
        return None
    ends = np.flatnonzero((data == _LINE_FEED) | (data == ord(delimiter)))
    rows = len(ends) // width
    if rows * width != len(ends) or block.count(b"\n") != rows:
        return None
    table = ends.reshape(rows, width)
    if np.any(data[table[:, -1]] != _LINE_FEED):
        return None
    before = np.append(-1, table[:-1, -1])
    return np.column_stack([before, table])


def numbers_of(
    block: bytes,
    edges: npt.NDArray[np.int64],
    places: Sequence[int],
    needed: Container[int],
) -> list[Array] | None:
    """The columns in `places`; blanks are NaN. None where they are to be read cell by cell, as
    where one that is needed has a blank."""
    data = np.frombuffer(block + bytes(_WIDEST), np.uint8)
    columns = []
    for place in places:
        starts, ends = edges[:, place] + 1, edges[:, place + 1]
        blanks = ends == starts
        if place in needed and blanks.any():
            return None
        if blanks.all():
            columns.append(np.full(len(starts), np.nan))
            continue
        column = _numbers(block, data, starts, ends)
        if column is None:
            return None
        columns.append(column)
    return columns


def values_of(
    block: bytes, edges: npt.NDArray[np.int64], place: int, known: Mapping[str, float]
) -> Array:
    """The column of words of four letters in `place` as the values that are known for them."""
    data = np.frombuffer(block + bytes(4), np.uint8)
    starts, ends = edges[:, place] + 1, edges[:, place + 1]
    code = sum(data[starts + i].astype(np.uint32) << (8 * i) for i in range(4))
    values = np.full(len(starts), np.nan)
    for word, value in known.items():
        same = code == int.from_bytes(word.encode(), "little")
        values[same & (ends - starts == 4)] = value
    return values


def _numbers(
    block: bytes, data: Bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> Array | None:
    """Decimal numbers, rounded as float() does: a whole number over a power of ten, both of
    them exact. Others, if there are few of them or all are alike, go through float()."""
    lengths = ends - starts
    widest, shortest = int(lengths.max()), int(lengths.min())
    plain = np.ones(len(starts), bool)
    if widest > _WIDEST:
        plain = lengths <= _WIDEST
        widest = _WIDEST
    whole = np.zeros(len(starts), np.int64)
    behind, points = np.zeros(len(starts), np.int8), np.zeros(len(starts), np.int8)
    for place in range(widest):
        character = data[starts + place]
        digit = character - _ZERO  # wraps around below "0"
        is_digit, is_point = digit < 10, character == _POINT
        fits = is_digit | is_point
        if place >= shortest:
            inside = lengths > place
            is_digit &= inside
            is_point &= inside
            fits |= ~inside
        plain &= fits
        whole = np.where(is_digit, whole * 10 + digit, whole)
        behind += is_digit & (points > 0)
        points += is_point
    plain &= (points < 2) & (lengths > points)
    values = whole / _POWERS[behind]
    others = np.flatnonzero(~plain)
    known = {b"": np.nan}
    for row in others.tolist():
        cell = block[starts[row] : ends[row]]
        if cell not in known:
            try:
                known[cell] = float(cell)
            except ValueError:
                return None
        values[row] = known[cell]
    return values
