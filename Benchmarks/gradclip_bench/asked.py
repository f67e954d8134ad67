"""What is asked of a row: a figure of one round, its median over the rounds, and what it is to reach.

Of a plain time on one thread in the caches it is the least of the rounds: only other programs make it longer."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """`figure` of the seconds of all contestants in one round, and `of_rounds`, of those the one that counts; `most` or
    `least` is what it is to be."""

    what: str
    figure: Callable[[dict[str, float]], float]
    needs: tuple[str, ...]  # contestants
    most: float | None = None
    least: float | None = None
    of_rounds: Callable[[list[float]], float] = statistics.median

    def judge(self, rounds: list[dict[str, float]]) -> dict[str, Any]:
        """As it goes into the JSON; measured and met are None where nothing was measured."""
        values = [self.figure(times) for times in rounds if all(name in times for name in self.needs)]
        measured = self.of_rounds(values) if values else None
        met = None
        if measured is not None:
            met = measured <= self.most if self.most is not None else measured >= self.least
        text = f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}"
        return {"what": self.what, "asked": text, "measured": measured, "met": met}


def times_as_long(slower: str, faster: str, least: float | None = None, most: float | None = None) -> Asked:
    return Asked(f"{slower} / {faster}", lambda t: t[slower] / t[faster], (slower, faster), most, least)


def nanoseconds(of: str, elements: int, most: float, what: str = "ns an element") -> Asked:
    return Asked(f"{what} (least)", lambda t: t[of] / elements * 1e9, (of,), most, of_rounds=min)


def of_roof(passes: tuple[str, ...], least: float) -> Asked:
    names = tuple(f"roof: {kind}" for kind in passes)
    return Asked("of the roof", lambda t: sum(t[n] for n in names) / t["gradclip"], (*names, "gradclip"), None, least)
