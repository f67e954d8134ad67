"""Steps whose norm stands far above the norms around them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array, Log
from .long import Places, rows_at

FACTOR = 5.0  # a spike is more than this times the level around it
_BLOCK = 50
_PART = 250_000  # rows at a time, to save memory
_NONE = np.empty(0, dtype=np.int64)


class Spikes(NamedTuple):
    """Attributes:
    rows: which.
    largest: the row of the largest, -1 if there are none.
    times: how many times its surroundings the largest is.
    tensors: the tensors that caused them, the most frequent first, with how often.
    """

    rows: Array
    largest: int
    times: float
    tensors: list[tuple[str, int]]


def spikes_of(log: Log, rows: Places, norm: Array) -> Spikes:
    """The spikes among rows of a log, whose norms, norm, are positive and finite."""
    if len(norm) < 20:
        return Spikes(_NONE, -1, 0.0, [])
    # Medians of blocks, and between their centres what lies on the line from one to the next.
    size = min(_BLOCK, len(norm))
    count = len(norm) // size
    blocks, at_once = norm[: count * size].reshape(count, size), _PART // size
    levels = np.concatenate(
        [np.median(blocks[at : at + at_once], axis=1) for at in range(0, count, at_once)]
    )
    centres = (np.arange(count) + 0.5) * size
    found, times = [], []
    for start in range(0, len(norm), _PART):
        part = norm[start : start + _PART]
        ratio = part / np.interp(np.arange(start, start + len(part)), centres, levels)
        over = np.flatnonzero(ratio > FACTOR)
        found.append(over + start)
        times.append(ratio[over])
    places, ratios = np.concatenate(found), np.concatenate(times)
    if not len(places):
        return Spikes(_NONE, -1, 0.0, [])
    top = int(np.argmax(norm[places]))
    spiky = rows_at(rows, places)
    return Spikes(spiky, int(spiky[top]), float(ratios[top]), _causes(log, spiky))


def _causes(log: Log, rows: Array) -> list[tuple[str, int]]:
    """The largest tensor of a spike caused it: without it there would have been none."""
    if log.tensors is None:
        return []
    which = log.tensors.largest[rows]
    places, counts = np.unique(which[which >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(log.tensors.names[int(places[i])], int(counts[i])) for i in order]
