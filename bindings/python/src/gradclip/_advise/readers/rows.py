"""Rows as they are read, put together to a Log."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..log import Array, Log, Tensors
from ..tensors import largest_of, total_of

# The places in a row, and how a column is stored.
NORM, STEP, LR, LOSS, SCALE, BATCH, EPOCH, COEF, LIMIT = range(9)
KINDS = (
    "norm", "step", "learning_rate", "loss", "loss_scale", "batch_size", "epoch", "clip_coef",
    "max_norm",
)  # fmt: skip
_CODES = "dddfffddd"
_NAN = math.nan


def number(value: Any) -> float | None:
    """A cell or a JSON value as a number; None if it is none (blank, null, words, true)."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


class Rows:
    """Collects rows. One that has no norm says what it knows of its step's others.

    Args:
        present: for every place whether any row can have a value there.
        tensors: the names of the tensors, if rows come with norms of tensors.
        p: the order of the norms.
    """

    def __init__(
        self, present: Sequence[bool], tensors: Sequence[str] = (), p: float = 2.0
    ) -> None:
        self.columns: list[array[float] | None] = [
            array(code) if has else None for code, has in zip(_CODES, present)
        ]
        self._appends = [
            (place, column.append)
            for place, column in enumerate(self.columns)
            if column is not None
        ]
        self._tensor_names, self._p = list(tensors), p
        self._largest, self._share = array("i"), array("f")
        self._rate: float = _NAN  # as last seen
        self._pending: tuple[float, float] | None = None  # step and loss of a row without a norm
        self.culprits: dict[int, str] = {}
        self.without_norm = self.negative = 0

    def __len__(self) -> int:
        norm = self.columns[NORM]
        return 0 if norm is None else len(norm)

    def add(self, row: Sequence[float | None], tensor_norms: Array | None = None) -> bool:
        """Adds a row: a value for each place, None where it has none. Returns whether it has
        a norm, its own or that of the tensors."""
        norm = row[NORM]
        if norm is None and tensor_norms is not None and not np.all(tensor_norms < 0):
            norm = float(total_of(tensor_norms[:, None], self._p)[0])
        if norm is None:
            self._without_norm(row)
            return False
        if norm < 0:
            self.negative += 1
            return False
        for place, append in self._appends:
            value = norm if place == NORM else row[place]
            append(self._missing(place, row) if value is None else value)
        rate = row[LR]
        if rate is not None:
            self._rate = rate
        if tensor_norms is not None:
            self._add_tensors(tensor_norms)
        return True

    def _missing(self, place: int, row: Sequence[float | None]) -> float:
        """What stands in for a value that the row itself does not have."""
        if place == LR:
            return self._rate
        if place == LOSS and self._pending is not None and self._pending[0] == row[STEP]:
            return self._pending[1]
        return _NAN

    def _without_norm(self, row: Sequence[float | None]) -> None:
        """Lightning writes the learning rate, and often the loss, in rows of their own."""
        self.without_norm += 1
        rate, loss, step = row[LR], row[LOSS], row[STEP]
        if rate is not None:
            self._rate = rate
        if loss is None or step is None:
            return
        self._pending = (step, loss)
        steps, losses = self.columns[STEP], self.columns[LOSS]
        if steps and losses and steps[-1] == step and math.isnan(losses[-1]):
            losses[-1] = loss

    def _add_tensors(self, norms: Array) -> None:
        one = largest_of(norms[:, None], self._tensor_names, self._p)
        self._largest.append(int(one.largest[0]))
        self._share.append(float(one.share[0]))

    def log(self, **about: Any) -> Log:
        """The Log of what was added. about: its attributes that are not columns."""
        arrays: dict[str, Any] = {}
        for kind, column in zip(KINDS, self.columns):
            values = np.frombuffer(column, column.typecode) if column else np.empty(0)
            arrays[kind] = values if column is not None and np.any(~np.isnan(values)) else None
        norm = self.columns[NORM]
        arrays["norm"] = np.frombuffer(norm, "d") if norm else np.empty(0)
        epoch = arrays.pop("epoch")
        tensors = None
        if self._tensor_names and len(self._largest) == len(self):
            tensors = Tensors(
                self._tensor_names,
                np.frombuffer(self._largest, "i") if self._largest else np.empty(0, "i"),
                np.frombuffer(self._share, "f") if self._share else np.empty(0, "f"),
            )
        if self.negative:
            about.setdefault("notes", []).append(
                f"{self.negative} row(s) hold a negative number, which is no norm: left out"
            )
        log = Log(tensors=tensors, culprits=self.culprits, **arrays, **about)
        return in_order(log, epoch)


def in_order(log: Log, epoch: Array | None = None) -> Log:
    """The log with increasing steps: iterations that begin anew with every epoch are made to
    go on, and what a resumed run did again replaces what it did before."""
    if log.step is None:
        return log
    step = log.step
    if not np.all(np.abs(step) < 2**53):
        log.notes.append("some rows have no step number: rows are counted instead")
        log.step = None
        return log
    back = np.flatnonzero(np.diff(step) <= 0) + 1
    if not len(back):
        return log
    if epoch is not None and np.all(epoch[back] > epoch[back - 1]):
        step = step.copy()
        offset = np.zeros(len(step))
        offset[back] = step[back - 1]
        log.step = step + np.cumsum(offset)
        log.notes.append("iterations begin anew with every epoch: they are counted on")
        return log
    # From the end: a row counts if its step is below all steps that come later.
    later = np.minimum.accumulate(step[::-1])[::-1]
    keep = np.append(step[:-1] < later[1:], True)
    if int(keep.sum()) < max(2, len(step) // 10):
        log.notes.append("the step numbers are in no order: rows are counted instead")
        log.step = None
        return log
    rows = np.flatnonzero(keep)
    log.notes.append(
        f"the step number goes back {len(back)} time(s), as when a run is resumed: "
        f"{len(step) - len(rows)} row(s) that come again later were left out"
    )
    return _of_rows(log, rows)


def _of_rows(log: Log, rows: Array) -> Log:
    for kind in KINDS:
        values = getattr(log, kind, None)
        if values is not None:
            setattr(log, kind, values[rows])
    if log.tensors is not None:
        log.tensors.largest = log.tensors.largest[rows]
        log.tensors.share = log.tensors.share[rows]
    new = {int(row): place for place, row in enumerate(rows)}
    log.culprits = {new[row]: name for row, name in log.culprits.items() if row in new}
    return log


def tensor_row(cells: Sequence[Any]) -> Array:
    """Norms of tensors as an array; -1 stands for a blank."""
    values = [number(cell) for cell in cells]
    return np.array([-1.0 if value is None else value for value in values])
