"""NumPy, as one writes clipping by hand."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np

from . import NotAvailable, seconds_per_call

NAME = "NumPy"


def version() -> str:
    return np.__version__


def prepare(workload, threads):
    grads = workload.arena.arrays
    case = workload.case
    p = case.norm_type
    if workload.arena.dtype == "bfloat16":
        raise NotAvailable("NumPy has no bfloat16")
    if workload.arena.dtype == "float16":
        raise NotAvailable("sums float16 squares in float16")

    def norm_of_all():
        if p == 2:
            return sqrt(sum(float(np.vdot(g, g)) for g in grads))
        norms = [float(np.linalg.norm(g.ravel(), p)) for g in grads]
        return max(norms) if p == inf else float(np.linalg.norm(norms, p))

    def clip_norm(limit, scale):
        if scale != 1:
            for g in grads:
                np.multiply(g, 1 / scale, out=g)
        clip_coef = limit / (norm_of_all() + 1e-6)
        if clip_coef < 1:
            for g in grads:
                np.multiply(g, clip_coef, out=g)

    def clip_value(limit, scale):
        for g in grads:
            np.clip(g, -limit, limit, out=g)

    call = clip_value if case.job == "value" else clip_norm
    return lambda steps: seconds_per_call(call, steps)
