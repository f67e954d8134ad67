"""The rows to leave out at the beginning: the run has not settled yet."""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from .log import Array, Log
from .long import stride_of

_LEAST_ROWS = 50
_BLOCKS = 200


class WarmUp(NamedTuple):
    """So many rows are left out, and why."""

    rows: int
    words: str


def warmup_of(log: Log, told: int | None = None) -> WarmUp:
    """Finds the warm-up of a log; told is the number of the user's own warm-up steps."""
    if told is not None:
        rows = told if log.step is None else bisect_left(log.step, log.step[0] + told)
        rows = min(rows, len(log))
        return WarmUp(rows, f"the first {rows} row(s) left out, as you say")
    by_rate, by_norm = _rate_rises(log), _settles(log.norm)
    if by_rate and by_rate >= by_norm:
        return WarmUp(by_rate, f"the first {by_rate} rows left out: the learning rate rises")
    if by_norm:
        return WarmUp(by_norm, f"the first {by_norm} rows left out: the norms have not settled")
    return WarmUp(0, "none found")


def _rate_rises(log: Log) -> int:
    """Rows until the learning rate has risen to its top, if it does so in the first half."""
    if log.learning_rate is None:
        return 0
    stride = stride_of(len(log))
    rate = log.learning_rate[::stride]
    known = np.flatnonzero(np.isfinite(rate))
    if len(known) < 3:
        return 0
    values = rate[known]
    top = float(np.max(values))
    reached = int(np.argmax(values >= 0.99 * top))
    if values[0] > 0.9 * top or known[reached] > len(rate) // 2:
        return 0
    if np.any(np.diff(values[: reached + 1]) < -1e-6 * top):
        return 0
    held = values[reached : reached + max(10, len(values) // 20)]
    if float(np.median(held)) < 0.8 * top:
        return 0  # a jump that returns, not a rate that has risen
    return stride * int(known[reached])


def _settles(norm: Array) -> int:
    """Rows until the norms have settled: the cut that leaves the rest with the least standard
    error of its mean (MSER; White 1997), over medians of blocks of log norms."""
    stride = stride_of(len(norm))
    norm = norm[::stride]
    good = np.flatnonzero(np.isfinite(norm) & (norm > 0))
    if len(good) < _LEAST_ROWS:
        return 0
    size = max(1, len(good) // _BLOCKS)
    count = len(good) // size
    levels = np.log(np.median(norm[good[: count * size]].reshape(count, size), axis=1))
    limit = count // 3
    left = count - np.arange(limit + 1)
    sums = np.cumsum(levels[::-1])[::-1][: limit + 1]
    squares = np.cumsum(levels[::-1] ** 2)[::-1][: limit + 1]
    scores = (squares / left - (sums / left) ** 2) / left
    cut = int(np.argmin(scores))
    if cut >= limit - 1:  # no end of it: the levels drift, or settle late
        middle = levels[limit : 2 * limit]
        centre, width = float(np.median(middle)), 2 * _spread(middle)
        cut = int(np.argmax(np.abs(levels - centre) <= width))
        if cut > limit // 2:
            return 0
    rest = levels[cut:]
    height = abs(float(np.median(levels[:cut])) - float(np.median(rest))) if cut else 0.0
    if height < max(np.log(1.5), 3 * _spread(rest)):
        return 0
    return stride * int(good[min(cut * size, len(good) - 1)])


def _spread(values: Array) -> float:
    """The standard deviation, as the median distance from the median tells it."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
