"""Replays the adaptive choosers over a log: what each would have done."""

from __future__ import annotations

from typing import Any

import numpy as np

from .advice import Replayed
from .findings import Findings

LONGEST = 1_000_000  # rows that are replayed; of a longer log the last


def replay(found: Findings) -> list[Replayed]:
    """Every chooser, fed with the norms of the log in their order; nothing if there is not a
    row for every step, for what a chooser decides depends on every norm before."""
    if not found.sampling.every:
        return []
    import gradclip

    out = []
    for name, arguments in (
        ("AutoClip", {"percentile": 10}),
        ("AutoClip", {"percentile": 99}),
        ("ZClip", {}),
        ("AdaGC", {}),
        ("SkipStep", {}),
    ):
        kind = getattr(gradclip, name, None)
        if kind is not None:
            listed = ", ".join(f"{key}={value}" for key, value in arguments.items())
            label = f"{name}({listed})" if listed else name
            out.append(_one(label, kind(**arguments), found.log.norm[-LONGEST:]))
    return out


def _one(name: str, chooser: Any, norms: Any) -> Replayed:
    coefs = np.ones(len(norms))
    skipped = np.zeros(len(norms), dtype=bool)
    last = None
    for row, norm in enumerate(norms.tolist()):
        decision = chooser.feed(norm)
        skipped[row] = decision.skip
        coefs[row] = decision.clip_coef
        last = decision.threshold
    used = coefs[~skipped & np.isfinite(norms)]
    return Replayed(
        name,
        float(np.mean(used < 1)) if len(used) else 0.0,
        float(np.mean(skipped)) if len(norms) else 0.0,
        float(np.mean(used)) if len(used) else 1.0,
        float(np.min(used)) if len(used) else 1.0,
        last,
    )
