"""Whether the run that wrote the log was lost before its end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array, Log
from .long import stride_of


class Divergence(NamedTuple):
    """The run is lost from this row on; words say how one can tell."""

    row: int
    words: str


def divergence_of(log: Log, warmup: int) -> Divergence | None:
    """Looks for a run that does not come back: norms (or losses) that are not finite up to the
    end, norms that grow a hundredfold up to the end, a loss that loses what it had gained."""
    return _ends(log) or _grows(log, warmup) or _lost(log)


def _steady(log: Log) -> bool:
    """Whether the norms keep their level: a loss that rises under them is no divergence (policy
    gradients, GANs, KL terms, likelihoods whose sign changes)."""
    norm = log.norm[:: stride_of(len(log))]
    norm = norm[np.isfinite(norm) & (norm > 0)]
    if len(norm) < 100:
        return False
    blocks = norm[-(len(norm) // 20) * 20 :].reshape(20, -1)
    levels = np.median(blocks, axis=1)
    # After the first block, which holds the start.
    return float(np.max(levels[1:])) < _STEADY * float(np.min(levels[1:]))


_STEADY = 3.0


def _at_once(levels: Array, loss: Array) -> bool:
    """Whether a loss that is never below 0 rises at once, by half of its rise from one block to
    the next, or in the first block: that is a step too far, whatever the norms do."""
    if float(np.min(loss)) < 0:
        return False
    start = float(np.median(loss[: max(5, len(loss) // 100)]))
    rises = np.diff(np.concatenate([[start], levels]))
    low = min(start, float(np.min(levels)))
    return float(np.max(rises)) >= 0.5 * (float(np.median(levels[-2:])) - low)


def _ends(log: Log) -> Divergence | None:
    """Not finite up to the end: for three rows, or for the first time."""
    if not len(log) or np.isfinite(log.norm[-1]):
        return None
    finite = np.flatnonzero(np.isfinite(log.norm))
    first = int(finite[-1]) + 1 if len(finite) else 0
    if len(log) - first < 3 and first > len(finite):
        return None  # rows before were not finite either, and the run went on
    words = f"from step {log.step_of(first)} to the end the norm is not finite"
    good = finite[(finite < first) & (log.norm[finite] > 0)]
    begin = _leaves(log.norm[good]) if len(good) else 0
    if begin < len(good):
        words += f"; it leaves its level at step {log.step_of(int(good[begin]))}"
        first = int(good[begin])
    return Divergence(first, words)


def _leaves(norm: Array) -> int:
    """The place of the first norm after which all are over 10 times the level of the first
    half; len(norm) if the last is not."""
    level = float(np.median(norm[: max(1, len(norm) // 2)]))
    return int(np.flatnonzero(norm < 10 * level)[-1]) + 1


def _grows(log: Log, warmup: int) -> Divergence | None:
    stride = stride_of(len(log))
    norm = log.norm[::stride]
    known = np.isfinite(norm) & (norm > 0)
    known[: warmup // stride] = False
    norm = norm[known]
    if len(norm) < 6:
        return None
    tail = max(3, len(norm) // 50)
    before, end = float(np.median(norm[: len(norm) // 2])), float(np.median(norm[-tail:]))
    if end < 100 * before:
        return None
    good = np.flatnonzero(known)
    first = stride * int(good[min(_leaves(norm), len(good) - 1)])
    return Divergence(
        first,
        f"from step {log.step_of(first)} on the norm grows, {end / before:.0f} times "
        "its level of before at the end",
    )


def _lost(log: Log) -> Divergence | None:
    if log.loss is None:
        return None
    stride = stride_of(len(log))
    loss = log.loss[::stride]
    known = np.isfinite(loss)
    loss = loss[known]
    if len(loss) < 100:
        return None
    count = 20
    size = len(loss) // count
    blocks = loss[-count * size :].reshape(count, size)
    levels = np.median(blocks, axis=1)
    noise = 1.4826 * float(np.median(np.abs(blocks - levels[:, None])))
    start = float(np.median(loss[: max(5, len(loss) // 100)]))
    best, last = int(np.argmin(levels)), float(np.median(levels[-2:]))
    if _steady(log) and not _at_once(levels, loss):
        return None
    if last > start + max(0.3 * abs(start), 2 * noise):
        words = f"the loss has risen from {start:.3g} to {last:.3g}"
        place = int(np.argmax(levels > (start + last) / 2))
        row = stride * _row(known, len(loss) - (count - place) * size)
        return Divergence(row, words)
    gained, given_back = start - float(levels[best]), last - float(levels[best])
    # Neither by chance: several times what one step differs from the next.
    if min(gained, given_back) < 3 * noise or given_back <= 0.4 * gained:
        return None
    if gained < 0.2 * abs(start):
        return None  # the ups and downs of a GAN
    half = float(levels[best]) + given_back / 2
    place = best + int(np.argmax(levels[best:] > half))
    first = stride * _row(known, len(loss) - (count - place) * size)
    return Divergence(
        first,
        f"about step {log.step_of(first)} the loss goes from {levels[best]:.3g} back to "
        f"{last:.3g}, having begun at {start:.3g}, and stays",
    )


def _row(known: Array, place: int) -> int:
    """The row of the place-th of the known ones."""
    return int(np.flatnonzero(known)[place])
