"""gradclip, called from Python with a list of NumPy arrays."""

from __future__ import annotations

import gradclip

from . import seconds_per_call
from ._gradclip_arrays import arrays
from .gradclip_c import version as version

NAME = "gradclip Python"


def prepare(workload, threads):
    grads = arrays(workload)
    p = workload.case.norm_type

    def clip_norm(limit, scale):
        gradclip.clip_grad_norm_(grads, limit, p, grad_scale=scale)

    def clip_value(limit, scale):
        gradclip.clip_grad_value_(grads, limit)

    call = clip_value if workload.case.job == "value" else clip_norm
    return lambda steps: seconds_per_call(call, steps)
