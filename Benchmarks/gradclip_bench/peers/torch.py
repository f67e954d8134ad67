"""torch.nn.utils, on its default (foreach) path."""

from __future__ import annotations

from time import perf_counter

import numpy as np
import torch

from . import seconds_per_call

NAME = "torch"


def version() -> str:
    return torch.__version__


def _tensor(array, dtype):
    if dtype == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def on_one_thread(arena, norm_type):
    """clip_grad_norm_ of gradients that need no clipping, and the norm alone."""
    parameters = _parameters([_tensor(array, arena.dtype) for array in arena.arrays])

    def timed(call):
        def run(calls):
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            start = perf_counter()
            for _ in range(calls):
                call().item()
            seconds = (perf_counter() - start) / calls
            torch.set_num_threads(threads)
            return seconds

        return run

    return {
        "torch": timed(lambda: torch.nn.utils.clip_grad_norm_(parameters, 1e300, norm_type)),
        "torch, norm alone": timed(lambda: torch.nn.utils.get_total_norm([p.grad for p in parameters], norm_type)),
    }


def _parameters(grads):
    parameters = []
    for grad in grads:
        # Never touched, so that it takes no memory.
        parameter = torch.nn.Parameter(torch.empty_like(grad))
        parameter.grad = grad
        parameters.append(parameter)
    return parameters


def prepare(workload, threads):
    torch.set_num_threads(threads)
    case, arena = workload.case, workload.arena
    grads = [_tensor(array, arena.dtype) for array in arena.arrays]
    parameters = _parameters(grads)

    def clip_norm(limit, scale):
        if scale != 1:
            torch._foreach_mul_(grads, 1 / scale)
        torch.nn.utils.clip_grad_norm_(parameters, limit, case.norm_type)

    def clip_value(limit, scale):
        torch.nn.utils.clip_grad_value_(parameters, limit)

    call = clip_value if case.job == "value" else clip_norm
    return lambda steps: seconds_per_call(call, steps)
