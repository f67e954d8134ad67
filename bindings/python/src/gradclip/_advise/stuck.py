"""Signs that a run is lost although all its numbers are finite."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array, Log


class Stuck(NamedTuple):
    """words say how one can tell."""

    words: str


def stuck_of(log: Log) -> Stuck | None:
    """The gradient has died; or the loss has stopped where it was early while the norms left
    their level and stayed. None where neither is seen."""
    return _dead(log) or _stopped(log)


def _dead(log: Log) -> Stuck | None:
    """No gradient arrives any more: half of all rows, to the end, are under a thousandth of the
    first level."""
    norm = log.norm[np.isfinite(log.norm)]
    if len(norm) < 60:
        return None
    first = float(np.median(norm[: max(10, len(norm) // 20)]))
    rest = norm[len(norm) // 2 :]
    if first <= 0 or float(np.mean(rest < 1e-3 * first)) < 0.9:
        return None
    if log.loss is not None and _gain(log.loss)[0] > 0.5:
        return None  # it has learnt all there is
    return Stuck(f"the norm has fallen from {first:.3g} to {float(np.median(rest)):.3g}: no gradient arrives")


def _stopped(log: Log) -> Stuck | None:
    if log.loss is None or len(log) < 100:
        return None
    known = np.isfinite(log.loss) & np.isfinite(log.norm) & (log.norm > 0)
    loss, norm = log.loss[known], log.norm[known]
    if len(loss) < 100:
        return None
    gained, sure, early = _gain(loss)
    tenth = len(norm) // 10
    begin, end = float(np.median(norm[: max(5, tenth // 2)])), float(np.median(norm[-3 * tenth :]))
    left = max(begin / end, end / begin) if min(begin, end) > 0 else np.inf
    peak = float(np.max(norm[: len(norm) // 2])) / max(end, 1e-300)
    if sure and gained > 0.1:
        return None
    if left < LEFT and peak < PEAK:
        return None
    return Stuck(
        f"the loss has stopped at {float(np.median(loss[-len(loss) // 6 :])):.3g}, where it was by "
        f"step {log.step_of(early)}, and the norms have left their level ({begin:.3g} to {end:.3g})"
    )


LEFT, PEAK = 5.0, 100.0


def _gain(loss: Array) -> tuple[float, bool, int]:
    """What was gained from the first tenth of the rows on, of the loss's size; whether it is
    more than chance; and the row from which it is counted."""
    known = loss[np.isfinite(loss)]
    tenth = max(5, len(known) // 10)
    early, late = known[:tenth], known[-len(known) // 6 :]
    change = float(np.median(early) - np.median(late))
    spread = 1.2533 * float(np.hypot(np.std(early) / len(early) ** 0.5, np.std(late) / len(late) ** 0.5))
    size = max(abs(float(np.median(early))), 1e-12)
    return change / size, change > 2 * spread, tenth
