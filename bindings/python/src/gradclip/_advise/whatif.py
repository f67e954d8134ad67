"""The what-if table: which candidates are in it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .advice import Recommendation, WhatIf
from .findings import Findings
from .percentiles import rounded
from .regimes import CONSTANTS, what_if


def table(
    found: Findings, asked: Iterable[float], advised: Iterable[Recommendation]
) -> list[WhatIf]:
    """What the usual constants, the log's percentiles, what is recommended for the next rate
    and what the user asks for would have done, from the smallest to the largest."""
    norm = found.norm
    if not len(norm):
        return []
    named = {value: "constant" for value in CONSTANTS}
    for name in ("p10", "p50", "p90", "p99", "p99.9"):
        if name in found.percentiles:
            named[rounded(found.percentiles[name])] = name
    for one in advised:
        if one.intent.startswith("next rate") and one.max_norm:
            named[one.max_norm] = "answer" if one.intent == "next rate" else "shorter"
    if found.force is not None and np.isfinite(found.force.max_norm):
        named[found.force.max_norm] = "in force"
    for value in asked:
        named[value] = "asked for"
    return [what_if(norm, value, named[value]) for value in sorted(named) if value > 0]
