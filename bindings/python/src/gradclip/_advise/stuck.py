"""Signs that a run is lost although all its numbers are finite."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array, Log
from .long import stride_of

# By how much norms leave their first level, for good or at a peak.
LEFT, PEAK = 5.0, 20.0
GAINED = 0.3  # of the first loss: less was gained in the first steps, and then no more


class Stuck(NamedTuple):
    """words say how one can tell."""

    words: str


def _falls(loss: Array) -> bool:
    """Whether the last sixth is below the second tenth by more than chance."""
    early, late = loss[len(loss) // 10 : len(loss) // 5], loss[-(len(loss) // 6) :]
    # The standard error of a median is 1.25 times that of a mean.
    errors = [1.2533 * float(np.std(part)) / len(part) ** 0.5 for part in (early, late)]
    return float(np.median(early) - np.median(late)) > 1.5 * float(np.hypot(errors[0], errors[1]))


def stuck_of(log: Log) -> Stuck | None:
    """The loss has gained little since the first row, from before the first step, and no longer
    falls; and the norms left their level, or died. None where that is not seen."""
    if log.loss is None or log.step_of(0) > len(log):
        return None  # a log that does not begin at the beginning
    stride = stride_of(len(log))
    loss, norm = log.loss[::stride], log.norm[::stride]
    known = np.isfinite(loss) & np.isfinite(norm)
    loss, norm = loss[known], norm[known]
    if len(loss) < 100:
        return None
    first, last = float(loss[0]), float(np.median(loss[-(len(loss) // 6) :]))
    if first <= 0 or last < (1 - GAINED) * first or _falls(loss):
        return None  # a loss that begins below 0 (policy gradients) does not tell
    begin = float(np.median(norm[:5]))
    end, peak = float(np.median(norm[-(len(norm) // 6) :])), _largest(log.norm)
    where = f"the loss ends at {last:.3g}, from {first:.3g} before the first step, and has stopped"
    if end < 1e-3 * begin:
        return Stuck(f"{where}, and the norms have died, from {begin:.3g} to {end:.3g}")
    higher = last > 1.1 * first  # a spike alone is none, under a loss that stays
    if max(end, begin) > LEFT * min(end, begin) or (higher and peak > PEAK * min(begin, end)):
        return Stuck(
            f"{where}, and the norms left their level: {begin:.3g} at first, {end:.3g} at the end, "
            f"{peak:.3g} at the most"
        )
    return None


def _largest(norm: Array) -> float:
    return float(np.max(norm, where=np.isfinite(norm), initial=0.0))
