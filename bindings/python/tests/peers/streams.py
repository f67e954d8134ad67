"""Norms as training runs have them, for the comparisons of choosers."""

import numpy as np


def norms(seed, length=400):
    """A level that falls and drifts, noise around it, and spikes."""
    rng = np.random.default_rng(seed)
    level = 1 + 3 * np.exp(-np.arange(length) / 40) + 0.5 * np.sin(np.arange(length) / 90)
    spikes = np.where(rng.random(length) < 0.03, rng.choice([4.0, 20.0, 500.0], length), 1.0)
    return level * np.exp(0.2 * rng.normal(size=length)) * spikes
