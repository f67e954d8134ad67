"""The exact norm in DeepSpeed's ZeRO-Offload (stages 1 and 2, the optimizer on the CPU).

    import gradclip.deepspeed
    gradclip.deepspeed.patch()      # before the first step

DeepSpeed adds up float32 norms of parameters, one .item() each, and multiplies all gradients
even where the factor is 1. With the patch the norm is the true one over all ranks, correctly
rounded to float64, whatever the partition; and gradients are written only where the factor is
not 1. All else is DeepSpeed's: loss scaling, overflow, the step.
"""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version
from math import isfinite, prod
from typing import Any

import torch
import torch.distributed as dist

from ._methods import ranks
from ._native.call import Options
from ._rebinding import Place, Rebinding, takes
from .torch._rows import ForTorch, gradients_in, look_at
from .torch.distributed import _Groups

__all__ = ["VERSIONS", "patch"]

VERSIONS = ("0.19.8",)
"""The versions of DeepSpeed that patch() knows: it was tested with each."""

# What is replaced, and what it takes there.
_METHODS = {
    "scaled_global_norm": ("self", "norm_type"),
    "unscale_and_clip_grads": ("self", "grad_groups_flat", "total_norm"),
    "set_norm_for_param_grad": ("self", "param"),
    "set_norm_for_param_grad_in_gpu": ("self", "param"),
}


def patch() -> Rebinding:
    """Puts the exact norm into DeepSpeedZeroOptimizer, for all engines of this process.

    An engine whose optimizer is not offloaded, that has mixture-of-experts layers or a Muon
    optimizer keeps DeepSpeed's own norm. Every rank must make the call. Where one has not, each
    step fails on every rank before anything is written: a RuntimeError says how many have; a
    rank without the call has DeepSpeed's TypeError about a complex number. (If that rank's squares
    overflow float32 it skips the step instead, as DeepSpeed does.) Between the backward pass and
    the step nothing may be undone. Stage 3 is not touched.

    Returns:
        What was done; its undo(), or leaving it as a context manager, takes it back.

    Raises:
        ImportError: there is no deepspeed, or it is of a version that is not in VERSIONS.
            Nothing was changed then.
    """
    try:
        found = version("deepspeed")
    except PackageNotFoundError:
        raise ImportError("gradclip.deepspeed.patch() needs the package deepspeed") from None
    if found not in VERSIONS:
        raise ImportError(
            f"deepspeed {found} is not known to gradclip.deepspeed, which knows "
            f"{', '.join(VERSIONS)}; nothing was changed"
        )
    from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

    for name, arguments in _METHODS.items():
        has = takes(getattr(DeepSpeedZeroOptimizer, name))
        if has != arguments:
            raise ImportError(
                f"deepspeed {found} is not as gradclip.deepspeed knows it: {name} takes "
                f"({', '.join(has)}); nothing was changed"
            )
    ours = {"unscale_and_clip_grads": _unscale_and_clip_grads}
    for name, covered in (
        ("scaled_global_norm", _scaled_global_norm),
        ("set_norm_for_param_grad", _took_part),
        ("set_norm_for_param_grad_in_gpu", _took_part),
    ):
        ours[name] = _where_covered(covered, getattr(DeepSpeedZeroOptimizer, name))
    return Rebinding(
        [Place(DeepSpeedZeroOptimizer, name, function) for name, function in ours.items()],
        "gradclip.deepspeed.patch",
    )


def _where_covered(ours: Any, theirs: Any) -> Any:
    @functools.wraps(theirs)
    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return (ours if _is_covered(self) else theirs)(self, *arguments, **named)

    return method


def _is_covered(optimizer: Any) -> bool:
    return bool(
        optimizer.cpu_offload
        and not optimizer.has_moe_layers
        and not getattr(optimizer, "use_muon", False)
    )


class _TookPart:
    """Stands for the norm of a parameter that has a gradient: it is taken with all others'."""

    def item(self) -> float:
        raise RuntimeError(
            "gradclip.deepspeed.patch() was undone between the backward pass and the step; "
            "nothing was written"
        )


def _took_part(optimizer: Any, param: Any) -> None:
    optimizer.norm_for_param_grads[optimizer.get_param_id(param)] = _TookPart()


def _scaled_global_norm(optimizer: Any, norm_type: float = 2) -> torch.Tensor:
    """The norm of the offloaded gradients of all ranks, still multiplied by the loss scale;
    infinite if they are not finite, as DeepSpeed has it."""
    from deepspeed.runtime.utils import is_model_parallel_parameter

    assert norm_type == 2, "only L2 norm supported"

    def collect() -> Any:
        pieces = []
        for i, partition in enumerate(optimizer.single_partition_of_fp32_groups):
            flat = partition.grad.view(-1)
            for parameter in optimizer.params_in_partition[i]:
                if getattr(parameter, "ds_pipe_replicated", False):
                    continue
                counts = (
                    is_model_parallel_parameter(parameter) or optimizer.model_parallel_rank == 0
                )
                number = optimizer.get_param_id(parameter)
                if not counts or number not in optimizer.norm_for_param_grads:
                    _used(optimizer, number)
                    continue
                _, _, start, length = optimizer.grad_position[number]
                pieces.append(flat.narrow(0, start, length))
        rows = look_at(gradients_in(pieces), None)
        if isinstance(rows, ForTorch):
            raise TypeError(f"offloaded gradient {rows.tensor} {rows.what}")
        return rows

    groups = _Ranks(optimizer)
    groups.confirm()
    norm = ranks.clip(groups, collect, float("inf"), Options(), writes=False)
    value = float(norm) if isfinite(norm) else float("inf")
    return torch.tensor(value, dtype=torch.float64, device=optimizer.device)


def _used(optimizer: Any, number: int) -> None:
    if number not in optimizer.norm_for_param_grads and not optimizer.ignore_unused_parameters:
        raise AssertionError(
            "a parameter took no part in the loss: set ignore_unused_parameters in "
            "zero_optimization, or make all trainable parameters take part"
        )


class _Ranks(_Groups):
    """The ranks that share the gradients: data parallel ones, then model parallel ones."""

    def __init__(self, optimizer: Any) -> None:
        groups = [optimizer.dp_process_group]
        model = optimizer.model_parallel_group
        if model is not None and dist.get_world_size(group=model) > 1:
            groups.append(model)
        super().__init__(groups)

    def confirm(self) -> None:
        """Makes sure that patch() was called on every rank: one without would never answer.

        The messages are those that DeepSpeed's own norm begins with: the sum of squares, one
        float32. A large negative number stands for a rank. Where all send it, the sum is that
        many times it. Whoever takes the root, as DeepSpeed does, gets a complex number, which is
        its error.
        """
        from deepspeed.accelerator import get_accelerator

        ranks = prod(dist.get_world_size(group) for group in self._groups)
        # The largest power of 2 whose sum float32 holds: squares of gradients are smaller.
        here = -(2.0 ** (127 - ranks.bit_length()))
        told = get_accelerator().FloatTensor([here])
        for group in self._groups:
            dist.all_reduce(told, group=group)
        if float(told) != ranks * here:
            share = float(told) / here
            count = f"{share:.0f}" if 0.5 < share < ranks - 0.5 else "not all"
            raise RuntimeError(
                f"gradclip.deepspeed.patch() was called on {count} of {ranks} ranks, and is "
                "needed on each; nothing was written"
            )


def _unscale_and_clip_grads(self: Any, grad_groups_flat: Any, total_norm: Any) -> None:
    scale = float(self.loss_scale)
    if self.clip_grad > 0.0:
        norm = float(total_norm)
        if not isfinite(norm) or norm < 0:  # a direct caller's: step() has skipped it
            norm = float("inf")
        scale *= max(1.0, (norm / scale + 1e-6) / self.clip_grad)
    if scale == 1.0:
        return
    for grad in grad_groups_flat:
        for piece in grad if isinstance(grad, list) else [grad]:
            piece.data.mul_(1.0 / scale)
