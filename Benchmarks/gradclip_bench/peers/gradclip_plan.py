"""gradclip, called from Python with a plan."""

from __future__ import annotations

import gradclip

from . import seconds_per_call
from ._gradclip_arrays import arrays
from .gradclip_c import version as version

NAME = "gradclip Plan"


def prepare(workload, threads):
    plan = gradclip.Plan(arrays(workload))
    p = workload.case.norm_type

    def clip_norm(limit, scale):
        plan.clip_grad_norm_(limit, p, grad_scale=scale)

    def clip_value(limit, scale):
        plan.clip_grad_value_(limit)

    call = clip_value if workload.case.job == "value" else clip_norm
    return lambda steps: seconds_per_call(call, steps)
