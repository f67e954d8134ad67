"""Norms from after clipping pile up at max_norm. They say nothing about what max_norm should be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array

_LEAST_ROWS = 20


class Pile(NamedTuple):
    """Norms piled up at the largest: how many of all, and where."""

    at: float
    share: float


def pile_of(finite: Array) -> Pile | None:
    """The pile at the maximum of finite norms; None if there is none.

    A norm clipped to m is m n / (n + 1e-6), and often printed rounded: all within 1e-3 of
    the maximum belong to the pile. It is one if it is larger than what lies in the 5%
    below it, and, where norms are printed coarsely, than the next value.
    """
    if len(finite) < _LEAST_ROWS:
        return None
    top = float(np.max(finite))
    if top <= 0:
        return None
    count = int(np.sum(finite >= top * (1 - 1e-3)))
    if count < max(3, 0.01 * len(finite)):
        return None
    rest = finite[finite < top * (1 - 1e-3)]
    below = int(np.sum(rest >= top * 0.95))
    if len(rest) and below < count:  # perhaps values are too coarse for that
        following = float(np.max(rest))
        below = max(below, int(np.sum(rest >= following * (1 - 1e-3))))
    if count < 2 * below:
        return None
    return Pile(top, count / len(finite))
