"""The roof over a case: the best plain loops over the same memory."""

from __future__ import annotations

from . import driver
from .arena import Arena

KINDS = {"read": driver.READ, "read-write": driver.READ_WRITE}


def best_variants(arena: Arena, threads: int, passes: int = 20) -> dict[str, int]:
    """The variant of each loop that is fastest on this machine, its best pass counted."""
    best = {}
    for name, kind in KINDS.items():
        times = [
            min(driver.roof(kind, v, arena.address, arena.bytes, threads, 1) for _ in range(passes))
            for v in range(len(driver.roof_names()))
        ]
        best[name] = times.index(min(times))
    return best


def contestant(kind: str, variants: dict[str, int], arena: Arena, threads: int):
    def run(passes: int) -> float:
        return driver.roof(KINDS[kind], variants[kind], arena.address, arena.bytes, threads, passes)

    return run
