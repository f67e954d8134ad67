"""Which tensor is the largest in every row, and how much of the norm it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .log import Array, Tensors


def largest_of(table: Array, names: Sequence[str], p: float) -> Tensors:
    """The Tensors of a table with a line for each tensor and a column for each row of the
    log. Norms below 0 are missing."""
    bad = ~np.isfinite(table)
    any_bad = bad.any(axis=0)
    known = np.where(bad, 0.0, np.maximum(table, 0.0))
    top = known.max(axis=0)
    with np.errstate(invalid="ignore"):
        parts = ((known / top) ** (p if np.isfinite(p) else 1.0)).sum(axis=0)
        share = np.where(any_bad, np.nan, np.where(top > 0, 1 / parts, 0.0))
    largest = np.where(top > 0, known.argmax(axis=0), -1)
    return Tensors(names, np.where(any_bad, bad.argmax(axis=0), largest), share)


def total_of(table: Array, p: float) -> Array:
    """The norm of the tensors' norms, row by row; NaN or infinite where one of them is."""
    known = np.where(table < 0, 0.0, table)
    with np.errstate(invalid="ignore"):
        top = known.max(axis=0)
        if not np.isfinite(p):
            return np.asarray(top)
        total = top * ((known / top) ** p).sum(axis=0) ** (1 / p)
    return np.where(top == 0, 0.0, np.where(np.isinf(top), top, total))
