"""Interleaved timing: in each round every candidate once, so that what disturbs the machine
disturbs all of them alike; medians of the times, and of the ratios within a round."""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable


def interleaved(
    candidates: dict[str, Callable[[], object]],
    rounds: int,
    before: Callable[[str], object] = lambda name: None,
    seed: int = 1,
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, in random order; before() is not timed."""
    rng = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    # What modules hold is no garbage to look through in a round, of whoever happens to be timed.
    gc.collect()
    gc.freeze()
    for turn in range(rounds + 1):
        for name in rng.sample(list(candidates), len(candidates)):
            before(name)
            start = time.perf_counter()
            candidates[name]()
            elapsed = time.perf_counter() - start
            if turn:  # the first round is for caches and threads to warm up
                times[name].append(elapsed)
    gc.unfreeze()
    return times


def ratio(times: dict[str, list[float]], of: str, to: str) -> tuple[float, float, float]:
    """The median of times[of] / times[to] within a round, and its quartiles."""
    ratios = [a / b for a, b in zip(times[of], times[to])]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return middle, low, high


def fastest_ratio(times: dict[str, list[float]], of: str, to: str) -> float:
    """The fastest round of one over that of the other: what a machine says that others use too."""
    return min(times[of]) / min(times[to])


def milliseconds(times: list[float]) -> float:
    return statistics.median(times) * 1e3
