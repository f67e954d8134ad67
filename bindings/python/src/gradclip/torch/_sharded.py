"""DTensors in CPU memory: whether gradients are, and the functions of torch.nn.utils for them.

fully_shard with CPUOffloadPolicy leaves such gradients, and so does tensor parallelism on
the CPU. Their norm spans the ranks of their device meshes: gradclip.torch.distributed has it.
What decides here must be the same on every rank: types, devices and placements, no contents.
"""

from __future__ import annotations

import sys
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._native.call import Options
from .._native.errors import UnsupportedError
from ._rows import FLOAT32_MAX, ForTorch, Gradients, gradients_of, look_at

MODULE = "torch.distributed.tensor"
_WIDE = (torch.float64, torch.complex128)


def may_be(seen: Gradients | ForTorch) -> bool:
    """Whether it is worth a look at the tensors: none of many plain gradients is a DTensor."""
    return _dtensor() is not None and (isinstance(seen, ForTorch) or seen.place_of is not None)


def are_in_memory(owners: list[Any], grads: list[Any]) -> bool:
    """Whether there are DTensors among owners or their gradients, all of them is in CPU memory,
    and nothing is a partial sum."""
    tensors = [own if grad is None else grad for own, grad in zip(owners, grads)]
    found = False
    for tensor in tensors:
        if tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return False
        if is_dtensor(tensor):
            found = True
            if any(placement.is_partial() for placement in tensor.placements):
                return False
    return found


def is_dtensor(tensor: Any) -> bool:
    kind = _dtensor()
    return kind is not None and isinstance(tensor, kind)


def _dtensor() -> Any:
    """DTensor, if the program has it: its import takes long."""
    return getattr(sys.modules.get(MODULE), "DTensor", None)


class Part(NamedTuple):
    """What stands for a parameter that is a DTensor: this rank's part of its gradient."""

    grad: Tensor | None


def local_parts(
    parameters: list[Any], seen: ForTorch, complex_too: bool = True
) -> tuple[list[Any], Gradients | ForTorch]:
    """This rank's parts, for what needs no word of other ranks; what was seen if that is no way."""
    grads = [parameter.grad for parameter in parameters]
    if not may_be(seen) or not are_in_memory(parameters, grads):
        return parameters, seen
    from .distributed import local_part

    parts = [Part(local_part(grad) if is_dtensor(grad) else grad) for grad in grads]
    found = look_at(gradients_of(parts), complex_too=complex_too, sparse_too=False)
    return parts, found


def clip_grad_norm_(
    parameters: list[Any],
    grads: list[Any],
    max_norm: Any,
    options: Options,
    names: list[str] | None,
) -> Tensor:
    from .distributed import run

    if hasattr(max_norm, "feed"):
        raise UnsupportedError(
            f"max_norm must be a number for DTensors: their norm spans ranks (got {max_norm!r})"
        )
    options = options.but(exact_f64=True)
    norm = run(parameters, grads, float(max_norm), options, None, (), names, writes=True)
    return _as_tensor(norm, parameters)


def get_total_norm(tensors: list[Any], options: Options, names: list[str] | None) -> Tensor:
    from .distributed import run

    norm = run(tensors, tensors, inf, options.but(exact_f64=True), None, (), names, writes=False)
    return _as_tensor(norm, tensors)


def _as_tensor(norm: float, owners: list[Any]) -> Tensor:
    # Of parameters, which all ranks of a mesh have: not all may have a gradient.
    wide = any(owner.dtype in _WIDE for owner in owners) or FLOAT32_MAX < norm < inf
    return torch.tensor(norm, dtype=torch.float64 if wide else torch.float32, device="cpu")
