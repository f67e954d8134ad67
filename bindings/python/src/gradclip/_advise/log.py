"""A log of gradient norms, however it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from .._native.errors import LogError as LogError
from .advice import Rows as Rows

Array = npt.NDArray[Any]  # one dimension, floats


@dataclass
class Tensors:
    """What a log with a norm for every tensor tells, row by row.

    Attributes:
        names: of the tensors.
        largest: for each row the index of the tensor with the largest norm; of the
            first that is not finite, if one is; -1 where the row has none.
        share: its share of the sum of norm^p, of 1.
    """

    names: Sequence[str]
    largest: Array
    share: Array


@dataclass
class Log:
    """The rows that hold a norm, in the order of the run. Arrays have one entry a row.

    Attributes:
        norm: total norms; may be NaN or infinite.
        step: step numbers, increasing; a range if they are many and go up evenly; None
            where the log has none.
        learning_rate, loss, loss_scale, batch_size: NaN where a row has none; None
            where no row has one.
        clip_coef, max_norm: what was in force in the run that wrote the log; likewise.
        skipped: 1 where a chooser left the step out, 0 where it was taken; likewise.
        tensors: which tensor was the largest, if the log has norms of tensors.
        culprits: the tensor with the first non-finite element, by row, if the log
            names it.
        source: the name of the file; format: what kind of log it is.
        taken: which columns (patterns, tags) were taken, and why, in words.
        notes: what else is to be known of the reading: lines left out, a cut-off end.
        unread: how many rows could not be read, though they may hold a norm; they are none here.
        marked: how many marks in it, such as sentences, say that a step without a row was not finite.
        hint: what the format says about its rows, if it does.
        after_clipping: whether the column's own name says that.
    """

    norm: Array
    step: Array | range | None = None
    learning_rate: Array | None = None
    loss: Array | None = None
    loss_scale: Array | None = None
    batch_size: Array | None = None
    clip_coef: Array | None = None
    max_norm: Array | None = None
    skipped: Array | None = None
    tensors: Tensors | None = None
    culprits: dict[int, str] = field(default_factory=dict)
    source: str = "norms"
    format: str = "numbers"
    taken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: int = 0
    marked: int = 0
    hint: Rows | None = None
    after_clipping: bool = False

    def __len__(self) -> int:
        return len(self.norm)

    def step_of(self, row: int) -> int:
        """The number of the step that a row is of; rows count from 0 where the log does not."""
        return int(self.step[row]) if self.step is not None else row
