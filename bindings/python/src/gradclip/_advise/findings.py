"""Everything that is found in a log, before any advice is given on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .after_clipping import Pile, pile_of
from .comparison import Compared, compare
from .divergence import Divergence, divergence_of
from .in_force import InForce, applied_of, in_force_of
from .levels import JUMPS, SETTLED, Drift, drift_of
from .log import Array, Log, Rows
from .long import Places, before, places_of, rows_at, stride_of, taken
from .percentiles import percentiles_of
from .rate import Rate, rate_of
from .sampling import Sampling, sampling_of
from .scaling import Scaling, scaling_of
from .spikes import Spikes, spikes_of
from .stuck import Stuck, stuck_of
from .warmup import WarmUp, warmup_of


@dataclass(frozen=True)
class Said:
    """What the user says of a log; None where the log is to tell."""

    rows: Rows | None = None
    warmup: int | None = None
    learning_rate: float | None = None
    was: float | None = None
    better: str = "lower"


@dataclass(frozen=True)
class Findings:
    """What each of the modules beside this one has to say. settled: the rows after the
    warm-up whose norm is finite and not 0, norm: their norms; zero: how many after it are 0.
    Losses in log are so that lower is better."""

    log: Log
    norm: Array
    sampling: Sampling
    pile: Pile | None
    warmup: WarmUp
    settled: Places
    zero: int
    percentiles: dict[str, float]
    drift: Drift
    scaling: Scaling
    spikes: Spikes
    divergence: Divergence | None
    stuck: Stuck | None
    compared: Compared | None
    force: InForce | None
    rate: Rate

    @property
    def drifts(self) -> bool:
        """Whether no fixed max_norm fits."""
        return self.drift.drifts or (self.drift.factor >= JUMPS and bool(self.scaling.jumps))

    @property
    def takes_numbers(self) -> bool:
        """Whether the program that wrote the log takes a number, and no chooser."""
        return any(name in self.log.format for name in _TAKE_NUMBERS)


# Programs whose configuration has one number for max_norm, as formats of logs name them.
_TAKE_NUMBERS = (
    "Hugging Face", "trainer_state", "DeepSpeed", "Megatron", "fairseq", "mmengine", "mmdetection",
    "torchtitan", "llm.c", "Lightning",
)  # fmt: skip


def find(log: Log, said: Said, pilot: Log | None = None) -> Findings:
    """Looks at a log, beside the log of a pilot if there is one."""
    log = _lower_is_better(log, said.better)
    if pilot is not None:
        pilot = _lower_is_better(pilot, said.better)
    finite = np.isfinite(log.norm)
    whole = log.norm if finite.all() else log.norm[finite]
    sampling = sampling_of(log, said.rows)
    begin = warmup_of(log, said.warmup)
    compared = None if pilot is None else compare(log, pilot)
    settled = places_of(finite & (log.norm > 0), begin.rows)
    if said.warmup is None and drift_of(taken(log.norm, settled)).factor >= JUMPS:
        later = settled[len(settled) // 3 :]
        if drift_of(taken(log.norm, later)).factor < SETTLED:  # it drifted at the beginning alone
            begin, settled = WarmUp(int(later[0]), _FIRST_THIRD), later
    divergence = divergence_of(log, begin.rows)
    if compared is not None and compared.word != "lost":
        divergence = None  # what it looked like by itself no longer counts
    if divergence is not None and len(before(settled, divergence.row)):
        settled = before(settled, divergence.row)  # what came after says nothing
    norm = taken(log.norm, settled)
    force = in_force_of(log, said.was)
    stepped = settled[:: stride_of(len(settled))]
    if log.skipped is not None:
        stepped = rows_at(stepped, np.flatnonzero(taken(log.skipped, stepped) != 1))
    return Findings(
        log=log,
        norm=norm,
        sampling=sampling,
        pile=pile_of(whole),
        warmup=begin,
        settled=settled,
        zero=int(np.sum(log.norm[begin.rows :] == 0)),
        percentiles=percentiles_of(norm, sampling.every),
        drift=drift_of(norm),
        scaling=scaling_of(log, settled, norm),
        spikes=spikes_of(log, settled, norm),
        divergence=divergence,
        stuck=None if divergence or compared or pilot is not None else stuck_of(log),
        compared=compared,
        force=force,
        rate=rate_of(log, stepped, applied_of(log, force, stepped), said.learning_rate),
    )


_FIRST_THIRD = "the first third left out: there the norms drift, and then no more"


def _lower_is_better(log: Log, better: str) -> Log:
    if better == "lower" or log.loss is None:
        return log
    return replace(log, loss=-log.loss)
