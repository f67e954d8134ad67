"""Two lists of arrays of which each entry of one belongs to an entry of the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .rows import Table, Tensors


class Pairs(Tensors):
    """Arrays, and what is subtracted from each: `minus`, rows as those of `table`.

    Pairs that are the same memory share a row.
    """

    __slots__ = ("minus", "others")

    def __init__(self, tensors: Any, minus: Any, names: Iterable[str] | None) -> None:
        super().__init__(tensors, names, writable=False)
        self.others = others = Tensors(minus, None, writable=False)
        if others.places != self.places:
            raise ValueError(
                f"minus must be as many as the arrays to subtract from: {self.places} "
                f"(got {others.places})"
            )
        found = partners("minus", self, others)
        if len(others.arrays) != len(self.arrays):
            raise ValueError("minus must have None where the arrays to subtract from have, only")
        partner = [self._partner(i, k) for i, k in enumerate(found)]
        rows: dict[tuple[int, int], int] = {}
        keys = [(self.row(i), others.row(k)) for i, k in zip(self._each(), partner)]
        row_of = [rows.setdefault(key, len(rows)) for key in keys]
        self.row_of = None if len(rows) == len(keys) else row_of
        self.count = len(rows)
        first = list({row: i for i, row in reversed(list(enumerate(row_of)))}.items())
        first.sort()
        columns, other = self.memory[:3], others.memory[:3]
        self.table = Table.of(*([column[i] for _, i in first] for column in columns))
        self.minus = Table.of(*([column[partner[i]] for _, i in first] for column in other))

    def _each(self) -> range:
        return range(len(self.arrays))

    def _partner(self, i: int, k: int | None) -> int:
        if k is None:
            raise ValueError(f"minus has None for {self.label(i)}")
        order, other = self.order(i), self.others.order(k)
        if order.shape != other.shape:
            raise ValueError(
                f"minus of {self.label(i)} must have its shape {order.shape} (got {other.shape})"
            )
        if (order.axes, order.reversed) != (other.axes, other.reversed):
            raise ValueError(
                f"{self.label(i)} and what is subtracted from it lie differently in memory: "
                "pass both in C order"
            )
        return k


def partners(what: str, of: Tensors, others: Tensors) -> list[int | None]:
    """Which of the other arrays belongs to each: that of its name, where both have names, else
    that in its place; None where None stands there."""
    places: Sequence[int] = range(of.places)
    if of.keys is not None and others.keys is not None and of.keys != others.keys:
        place = {name: i for i, name in enumerate(others.keys)}
        for name in of.keys:
            if name not in place:
                raise ValueError(f"{what} has none for the gradient {name!r}")
        places = [place[name] for name in of.keys]
    array_at = {others.place(i): i for i in range(len(others.arrays))}
    return [array_at.get(places[of.place(i)]) for i in range(len(of.arrays))]
