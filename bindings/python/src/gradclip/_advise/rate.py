"""The learning rate of the log, and what another one asks of max_norm."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from .log import Array, Log
from .long import Places, taken


_PEAK = 98  # percent: a rate that jumps for less than 2% of the steps is no peak


class Rate(NamedTuple):
    """Attributes:
    value: the learning rate that the percentiles answer for (the median after the
        warm-up); None if nobody says.
    peak: the highest that it was for more than a few steps; the same where it was constant.
    product: the median of learning rate * norm.
    words: where it comes from.
    """

    value: float | None
    peak: float | None
    product: float | None
    words: str


def rate_of(log: Log, rows: Places, norm: Array, told: float | None) -> Rate:
    """The learning rate of rows whose norms, norm, are finite; told is what the user says."""
    if told is not None:
        product = told * float(np.median(norm)) if len(norm) else None  # perhaps infinite
        return Rate(told, told, product, "as you say")
    rates = None if log.learning_rate is None else taken(log.learning_rate, rows)
    known = None if rates is None else (rates > 0) & (rates < math.inf)
    if rates is None or known is None or not known.any():
        return Rate(None, None, None, "not in the log")
    if not known.all():
        rates, norm = rates[known], norm[known]
    low, high = float(np.min(rates)), float(np.max(rates))
    if low == high:
        return Rate(low, low, low * float(np.median(norm)), "from the log")
    return Rate(
        float(np.median(rates)),
        _peak(rates),
        float(np.median(rates * norm, overwrite_input=True)),
        f"from the log, where it goes from {low:.3g} to {high:.3g}",
    )


def _peak(rates: Array) -> float:
    """The highest of the rates, but for those that stand above the others for a few steps."""
    level = float(np.percentile(rates, _PEAK))
    return float(np.max(rates, where=rates <= 1.05 * level, initial=level))


def for_next(rate: Rate, next_lr: float) -> float | None:
    """max_norm with which the median step of the log has the same length lr * norm at
    next_lr: median(lr * norm) / next_lr, which is lr * p50 / next_lr for a constant lr."""
    value = 0.0 if rate.product is None else rate.product / next_lr
    return value if 0 < value < math.inf else None
