"""What keeps a log of many millions of rows quick, and in little memory."""

from __future__ import annotations

from .log import Array

# So many rows, evenly spread, tell the medians of parts of a run as well as all of them do.
ENOUGH = 500_000


def stride_of(count: int) -> int:
    """Of so many rows every so-many-th is enough."""
    return max(1, count // ENOUGH)


def taken(values: Array, rows: Array) -> Array:
    """values[rows] for rows that increase: no copy where they are all from one to another."""
    if len(rows) and int(rows[-1]) - int(rows[0]) + 1 == len(rows):
        return values[int(rows[0]) : int(rows[-1]) + 1]
    return values[rows]
