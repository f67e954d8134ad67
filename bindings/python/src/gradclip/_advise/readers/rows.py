"""Rows as they are read, put together to a Log."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..log import Array, Log, Tensors
from ..tensors import largest_of, total_of
from .column import Column
from .numbers import is_blank, number

# The places in a row, and how a column is stored.
NORM, STEP, LR, LOSS, SCALE, BATCH, EPOCH, COEF, LIMIT, RANK, SKIPPED = range(11)
KINDS = (
    "norm", "step", "learning_rate", "loss", "loss_scale", "batch_size", "epoch", "clip_coef",
    "max_norm", "rank", "skipped",
)  # fmt: skip
_CODES = "dddfffdddff"
SKIPPED_BY = {"skip": 1.0, "clip": 0.0, "pass": 0.0}
_NAN = math.nan
OVERFLOW = -1.0  # what DeepSpeed writes for the norm of a step that overflowed


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
        self._columns = [Column(code) if has else None for code, has in zip(_CODES, present)]
        self._appends = [
            (place, column.tail.append)
            for place, column in enumerate(self._columns)
            if column is not None
        ]
        self._tensor_names, self._p = list(tensors), p
        self._largest, self._share = array("i"), array("f")
        self._rate: float = _NAN  # as last seen
        self._pending: tuple[float, float] | None = None  # step and loss of a row without a norm
        self.culprits: dict[int, str] = {}
        self.without_norm = self.negative = self.overflows = 0
        self.unread = 0  # rows whose norm is there, but is no number that is understood
        self.first_unread = ""
        self.labelled = False  # whether ranks may be other numbers before the lines
        self.step_name: str | None = None  # of the column that should hold the steps

    def __len__(self) -> int:
        norm = self._columns[NORM]
        return 0 if norm is None else len(norm)

    def has(self, place: int) -> bool:
        """Whether there is a number in a column; NaN alone is nothing."""
        column = self._columns[place]
        return column is not None and bool(np.any(~np.isnan(column.values()[:1000])))

    def extend(self, columns: Mapping[int, Array]) -> None:
        """Adds many rows, all of whose cells are there."""
        count = len(columns[NORM])
        for place, column in enumerate(self._columns):
            if column is not None:
                missing = self._rate if place == LR else _NAN
                numbers = columns.get(place)
                column.extend(np.full(count, missing) if numbers is None else numbers)
        if LR in columns:
            self._rate = float(columns[LR][-1])

    def add(self, row: Sequence[float | None], tensor_norms: Array | None = None) -> bool:
        """Adds a row: a value for each place, None where it has none. Returns whether it has
        a norm, its own or that of the tensors."""
        norm = row[NORM]
        if norm is None and tensor_norms is not None and not np.all(tensor_norms < 0):
            norm = float(total_of(tensor_norms[:, None], self._p)[0])
        if norm is None:
            self._without_norm(row)
            return False
        if norm == OVERFLOW:
            self.overflows += 1
            norm = math.inf
        elif norm < 0:
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

    def not_read(self, value: Any) -> None:
        """Counts what stands where the norm should, unless it is blank."""
        if is_blank(value):
            return
        self.unread += 1
        if self.unread == 1:
            self.first_unread = str(value)[:60]

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
        steps, losses = self._columns[STEP], self._columns[LOSS]
        if steps and losses and steps.tail and losses.tail:
            if steps.tail[-1] == step and math.isnan(losses.tail[-1]):
                losses.tail[-1] = loss

    def _add_tensors(self, norms: Array) -> None:
        one = largest_of(norms[:, None], self._tensor_names, self._p)
        self._largest.append(int(one.largest[0]))
        self._share.append(float(one.share[0]))

    def log(self, **about: Any) -> Log:
        """The Log of what was added. about: its attributes that are not columns."""
        arrays: dict[str, Any] = {}
        for kind, column in zip(KINDS, self._columns):
            if kind == "step" and column is not None and column.counts_up:
                arrays[kind] = column.counted()
                continue
            values = np.empty(0) if column is None else column.values()
            arrays[kind] = values if np.any(~np.isnan(values)) or kind == "norm" else None
        epoch, rank = arrays.pop("epoch"), arrays.pop("rank")
        tensors = None
        if self._tensor_names and len(self._largest) == len(self):
            tensors = Tensors(
                self._tensor_names,
                np.frombuffer(self._largest, "i") if self._largest else np.empty(0, "i"),
                np.frombuffer(self._share, "f") if self._share else np.empty(0, "f"),
            )
        notes = about.setdefault("notes", [])
        notes += self._notes(arrays["step"] is None)
        if self.unread:
            notes.insert(
                0,
                f"{self.unread} row(s) hold a norm that could not be read, the first "
                f"{self.first_unread!r}: left out",
            )
        by_epoch = arrays["step"] is None and about.get("hint") is None and _goes_on(epoch)
        if by_epoch:
            about["hint"] = "epoch"
        log = Log(tensors=tensors, culprits=self.culprits, unread=self.unread, **arrays, **about)
        if rank is not None:
            log, epoch = _of_first_rank(log, epoch, rank, self.labelled)
        _mark_overflows(log)
        if by_epoch and rank is None:
            log.step = epoch
            log = in_order(log, what="epoch")
            log.step = None
        steps = self._columns[STEP]
        return log if steps is not None and steps.counts_up else in_order(log, epoch)

    def _notes(self, without_steps: bool) -> list[str]:
        notes = []
        if self.negative:
            notes.append(
                f"{self.negative} row(s) hold a negative number, which is no norm: left out"
            )
        if self.overflows:
            notes.append(
                f"{self.overflows} row(s) hold -1, which DeepSpeed writes where the gradients "
                "overflowed: counted as not finite"
            )
        if self.step_name is not None and without_steps and len(self):
            notes.append(f"{self.step_name!r} holds no number of a step: rows are counted instead")
        return notes


def _of_first_rank(
    log: Log, epoch: Array | None, rank: Array, labelled: bool
) -> tuple[Log, Array | None]:
    """Of the rows of several processes those of the first, and of those that name none. If the
    ranks may be other numbers they are ranks where they take turns and have the same steps."""
    ranks = np.unique(rank[np.isfinite(rank)])
    if len(ranks) < 2:
        return log, epoch
    rows = np.flatnonzero(~(rank > ranks[0]))
    if labelled:
        steps = np.asarray(log.step)
        turns = int(np.sum(np.diff(rank) != 0))
        if 4 * turns < len(rank) or 2 * len(np.unique(steps[rows])) < len(np.unique(steps)):
            return log, epoch
    log.notes.append(
        f"rows of {len(ranks)} ranks: those of rank {ranks[0]:g} are taken, "
        f"{len(rank) - len(rows)} of the others left out"
    )
    return _of_rows(log, rows), None if epoch is None else epoch[rows]


def _mark_overflows(log: Log) -> None:
    """A norm of 0 where the loss scale falls is a step that overflowed, and was skipped."""
    if log.loss_scale is None or not np.any(log.norm == 0):
        return
    falls = np.append(np.diff(log.loss_scale) < 0, False)  # from this row to the next
    marked = (log.norm == 0) & (falls | np.append(False, falls[:-1]))
    if np.any(marked):
        log.norm = np.where(marked, np.inf, log.norm)
        log.notes.append(
            f"{int(marked.sum())} row(s) hold 0 where the loss scale falls: overflows, counted as "
            "not finite"
        )


def _goes_on(epoch: Array | None) -> bool:
    """Whether each row is of the epoch after the one before, but where a run was resumed."""
    if epoch is None or len(epoch) < 2:
        return False
    by = np.diff(epoch)
    return bool(np.all((by == 1) | (by < 0)) and 10 * int(np.sum(by < 0)) < len(epoch))


def in_order(log: Log, epoch: Array | None = None, what: str = "step") -> Log:
    """The log with increasing steps: of rows of one step the last counts, iterations that begin
    anew with every epoch are made to go on, and what a resumed run did again replaces what it
    did before."""
    if log.step is None:
        return log
    if not np.all(np.abs(log.step) < 2**53):
        log.notes.append("some rows have no step number: rows are counted instead")
        log.step = None
        return log
    again = np.diff(log.step) == 0
    if epoch is not None:
        again &= ~(np.diff(epoch) > 0)
    if 0 < int(again.sum()) < len(again):
        log.notes.append(
            f"{int(again.sum())} row(s) have the step of the row after them (a bar that draws a step "
            "twice, or several lines a step): the last of each is taken"
        )
        rows = np.flatnonzero(~np.append(again, False))
        log, epoch = _of_rows(log, rows), None if epoch is None else epoch[rows]
    step = np.asarray(log.step)
    back = np.flatnonzero(np.diff(step) <= 0) + 1
    if not len(back):
        return log
    counted = _counted_on(step, epoch, back)
    if counted is not None:
        log.step = step = counted
        log.notes.append("iterations begin anew with every epoch: they are counted on")
        back = np.flatnonzero(np.diff(step) <= 0) + 1
        if not len(back):
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
        f"the {what} number goes back {len(back)} time(s), as when a run is resumed: "
        f"{len(step) - len(rows)} row(s) that come again later were left out"
    )
    return _of_rows(log, rows)


def _counted_on(step: Array, epoch: Array | None, back: Array) -> Array | None:
    """Steps that go on where they begin anew with every epoch; None where they do not. Without
    a number of the epoch they do if each epoch begins and ends as the first one does."""
    if epoch is None:
        ends, begins = step[back - 1], step[back]
        if len(back) < 2 or np.any(ends != ends[0]) or np.any(begins != step[0]):
            return None
        epoch = np.searchsorted(back, np.arange(len(step)), side="right").astype(float)
    if not np.all(np.isfinite(epoch)):
        return None
    epoch = np.floor(epoch)
    if 2 * int(np.sum(epoch[back] > epoch[back - 1])) < len(back):
        return None  # the step goes on through epochs, and the run was resumed
    length = float(step.max()) + (1.0 if step.min() == 0 else 0.0)
    return np.asarray(step + (epoch - epoch.min()) * length)


def _of_rows(log: Log, rows: Array) -> Log:
    for kind in KINDS:
        values = getattr(log, kind, None)
        if values is not None:
            setattr(log, kind, np.asarray(values)[rows])
    if log.tensors is not None:
        log.tensors.largest = log.tensors.largest[rows]
        log.tensors.share = log.tensors.share[rows]
    new = {int(row): place for place, row in enumerate(rows)}
    log.culprits = {new[row]: name for row, name in log.culprits.items() if row in new}
    return log


def skipped(action: Any) -> float | None:
    """Whether a chooser left a step out, by what its log calls that; None where it does not say."""
    return SKIPPED_BY.get(action.strip()) if isinstance(action, str) else None


def tensor_row(cells: Sequence[Any]) -> Array:
    """Norms of tensors as an array; -1 stands for a blank."""
    values = [number(cell) for cell in cells]
    return np.array([-1.0 if value is None else value for value in values])
