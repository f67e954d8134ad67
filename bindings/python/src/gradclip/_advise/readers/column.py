"""One column of a log, however long, in little memory."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np

from ..log import Array

# From so many rows on a column is kept in 4 bytes a number, which is 7 digits of it.
LONG = 2_000_000
_LARGEST, _SMALLEST = 3e38, 1e-37  # what 4 bytes hold with all their digits
_PART = 1 << 20


class _Even(NamedTuple):
    """Numbers that stay as they are, or whole numbers that go up evenly."""

    start: float
    by: float
    size: int

    def numbers(self, begin: int = 0, end: int | None = None) -> Array:
        return self.start + self.by * np.arange(begin, self.size if end is None else end)

    def and_then(self, other: _Even) -> _Even | None:
        """Both as one, if the other goes on where this one ends."""
        next_one = self.start + self.by * self.size
        goes_on = other.start == next_one or (np.isnan(other.start) and np.isnan(next_one))
        return self._replace(size=self.size + other.size) if goes_on and self.by == other.by else None


class Column:
    """Numbers are appended to `tail` one by one, or come many at once; values() is all of them."""

    def __init__(self, code: str) -> None:
        # In their order: numbers that go on evenly, others in bulk, and those appended last.
        self._even: _Even | None = None
        self._bulk: array[float] = array("d")
        self.tail: array[float] = array(code)

    def __len__(self) -> int:
        return (0 if self._even is None else self._even.size) + len(self._bulk) + len(self.tail)

    @property
    def counts_up(self) -> bool:
        """Whether each is above the one before, evenly; False where that is not known."""
        return self._even is not None and self._even.by > 0 and not (self._bulk or self.tail)

    def extend(self, numbers: Array) -> None:
        """Adds many numbers."""
        even = None if self._bulk or self.tail else _even(numbers)
        if even is not None:
            even = even if self._even is None else self._even.and_then(even)
        if even is not None:
            self._even = even
            return
        self._into_bulk()
        self._add(numbers)

    def values(self) -> Array:
        """All of them; equal ones take no memory."""
        if self._even is not None and not self._bulk and not self.tail:
            if self._even.by == 0:
                return np.broadcast_to(np.float64(self._even.start), self._even.size)
            return self._even.numbers()
        if self._even is None and not self._bulk:
            return np.frombuffer(self.tail, self.tail.typecode) if self.tail else np.empty(0)
        self._into_bulk()
        return np.frombuffer(self._bulk, self._bulk.typecode)

    def counted(self) -> Array | range:
        """Of a column that counts up: all of them, a range if they are many."""
        even = self._even
        if even is None or even.size < LONG:
            return self.values()
        return range(int(even.start), int(even.start + even.by * even.size), int(even.by))

    def _into_bulk(self) -> None:
        if self._even is not None:
            even, self._even = self._even, None
            for begin in range(0, even.size, _PART):
                self._add(even.numbers(begin, min(even.size, begin + _PART)))
        if self.tail:
            self._add(np.array(self.tail))
            del self.tail[:]

    def _add(self, numbers: Array) -> None:
        if len(self._bulk) + len(numbers) >= LONG and self._bulk.typecode == "d":
            self._shorten(numbers)
        if self._bulk.typecode != "d" and not _holds(self._bulk.typecode, numbers):
            self._bulk = array("d", self._bulk)
        self._bulk.frombytes(numbers.astype(self._bulk.typecode).data.cast("B"))

    def _shorten(self, numbers: Array) -> None:
        """4 bytes a number, if all have held them so far."""
        known = np.frombuffer(self._bulk, "d") if self._bulk else numbers
        for code in ("i", "f"):
            if _holds(code, known) and _holds(code, numbers):
                short = known.astype(code) if self._bulk else np.empty(0)
                self._bulk = array(code, short.tobytes())
                return


def _even(numbers: Array) -> _Even | None:
    if len(numbers) < 2:
        return None
    first, by = float(numbers[0]), 0.0
    if np.isnan(first):
        return _Even(first, 0.0, len(numbers)) if np.isnan(numbers).all() else None
    if first % 1 == 0 and abs(first) < 2**31 and abs(numbers[1]) < 2**31:
        by = float(numbers[1]) - first
    if by % 1 or np.any(numbers[1:] != numbers[:-1] + by):
        return None
    return _Even(first, by, len(numbers))


def _holds(code: str, numbers: Array) -> bool:
    """Whether 4 bytes hold numbers, as whole ones or to 7 digits."""
    if code == "i":
        return bool(np.all(np.abs(numbers) < 2**31) and np.all(numbers == np.floor(numbers)))
    size = np.abs(numbers)
    large, small = (size > _LARGEST) & (size < np.inf), (size < _SMALLEST) & (size > 0)
    return not (large.any() or small.any())
