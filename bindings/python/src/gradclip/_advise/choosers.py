"""Replays the adaptive choosers over a log: what each would have done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .advice import Replayed
from .findings import Findings
from .log import Array

LONGEST = 10_000  # rows that are replayed; of a longer log the last


def replay(found: Findings) -> list[Replayed]:
    """Every chooser, fed with the norms of the log in their order; nothing if there is not a
    row for every step, for what a chooser decides depends on the norms before."""
    if not found.sampling.every:
        return []
    from .. import AdaGC, AutoClip, SkipStep, ZClip

    log = found.log
    norms = log.norm[-LONGEST:]
    losses = None if log.loss is None else log.loss[-LONGEST:]
    skip_step = SkipStep()
    return [
        _replayed("AutoClip(percentile=10)", AutoClip(percentile=10).feed, norms),
        _replayed("AutoClip(percentile=99)", AutoClip(percentile=99).feed, norms),
        _replayed("ZClip()", ZClip().feed, norms),
        _replayed("AdaGC(), as one gradient", AdaGC().feed, norms),
        _replayed("SkipStep()", skip_step.feed, norms, losses),
    ]


def _replayed(
    name: str, feed: Callable[..., Any], norms: Array, losses: Array | None = None
) -> Replayed:
    coefs, skipped, last = np.ones(len(norms)), np.zeros(len(norms), dtype=bool), None
    for row, norm in enumerate(norms.tolist()):
        if losses is None or np.isnan(losses[row]):
            decision = feed(norm)
        else:
            decision = feed(norm, float(losses[row]))
        coefs[row], skipped[row], last = decision.clip_coef, decision.skip, decision.threshold
    used = coefs[~skipped]
    return Replayed(
        name,
        float(np.mean(coefs < 1)),
        float(np.mean(skipped)),
        float(np.mean(used)) if len(used) else 1.0,
        float(np.min(used)) if len(used) else 1.0,
        last,
    )
