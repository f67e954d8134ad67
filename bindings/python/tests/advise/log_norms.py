"""Norms that a log may hold, and how those found in it compare."""

import math

import numpy as np

NORMS = [3.5, 2.25, math.nan, 1.75, math.inf, 2.5]


def same(found, expected):
    return np.array_equal(np.asarray(found, dtype=float), expected, equal_nan=True)
