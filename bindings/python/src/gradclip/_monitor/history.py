"""The last steps of a run, in bounded memory."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .._native.call import whole

_FIELDS = ("grad_norm", "clip_coef", "learning_rate", "loss", "threshold")
_NAN = float("nan")


class Entry(NamedTuple):
    """One step as a history and a log keep it. What is not known is None (NaN in a History).

    threshold and action ("pass", "clip" or "skip") are a chooser's.
    """

    step: int
    grad_norm: float
    clip_coef: float
    learning_rate: float | None
    loss: float | None
    nonfinite_count: int = 0
    first_tensor: str | None = None
    first_element: int | None = None
    threshold: float | None = None
    action: str | None = None


class History(Mapping[str, "array[Any]"]):
    """Steps, norms, coefficients, learning rates, losses, and what a chooser decided, of the
    last `limit` steps.

    A mapping from the names of the columns to arrays of float64 ("step": of int64; "skipped", 1
    where a chooser left the step out: of int8), oldest first: pandas.DataFrame(history) takes
    it. A step takes 49 bytes, and the memory grows with the run up to `limit` of them.

    Attributes:
        steps: how many steps are held.
        total: how many there ever were.
    """

    __slots__ = ("_columns", "_next", "limit", "total")

    def __init__(self, limit: int) -> None:
        self.limit = whole("history", limit, 1)
        self.total = 0  # steps ever added
        self._next = 0  # where the next step goes once the limit is reached
        self._columns: dict[str, array[Any]] = {"step": array("q")}
        self._columns.update((name, array("d")) for name in _FIELDS)
        self._columns["skipped"] = array("b")

    def add(self, entry: Entry) -> None:
        self.total += 1
        known = (*entry[1:5], entry.threshold)
        values: list[Any] = [entry.step, *(_NAN if value is None else value for value in known)]
        values.append(entry.action == "skip")
        if self.steps < self.limit:
            for column, value in zip(self._columns.values(), values):
                column.append(value)
            return
        for column, value in zip(self._columns.values(), values):
            column[self._next] = value
        self._next = (self._next + 1) % self.limit

    @property
    def steps(self) -> int:
        return len(self._columns["step"])

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"<gradclip.Monitor's history: {self.steps} steps of {self.total}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __getitem__(self, column: str) -> array[Any]:
        """A copy of a column, oldest step first."""
        held = self._columns[column]
        return held[self._next :] + held[: self._next]

    def state_dict(self) -> dict[str, Any]:
        """The columns as text, in base64 of little-endian numbers."""
        columns = {name: _text(self[name]) for name in self._columns}
        return {"total": self.total, "columns": columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes those of the last steps that there is room for."""
        columns = {
            name: _values(held.typecode, state["columns"][name], self.limit)
            for name, held in self._columns.items()
        }
        if len(set(map(len, columns.values()))) != 1:
            raise ValueError("its columns are of different lengths")
        self.total, self._columns, self._next = int(state["total"]), columns, 0


def _text(values: array[Any]) -> str:
    from .._json import text_of

    if sys.byteorder == "big":
        values.byteswap()
    return text_of(values.tobytes())


def _values(typecode: str, text: str, limit: int) -> array[Any]:
    from .._json import bytes_of

    values: array[Any] = array(typecode, bytes_of(text))
    if sys.byteorder == "big":
        values.byteswap()
    return values[-limit:]
