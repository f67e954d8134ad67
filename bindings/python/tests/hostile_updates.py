"""Clients' updates that hurt, for test_flower.py and with_flower."""

import math

import numpy as np


def hostile(rng, dtype, size):
    """Values of all kinds of magnitude that the type has, among them its largest and smallest."""
    info = np.finfo(dtype)
    low, high = math.log2(float(info.smallest_subnormal)), math.log2(float(info.max))
    kind = rng.integers(4)
    if kind == 0:
        made = rng.standard_normal(size)
    elif kind == 1:
        with np.errstate(over="ignore"):
            made = np.exp2(rng.uniform(low, high - 0.01, size)) * rng.choice([-1, 1], size)
    elif kind == 2:
        made = rng.standard_normal(size) * 2.0 ** rng.uniform(low / 2, min(high / 2, 500))
    else:
        made = rng.choice([0.0, float(info.max), float(info.smallest_subnormal), 1.0], size)
    with np.errstate(over="ignore"):
        made = np.asarray(made).astype(dtype)
    return np.where(np.isfinite(made), made, dtype(1))
