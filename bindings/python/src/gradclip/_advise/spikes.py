"""Steps whose norm stands far above the norms around them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array, Log

FACTOR = 5.0  # a spike is more than this times the level around it
_BLOCK = 50


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


def spikes_of(log: Log, rows: Array) -> Spikes:
    """The spikes among rows of a log, whose norms are positive and finite."""
    norm = log.norm[rows]
    if len(norm) < 20:
        return Spikes(rows[:0], -1, 0.0, [])
    count = max(1, len(norm) // _BLOCK)
    edges = np.linspace(0, len(norm), count + 1).astype(int)
    levels = np.array([np.median(norm[a:b]) for a, b in zip(edges[:-1], edges[1:])])
    centres = (edges[:-1] + edges[1:]) / 2
    around = np.interp(np.arange(len(norm)), centres, levels)
    times = norm / around
    found = np.flatnonzero(times > FACTOR)
    if not len(found):
        return Spikes(rows[:0], -1, 0.0, [])
    top = int(found[np.argmax(norm[found])])
    return Spikes(rows[found], int(rows[top]), float(times[top]), _causes(log, rows[found]))


def _causes(log: Log, rows: Array) -> list[tuple[str, int]]:
    """The largest tensor of a spike caused it: without it there would have been none."""
    if log.tensors is None:
        return []
    which = log.tensors.largest[rows]
    places, counts = np.unique(which[which >= 0], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return [(log.tensors.names[int(places[i])], int(counts[i])) for i in order]
