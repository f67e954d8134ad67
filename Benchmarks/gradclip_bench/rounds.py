"""Rounds: everyone in turn, again and again, and medians of the rounds that count.

A virtual machine may lose a processor for minutes. Before and after every round two
threads spin against one; a round in which two gain less than 1.7 is thrown away. That
holds for calls on one thread too where they read from memory: a neighbour takes bandwidth.
Of calls on one thread in the caches all rounds count, of which there are many and short ones:
shorter than a program is left alone on a busy machine.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from . import driver

LEAST_GAIN = 1.7
# Between two contestants. Other libraries' threads keep spinning for a while after their
# work; nobody should be measured while they do, so the pause is repeated until this
# process takes next to no processor time in it.
PAUSE = 0.03
LONGEST_PAUSE = 2.0
# Shorter calls are made once before they are timed: the round's other contestants
# have emptied the caches.
WARM_BELOW = 0.005


@dataclass(frozen=True)
class Effort:
    """How long to measure one case."""

    rounds: int  # that count
    seconds: float  # at most, however few rounds count
    batch: float  # seconds of calls per contestant and round, at least one call
    least_gain: float = LEAST_GAIN
    # False: calls on one thread in the caches. All rounds count, and none waits for other people's threads.
    checks: bool = True


@dataclass
class Measured:
    rounds: list[dict[str, float]] = field(default_factory=list)  # those that count
    seconds: dict[str, float] = field(default_factory=dict)  # medians
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)  # quartiles
    kept: int = 0
    made: int = 0
    gain: float = 0.0  # the median of all rounds


def _gain(effort: Effort) -> float:
    """What a second thread adds; on one processor there is nothing to check."""
    return driver.spin_gain() if effort.checks and len(os.sched_getaffinity(0)) > 1 else effort.least_gain


def _pause(effort: Effort) -> None:
    if not effort.checks:
        return
    end = time.monotonic() + LONGEST_PAUSE
    while time.monotonic() < end:
        before = time.process_time()
        time.sleep(PAUSE)
        if time.process_time() - before < PAUSE / 10:
            return


# run(calls) -> seconds per call
Contestant = Callable[[int], float]


def measure(contestants: dict[str, Contestant], effort: Effort, most_calls: int) -> Measured:
    """Medians over the rounds that count; none where none counted."""
    end = time.monotonic() + effort.seconds
    calls, warm = {}, {}
    for name, run in contestants.items():
        run(1)  # pages touched, threads made
        once = run(1)
        calls[name] = max(1, min(most_calls, round(effort.batch / once)))
        warm[name] = once < WARM_BELOW

    kept: list[dict[str, float]] = []
    gains: list[float] = []
    made = 0
    before = _gain(effort)
    while len(kept) < effort.rounds and (made == 0 or time.monotonic() < end):
        times = {}
        for name, run in contestants.items():
            _pause(effort)
            if warm[name]:
                run(1)
            times[name] = run(calls[name])
        _pause(effort)
        after = _gain(effort)
        gains.append(min(before, after))
        made += 1
        if gains[-1] >= effort.least_gain:
            kept.append(times)
        before = after

    found = Measured(rounds=kept, kept=len(kept), made=made, gain=statistics.median(gains))
    for name in contestants if kept else ():
        values = sorted(times[name] for times in kept)
        found.seconds[name] = statistics.median(values)
        found.spread[name] = (values[len(values) // 4], values[3 * len(values) // 4])
    return found
