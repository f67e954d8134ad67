"""What a max_norm would have done to the steps of a log."""

from __future__ import annotations

import numpy as np

from .advice import WhatIf
from .log import Array
from .long import stride_of

EPS = 1e-6  # what clip_grad_norm_ adds to the norm
CONSTANTS = (0.1, 0.5, 1.0, 5.0, 10.0, 35.0)


def regime_of(clipped: float) -> str:
    """The regime, by the fraction of steps clipped."""
    if clipped < 0.001:
        return "inactive"
    if clipped <= 0.1:
        return "safety net"
    return "limiter" if clipped <= 0.5 else "normalised step"


IN_WORDS = {
    "inactive": "clips nothing to speak of",
    "safety net": "catches the outliers, leaves the rest alone",
    "limiter": "holds back many steps",
    "normalised step": "most steps have length lr*max_norm: the rate is really lr*max_norm/norm",
}

# The last of them for optimizers that divide by the gradients' own size.
SCALED = "most steps are scaled, and Adam and its like cancel most of that"


def what_if(norm: Array, max_norm: float, name: str) -> WhatIf:
    """What max_norm would have done to finite norms (at least one)."""
    clipped = float(np.mean(norm > max_norm - EPS))
    coef = np.minimum(1.0, max_norm / (norm[:: stride_of(len(norm))] + EPS))
    worst = min(1.0, max_norm / (float(np.max(norm)) + EPS))
    return WhatIf(max_norm, name, clipped, float(np.mean(coef)), worst, regime_of(clipped))
