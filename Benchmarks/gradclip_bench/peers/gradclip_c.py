"""gradclip, called from C."""

from __future__ import annotations

from .. import driver
from ..workload import SHRINK

NAME = "gradclip"


def version() -> str:
    from gradclip import __version__

    return f"{__version__}, {driver.isa()} kernels"


def prepare(workload, threads):
    case, tensors = workload.case, workload.arena.tensors
    options = driver.options(threads)

    def clip_norm(steps):
        seconds, norm = driver.clip_grad_norm(tensors, case.norm_type, options, steps.limits, steps.scales, case.writes)
        # The peer before may have left another norm than it was told: torch's is off
        # by a part in a thousand for GPT-2.
        expected = steps.limits[-1] / (SHRINK if case.clips else 10)
        if abs(norm / expected - 1) > 0.02:
            raise driver.NotMeasuredError(f"{case.name}: total_norm {norm}, expected {expected}")
        return seconds

    def clip_value(steps):
        return driver.clip_grad_value(tensors, options, steps.limits)

    return clip_value if case.job == "value" else clip_norm
