"""What keeps a log of many millions of rows quick, and in little memory."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from .log import Array

# So many rows, evenly spread, tell the medians of parts of a run as well as all of them do.
ENOUGH = 500_000


def stride_of(count: int) -> int:
    """Of so many rows every so-many-th is enough."""
    return max(1, count // ENOUGH)


# Numbers of rows, increasing: all from one to another take no memory.
Places = range | Array


def places_of(good: Array, begin: int) -> Places:
    """The good rows from one on."""
    if good[begin:].all():
        return range(begin, len(good))
    return np.flatnonzero(good[begin:]).astype(np.int32) + np.int32(begin)


def taken(values: Array, rows: Places) -> Array:
    """values[rows]: no copy where the rows are evenly spread."""
    if isinstance(rows, range):
        return values[rows.start : rows.stop : rows.step]
    return values[rows]


def rows_at(rows: Places, places: Array) -> Array:
    """rows[places], as an array."""
    if isinstance(rows, range):
        return np.asarray(rows.start + rows.step * places)
    return rows[places]


def before(rows: Places, row: int) -> Places:
    """The rows below one."""
    return rows[: bisect_left(rows, row)]
