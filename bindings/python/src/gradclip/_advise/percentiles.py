"""Percentiles of the norms, as far as the rows carry them."""

from __future__ import annotations

import numpy as np

from .log import Array

# A percentile needs that many rows: below, it is the maximum by another name.
NEEDS = {"p1": 100, "p10": 10, "p50": 1, "p90": 10, "p99": 100, "p99.9": 1000}


def percentiles_of(norm: Array, every: bool) -> dict[str, float]:
    """min, p1 ... p99.9, max of finite norms, those that enough rows carry.

    every: whether there is a row for every step. One step of several, or a mean, does
    not show what happens once in a thousand steps.
    """
    if not len(norm):
        return {}
    known = [name for name, least in NEEDS.items() if len(norm) >= least]
    if not every and "p99.9" in known:
        known.remove("p99.9")
    found = np.quantile(norm, [0.0, *(float(name[1:]) / 100 for name in known), 1.0])
    return dict(zip(["min", *known, "max"], found.tolist()))


def rounded(value: float) -> float:
    """To 3 significant digits: more would be no better founded."""
    return float(f"{value:.3g}")
