"""Everything that is found in a log, before any advice is given on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .after_clipping import Pile, pile_of
from .divergence import Divergence, divergence_of
from .levels import Drift, drift_of
from .log import Array, Log, Rows
from .percentiles import percentiles_of
from .rate import Rate, rate_of
from .sampling import Sampling, sampling_of
from .scaling import Scaling, scaling_of
from .spikes import Spikes, spikes_of
from .warmup import WarmUp, warmup_of


@dataclass(frozen=True)
class Findings:
    """What each of the modules beside this one has to say. settled: the rows after the
    warm-up whose norm is finite and not 0, norm: their norms; zero: how many after it are 0."""

    log: Log
    norm: Array
    sampling: Sampling
    pile: Pile | None
    warmup: WarmUp
    settled: Array
    zero: int
    percentiles: dict[str, float]
    drift: Drift
    scaling: Scaling
    spikes: Spikes
    divergence: Divergence | None
    rate: Rate


def find(
    log: Log,
    rows: Rows | None = None,
    warmup: int | None = None,
    learning_rate: float | None = None,
) -> Findings:
    """Looks at a log. rows, warmup and learning_rate are what the user says of it."""
    finite = np.isfinite(log.norm)
    whole = log.norm if finite.all() else log.norm[finite]
    sampling = sampling_of(log, rows)
    begin = warmup_of(log, warmup)
    settled = np.flatnonzero(finite & (log.norm > 0))
    settled = settled[settled >= begin.rows]
    divergence = divergence_of(log, begin.rows)
    if divergence is not None and np.sum(settled < divergence.row) >= 1:
        settled = settled[settled < divergence.row]  # what came after says nothing
    norm = log.norm[settled]
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
        rate=rate_of(log, settled, norm, learning_rate),
    )
