"""How the level of the norms moves: slowly (drift), or from one row to the next (jumps)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .log import Array

DRIFTS = 3.0  # the level moves by more than this factor: no fixed max_norm fits
MOVES = 1.5  # less is not worth a word
_LEAST_ROWS = 200


class Drift(NamedTuple):
    """Attributes:
    factor: the largest level over the smallest; 1 where they differ by chance alone.
    direction: "rises", "falls", "moves" (up and down) or "is steady".
    first, last: the level at both ends.
    known: whether the log is long enough to tell.
    """

    factor: float
    direction: str
    first: float
    last: float
    known: bool

    @property
    def drifts(self) -> bool:
        """Whether no fixed max_norm fits."""
        return self.factor >= DRIFTS


def drift_of(norm: Array) -> Drift:
    """The drift of positive finite norms, from medians of up to 20 blocks."""
    if len(norm) < _LEAST_ROWS:
        level = float(np.median(norm)) if len(norm) else 0.0
        return Drift(1.0, "is steady", level, level, False)
    count = min(20, len(norm) // 25)
    size = len(norm) // count
    logs = np.log(norm[-count * size :]).reshape(count, size)
    levels = np.median(logs, axis=1)
    # The standard error of a block's median. Norms of neighbouring steps are alike, so
    # that it is larger than independent rows would have it.
    spread = 1.4826 * float(np.median(np.abs(logs - levels[:, None])))
    error = 1.2533 * spread / np.sqrt(size)
    smooth = np.convolve(np.pad(levels, 1, mode="edge"), np.ones(3) / 3, mode="valid")
    rise = float(smooth[-1] - smooth[0])
    reach = float(np.max(smooth) - np.min(smooth))
    if reach <= 6 * error:
        level = float(np.exp(np.median(levels)))
        return Drift(1.0, "is steady", level, level, True)
    factor = float(np.exp(reach))
    direction = "moves" if abs(rise) < 0.5 * reach else "rises" if rise > 0 else "falls"
    return Drift(
        factor,
        direction if factor >= MOVES else "is steady",
        float(np.exp(smooth[0])),
        float(np.exp(smooth[-1])),
        True,
    )


class Jump(NamedTuple):
    """The level changes at a row, by a factor, and stays."""

    row: int
    factor: float


def jumps_of(norm: Array, rows: Array) -> list[Jump]:
    """Where the level of norms changes at once, and stays changed.

    Args:
        norm: positive finite norms.
        rows: the row of each.
    """
    logs = np.log(norm)
    window = _window(logs)
    if window is None:
        return []
    stride = max(1, window // 5)
    medians = _medians(logs, window, stride)
    apart = window // stride
    change = medians[apart:] - medians[:-apart]
    # The level must stay: so it must be the same a window later, at both sides.
    least = max(np.log(1.6), 5 * _error(logs, window))
    found: list[int] = []
    for place in np.flatnonzero(np.abs(change) > least).tolist():
        near = np.abs(change[max(0, place - apart) : place + apart + 1])
        if abs(change[place]) < np.max(near) or (found and place - found[-1] < apart):
            continue
        later, earlier = (
            change[place + apart : place + apart + 1],
            change[max(0, place - apart) : place],
        )
        if any(abs(other) > 0.6 * abs(change[place]) for other in (*later, *earlier[:1])):
            continue
        found.append(place)
    jumps = []
    for place in found:
        at = _edge(logs, place * stride, place * stride + 2 * window + stride)
        jumps.append(Jump(int(rows[at]), float(np.exp(change[place]))))
    return jumps


def _edge(logs: Array, start: int, stop: int) -> int:
    """The row between start and stop that parts the lower from the higher norms best."""
    part = logs[start:stop]
    sums = np.cumsum(part)[:-1]
    left = np.arange(1, len(part))
    right = len(part) - left
    gain = (sums / left - (sums[-1] + part[-1] - sums) / right) ** 2 * left * right
    return start + 1 + int(np.argmax(gain))


def _window(logs: Array) -> int | None:
    """The smallest window whose medians tell a factor of 2 from chance."""
    for window in (10, 20, 40, 80, 160):
        if len(logs) < 4 * window:
            return None
        if 5 * _error(logs, window) <= 0.9 * np.log(2):
            return window
    return None


def _error(logs: Array, window: int) -> float:
    """The standard error of the difference of two windows' medians. The spread comes from
    the differences of neighbours, which a change of level does not touch."""
    spread = 1.4826 * float(np.median(np.abs(np.diff(logs)))) / np.sqrt(2)
    return float(1.2533 * spread * np.sqrt(2 / window))


def _medians(logs: Array, window: int, stride: int) -> Array:
    """Medians of windows at every stride-th row, a part of a long log at a time."""
    parts = []
    step = 100_000 // stride * stride
    for start in range(0, len(logs) - window + 1, step):
        view = sliding_window_view(logs[start : start + step + window - 1], window)[::stride]
        parts.append(np.median(view, axis=1))
    return np.concatenate(parts)
