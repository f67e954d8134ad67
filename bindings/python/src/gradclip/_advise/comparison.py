"""Whether a run got as far as its pilot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array, Log

LOST, AS_FAR = 0.5, 0.95  # of the pilot's progress


class Compared(NamedTuple):
    """word: "lost", "behind", "as good" or "better" than the pilot; words for the reader."""

    word: str
    words: str


def compare(log: Log, pilot: Log) -> Compared | None:
    """By the losses of both (lower is better), the pilot's up to as many rows as the run has.
    None where they do not tell: no losses, or a pilot that gained nothing."""
    if log.loss is None or pilot.loss is None or not len(log) or not len(pilot):
        return None
    count = min(len(log.loss), len(pilot.loss))
    if not np.isfinite(log.norm[-1]) or not np.isfinite(log.loss[-1]):
        return Compared("lost", "lost: the run ends in what is not finite")
    theirs, ours = pilot.loss[:count], log.loss[:count] if len(log) <= len(pilot) else log.loss
    theirs, ours = theirs[np.isfinite(theirs)], ours[np.isfinite(ours)]
    if min(len(theirs), len(ours)) < 30:
        return None
    start = float(np.median(theirs[: max(3, len(theirs) // 100)]))
    reached, error = _end(theirs)
    final, own_error = _end(ours)
    gained, doubt = start - reached, 2 * float(np.hypot(error, own_error))
    if gained <= 2 * error or not np.isfinite(gained):
        return None
    kept = (start - final) / gained
    where = f"the loss ends at {final:.3g}, the pilot's at {reached:.3g}, from {start:.3g}"
    if kept < LOST and final - own_error > reached + error:
        return Compared("lost", f"lost: {where}")
    if final < reached - max(doubt, 0.02 * gained):
        return Compared("better", f"better than the pilot: {where}")
    if kept >= AS_FAR or final <= reached + doubt:
        return Compared("as good", f"as good as the pilot: {where}")
    return Compared("behind", f"behind the pilot: {where}")


def _end(loss: Array) -> tuple[float, float]:
    """The mean of the last sixth, and its standard error."""
    last = loss[-max(5, len(loss) // 6) :]
    return float(np.mean(last)), float(np.std(last) / np.sqrt(len(last)))
