"""How the level of the norms moves: slowly (drift), or from one row to the next (jumps)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .log import Array
from .long import Places, stride_of

DRIFTS = 5.0  # the level moves by more than this factor: no fixed max_norm fits
JUMPS = 3.0  # so does one that changes at once by this
SETTLED = 3.0  # the level moves by less, once its beginning is left out
MOVES = 1.5  # less is not worth a word
_LEAST_ROWS = 200
_MOST_BLOCKS = 100_000


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
    norm = norm[:: stride_of(len(norm))]
    count = min(20, len(norm) // 25)
    size = len(norm) // count
    blocks = norm[-count * size :].reshape(count, size)
    levels = np.log(np.median(blocks, axis=1))
    # The standard error of a block's median. Norms of neighbouring steps are alike, so
    # that it is larger than independent rows would have it.
    spreads = [np.median(np.abs(np.log(block) - level)) for block, level in zip(blocks, levels)]
    spread = 1.4826 * float(np.median(spreads))
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


def jumps_of(norm: Array, rows: Places) -> list[Jump]:
    """Where the level of norms changes at once, and stays changed.

    Args:
        norm: positive finite norms.
        rows: the row of each.
    """
    size = len(norm) // _MOST_BLOCKS
    if size > 1:  # a long log: medians of so many rows stand for them
        count = len(norm) // size
        norm = np.median(norm[: count * size].reshape(count, size), axis=1)
        rows = rows[: count * size : size]
    logs = np.log(norm)
    looked = None
    for window in (10, 20, 40, 80, 160):
        if len(logs) < 4 * window:
            break
        looked = _look(logs, window)
        if looked.least <= 0.95 * np.log(2):  # sees a factor of 2
            break
    if looked is None:
        return []
    return [
        Jump(int(rows[_edge(logs, *looked.around(place))]), float(np.exp(looked.change[place])))
        for place in _lasting(looked)
    ]


class _Look(NamedTuple):
    """How the medians of neighbouring windows differ, at every stride-th row."""

    window: int
    stride: int
    change: Array
    least: float  # what is more than chance

    @property
    def apart(self) -> int:
        """The places from one window to the next."""
        return self.window // self.stride

    def around(self, place: int) -> tuple[int, int]:
        """From the first row of the one window to the last of the other."""
        return place * self.stride, place * self.stride + 2 * self.window + self.stride


def _look(logs: Array, window: int) -> _Look:
    stride = max(1, window // 5)
    medians = np.median(sliding_window_view(logs, window)[::stride], axis=1)
    apart = window // stride
    change = medians[apart:] - medians[:-apart]
    # What chance gives: by the spread of the rows, as the differences of neighbours tell
    # it, which a change of level does not touch; and by what windows differ as a rule,
    # which is more where neighbouring steps are alike.
    spread = 1.4826 * float(np.median(np.abs(np.diff(logs)))) / np.sqrt(2)
    error = 1.2533 * spread * np.sqrt(2 / window)
    usual = 1.4826 * float(np.median(np.abs(change - np.median(change))))
    return _Look(window, stride, change, float(max(np.log(1.6), 5 * error, 6 * usual)))


def _lasting(look: _Look) -> list[int]:
    """The places of the largest changes, each the largest around it, after and before which
    the level stays for a window."""
    change, apart = look.change, look.apart
    found: list[int] = []
    for place in np.flatnonzero(np.abs(change) > look.least).tolist():
        near = np.abs(change[max(0, place - apart) : place + apart + 1])
        if abs(change[place]) < np.max(near) or (found and place - found[-1] < apart):
            continue
        others = (
            *change[place + apart : place + apart + 1],
            *change[max(0, place - apart) : place][:1],
        )
        if all(abs(other) <= 0.6 * abs(change[place]) for other in others):
            found.append(place)
    return found


def _edge(logs: Array, start: int, stop: int) -> int:
    """The row between start and stop that parts the lower from the higher norms best."""
    part = logs[start:stop]
    sums = np.cumsum(part)[:-1]
    left = np.arange(1, len(part))
    right = len(part) - left
    gain = (sums / left - (sums[-1] + part[-1] - sums) / right) ** 2 * left * right
    return start + 1 + int(np.argmax(gain))
