"""Whether the norms are still multiplied by a loss scale, and other changes of level."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .levels import Jump, jumps_of
from .log import Array, Log
from .long import Places


class Scaling(NamedTuple):
    """Attributes:
    scaled: words that say how one can tell that norms are multiplied by a loss scale;
        None if there is no sign of it.
    jumps: changes of level that are something else.
    """

    scaled: str | None
    jumps: list[Jump]


def scaling_of(log: Log, rows: Places, norm: Array) -> Scaling:
    """Looks at the rows of a log whose norms, norm, are positive and finite."""
    jumps = jumps_of(norm, rows)
    told = _by_column(log)
    if told is not None:
        follows, words = told
        return Scaling(words if follows else None, jumps if not follows else [])
    powers = _by_powers_of_two(log, norm, jumps)
    return Scaling(powers, [] if powers else jumps)


def _by_column(log: Log) -> tuple[bool, str] | None:
    """Whether the norm follows the column of the loss scale where that changes."""
    scale = log.loss_scale
    if scale is None:
        return None
    good = np.flatnonzero(np.isfinite(log.norm) & (log.norm > 0) & (scale > 0) & np.isfinite(scale))
    logs, scales = np.log2(log.norm[good]), np.log2(scale[good].astype(float))
    slopes = []
    for place in np.flatnonzero(np.diff(scales) != 0) + 1:
        before, after = logs[max(0, place - 20) : place], logs[place : place + 20]
        if len(before) >= 5 and len(after) >= 5:
            change = float(np.median(after) - np.median(before))
            slopes.append(change / float(scales[place] - scales[place - 1]))
    if not slopes:
        return None
    follows = 0.6 < float(np.median(slopes)) < 1.4
    return follows, f"the norm changes with the column of the loss scale ({len(slopes)} times)"


def _by_powers_of_two(log: Log, norm: Array, jumps: list[Jump]) -> str | None:
    """A loss scaler halves its scale after an overflow, and doubles it after a while: the
    level of the norms then jumps by powers of two, down where a norm is not finite."""
    if len(jumps) < 2:
        return None
    powers = np.log2([jump.factor for jump in jumps])
    near = np.abs(powers - np.round(powers)) < 0.25
    if np.mean(near & (np.abs(powers) > 0.5)) < 0.8:
        return None
    bad = np.flatnonzero(~np.isfinite(log.norm))
    beside = sum(bool(np.any(np.abs(bad - jump.row) <= 10)) for jump in jumps)
    large = float(np.median(norm)) > 500
    if not large and beside < 2 and len(jumps) < 4:
        return None
    words = f"the level of the norms jumps {len(jumps)} times by about a power of two"
    if beside:
        words += f", {beside} of them where a norm is not finite"
    return words
