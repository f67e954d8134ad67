"""torch.nn.utils, on its default (foreach) path."""

from __future__ import annotations

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


def prepare(workload, threads):
    torch.set_num_threads(threads)
    case, arena = workload.case, workload.arena
    grads = [_tensor(array, arena.dtype) for array in arena.arrays]
    parameters = []
    for grad in grads:
        # Never touched, so that it takes no memory.
        parameter = torch.nn.Parameter(torch.empty_like(grad))
        parameter.grad = grad
        parameters.append(parameter)

    def clip_norm(limit, scale):
        if scale != 1:
            torch._foreach_mul_(grads, 1 / scale)
        torch.nn.utils.clip_grad_norm_(parameters, limit, case.norm_type)

    def clip_value(limit, scale):
        torch.nn.utils.clip_grad_value_(parameters, limit)

    call = clip_value if case.job == "value" else clip_norm
    return lambda steps: seconds_per_call(call, steps)
