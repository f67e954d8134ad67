"""The state of a case's gradients: what limit makes the next call do what the case says.

Clipping changes the gradients, so that a second call with the same limit would find
nothing to clip. Every call therefore gets a limit a thousandth below the norm that
the call before has left; the gradients are written anew when they have become small.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import numpy as np

from .arena import STANDARD_DEVIATION, Arena
from .cases import Case

SHRINK = 0.999
# The more calls in one batch, the smaller the gradients get: 0.999^2000 = 0.14.
MOST_CALLS = 2000
LOSS_SCALE = 65536.0
MEDIAN_OF_NORMAL = statistics.NormalDist().inv_cdf(0.75)


@dataclass(frozen=True)
class Steps:
    """What the next calls get: max_norm (or clip_value), and grad_scale if they unscale."""

    limits: list[float]
    scales: list[float] | None

    def __iter__(self) -> Iterator[tuple[float, float]]:
        return zip(self.limits, self.scales or [1.0] * len(self.limits))


class Workload:
    def __init__(self, case: Case, arena: Arena) -> None:
        self.case = case
        self.arena = arena
        arena.fill()
        self.first_limit = STANDARD_DEVIATION * MEDIAN_OF_NORMAL if case.job == "value" else self._whole_norm()
        self._limit = self.first_limit
        self._is_divided = False

    def _whole_norm(self) -> float:
        """In float64 by NumPy; it takes longer than all else, so each arena remembers it."""
        p = self.case.norm_type
        if p not in self.arena.norms:
            norms = [float(np.linalg.norm(a.astype(np.float64).ravel(), p)) for a in self.arena.values()]
            self.arena.norms[p] = max(norms) if p == inf else float(np.linalg.norm(norms, p))
        return self.arena.norms[p]

    def renew(self) -> None:
        """Before a batch of calls: gradients that are large enough for it."""
        # Half of the elements should lie beyond a value; 0.8 of it leaves 59% there.
        least = 0.8 if self.case.job == "value" else 0.2
        whole = self._limit * LOSS_SCALE if self._is_divided else self._limit
        if whole < least * self.first_limit:
            self.arena.fill()
            self._limit = self.first_limit
            self._is_divided = False

    def steps(self, calls: int) -> Steps:
        """For the next calls, which must all be made."""
        if not self.case.writes:
            return Steps([10 * self.first_limit] * calls, None)
        limits, scales = [], []
        for _ in range(calls):
            scale = 1.0
            if self.case.unscales:
                # Up and down, so that the gradients neither vanish nor overflow.
                scale = 1 / LOSS_SCALE if self._is_divided else LOSS_SCALE
                self._is_divided = not self._is_divided
            self._limit = self._limit / scale * SHRINK
            limits.append(self._limit)
            scales.append(scale)
        return Steps(limits, scales if self.case.unscales else None)

    @property
    def fixed_limit(self) -> float:
        """For peers whose gradients do not change: what they return is new."""
        return (0.5 if self.case.clips else 10) * self.first_limit

    def same_steps(self, calls: int) -> Steps:
        return Steps([self.fixed_limit] * calls, None)
