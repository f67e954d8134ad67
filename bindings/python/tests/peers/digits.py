"""Scikit-learn's handwritten digits, the data of the training loops."""

import numpy as np
from sklearn.datasets import load_digits


def digits():
    """1797 images of 8 x 8 as rows of 64 doubles from 0 to 1, and their digits; shuffled."""
    loaded = load_digits()
    order = np.random.default_rng(5).permutation(len(loaded.target))
    return loaded.data[order] / 16.0, loaded.target[order].astype(np.int64)
