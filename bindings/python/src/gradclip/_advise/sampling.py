"""What a row of the log stands for: every step, one step of several, or a mean of several."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Log, Rows


class Sampling(NamedTuple):
    """What the rows are.

    Attributes:
        rows: see log.Rows.
        stride: steps from one row to the next, as a rule.
        assumed: whether the log does not tell.
        words: the same for the reader.
    """

    rows: Rows
    stride: int
    assumed: bool
    words: str

    @property
    def every(self) -> bool:
        """Whether every step has its row, so that single steps can be spoken of."""
        return self.rows == "every"


def sampling_of(log: Log, told: Rows | None = None) -> Sampling:
    """What the rows of a log are; told is what the user says."""
    stride, regular = _stride(log)
    if told is not None:
        return Sampling(told, stride, False, f"{_WORDS[told].format(n=stride)}, as you say")
    if log.step is None:
        kind = log.hint or "unknown"
        return Sampling(kind, stride, True, _WORDS[kind].format(n="several"))
    if log.hint == "averaged" and (stride > 1 or any(name in log.format for name in _MEANS)):
        n = str(stride) if stride > 1 else "several"
        return Sampling("averaged", stride, False, _WORDS["averaged"].format(n=n))
    if stride == 1:
        return Sampling("every", 1, False, _WORDS["every"] + ("" if regular else ", some missing"))
    rows: Rows = log.hint if log.hint in ("sampled", "averaged") else "thinned"
    return Sampling(rows, stride, False, _WORDS[rows].format(n=stride))


# Formats whose rows are means even where their numbers follow each other: mmengine's are over 10
# steps or more, RLlib's over an iteration of training, those of Keras' bar since the epoch began.
_MEANS = ("mmengine", "RLlib", "Keras")
_WORDS = {
    "every": "every step",
    "sampled": "one step of {n}",
    "averaged": "means or medians over {n} steps",
    "epoch": "one row an epoch, a mean or its last step (the log does not say)",
    "unknown": "not known: the log numbers no steps (if each step has its row, say --rows every)",
    "thinned": "one row for {n} steps, a sample or a mean (the log does not say)",
}


_ENOUGH = 500_000  # rows that tell how far apart rows are


def _stride(log: Log) -> tuple[int, bool]:
    if log.step is None or len(log) < 2:
        return 1, True
    if isinstance(log.step, range):
        return log.step.step, True
    strides = np.diff(log.step[:_ENOUGH])
    stride = max(1, round(float(np.median(strides))))
    return stride, bool(np.mean(strides == stride) > 0.95)
