"""Tables in blocks of many lines at once: a long log is read ten times as fast as by its cells.

A block is given up, to be read line by line, where its rows have unequal numbers of cells, or
quotation marks, or what is taken of them is blank or no plain number.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ..log import Array

_LINE_FEED, _QUOTE, _MINUS = 10, 34, 45
# So many characters are a whole number that float64 holds exactly or, without a point, rounds once; it
# holds the powers of ten exactly.
_WIDEST = 16
_EACH = np.uint64(0x0101010101010101)  # times a byte: that in each byte
_POWERS = 10.0 ** np.arange(23)  # for what turns out to be no number, too

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


def edges_of(block: bytes, delimiter: str, width: int) -> Places | None:
    """For each line where the line before it ends, in the first row, and where each of its cells does, in
    the others; None where not all lines have `width` cells. The delimiter of a table of one column is
    the line feed."""
    data = np.frombuffer(block, np.uint8)
    if data[-1] != _LINE_FEED or _QUOTE in block or b"\r" in block or b"\0" in block:
        return None
    ends = np.flatnonzero((data == _LINE_FEED) | (data == ord(delimiter)))
    rows = len(ends) // width
    if rows * width != len(ends) or block.count(b"\n") != rows:
        return None
    table = ends.reshape(rows, width)
    edges = np.empty((width + 1, rows), np.int64)
    edges[1:] = table.T
    edges[0, 0], edges[0, 1:] = -1, edges[-1, :-1]
    return edges if np.all(data[edges[-1]] == _LINE_FEED) else None


def numbers_of(
    block: bytes,
    edges: Places,
    places: Sequence[int],
    needed: Container[int],
) -> list[Array] | None:
    """The columns in `places`; blanks are NaN. None where they are to be read cell by cell, as
    where one that is needed has a blank."""
    characters = np.frombuffer(bytes(_WIDEST) + block, np.uint8)
    # From each place on the eight characters there: words[end + 8] are those before place `end` of the block.
    words: Words = np.ndarray(len(characters) - 7, "<u8", characters, strides=(1,))
    columns = []
    for place in places:
        starts, ends = edges[place] + 1, edges[place + 1]
        blanks = ends == starts
        if place in needed and blanks.any():
            return None
        if blanks.all():
            columns.append(np.full(len(starts), np.nan))
            continue
        column = _numbers(block, words, starts, ends)
        if column is None:
            return None
        columns.append(column)
    return columns


def values_of(
    block: bytes, edges: Places, place: int, known: Mapping[str, float]
) -> Array:
    """The column of words of four letters in `place` as the values that are known for them."""
    data = np.frombuffer(block + bytes(4), np.uint8)
    starts, ends = edges[place] + 1, edges[place + 1]
    code = sum(data[starts + i].astype(np.uint32) << (8 * i) for i in range(4))
    values = np.full(len(starts), np.nan)
    for word, value in known.items():
        same = code == int.from_bytes(word.encode(), "little")
        values[same & (ends - starts == 4)] = value
    return values


def _numbers(block: bytes, words: Words, starts: Places, ends: Places) -> Array | None:
    """Decimal numbers, rounded as float() does: a whole number over a power of ten, both of
    them exact. Others, if there are few of them or all are alike, go through float()."""
    blank = ends == starts
    minus = np.frombuffer(block, np.uint8)[starts] == _MINUS
    lengths = ends - starts
    lengths -= minus
    low = _Eights(words[ends + 8], lengths)
    whole, behind, points, plain = low.whole, low.behind, low.points, low.plain
    if lengths.max() > 8:
        high = _Eights(words[ends], lengths - 8)
        whole += high.whole * np.where(points, np.uint64(10**7), np.uint64(10**8))
        behind += high.behind
        behind += 8 * high.points
        points += high.points
        plain &= high.plain
        plain &= lengths <= _WIDEST
    plain &= (points < 2) & (lengths > points)
    values: Array = whole / _POWERS[behind]
    if minus.any():
        np.negative(values, out=values, where=minus)
    values[blank] = np.nan
    known: dict[bytes, float] = {}
    for row in np.flatnonzero(~(plain | blank)).tolist():
        cell = block[starts[row] : ends[row]]
        if cell not in known:
            try:
                known[cell] = float(cell)
            except ValueError:
                return None
        values[row] = known[cell]
    return values


class _Eights:
    """Eight characters each in a word, the first of them in its lowest byte, of which the last `count`
    belong to a number; all at once, as SIMD within a register.

    Attributes:
        whole: the number without its point; behind: how many digits are behind that.
        points: how many points there are, 0 or 1.
        plain: whether all other characters are digits.
    """

    def __init__(self, word: Words, count: Places) -> None:
        gap = 64 - np.clip(8 * count, 0, 64)
        # Of a digit its value, of what stands before the number 0.
        word ^= _EACH * np.uint64(0x30)
        word >>= gap.view(np.uint64)
        word <<= gap.view(np.uint64)
        point = word ^ _EACH * np.uint64(0x1E)  # 0 where the point is
        mark = point - _EACH
        np.invert(point, out=point)
        point &= mark
        point &= _EACH * np.uint64(0x80)
        point &= np.negative(point, out=mark)  # the lowest: only that is sure to be one
        point >>= np.uint64(7)
        self.points = (point != 0).view(np.uint8)
        # The digits before the point move up by one, into its place.
        before = np.subtract(point, self.points, out=mark)
        before &= word
        before *= np.uint64(255)
        word += before
        word -= np.multiply(point, np.uint64(0x1E), out=mark)
        point *= np.uint64(0x0706050403020100)
        point >>= np.uint64(56)
        self.behind = point
        np.add(word, _EACH * np.uint64(0x76), out=mark)
        mark |= word
        mark &= _EACH * np.uint64(0x80)
        self.plain = mark == 0
        # Pairs of digits, then fours, then all eight (Lemire).
        np.right_shift(word, np.uint64(8), out=mark)
        word *= np.uint64(10)
        word += mark
        np.right_shift(word, np.uint64(16), out=mark)
        for part, factor in ((word, 0x000F424000000064), (mark, 0x0000271000000001)):
            part &= np.uint64(0x000000FF000000FF)
            part *= np.uint64(factor)
        word += mark
        word >>= np.uint64(32)
        self.whole = word
