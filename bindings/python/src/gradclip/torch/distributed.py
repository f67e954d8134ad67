"""Gradient clipping by a norm that spans the ranks of torch process groups.

    from gradclip.torch.distributed import clip_grad_norm_
    norm = clip_grad_norm_(model.parameters(), max_norm=1.0)                # DTensors (fully_shard)
    norm = clip_grad_norm_(model.parameters(), max_norm=1.0, group=group)   # plain tensors, sharded

For gradients in CPU memory that are sharded over processes. The norm is that of all
shards together; for norm_type 1 and 2 over float32, float16 and bfloat16, and for
infinity, it has the bits of one call on the unsharded gradients, for any number of
ranks and any cut. One message of 192 bytes is sent (a second one of 16 for infinity;
one of a kilobyte a rank for other orders and for float64), over gloo or any other
backend that can sum int64. All ranks decide alike, and where a gradient is not finite
all know the rank, the parameter and the element.

Gradients that DistributedDataParallel has averaged are the same on every rank, and need
none of this: gradclip.torch.clip_grad_norm_ gives every rank the same bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from .._gradients.types import NonFinitePolicy
from .._methods import ranks
from .._methods.accumulator import Accumulator
from .._native.errors import UnsupportedError
from .._norm import Norm
from . import _whole
from ._clip import TensorOrTensors
from ._rows import ForTorch, Gradients, checked_names, gradients_in, look_at

__all__ = ["clip_grad_norm_", "finish", "get_total_norm"]

Group: TypeAlias = "dist.ProcessGroup | DeviceMesh | Sequence[dist.ProcessGroup]"


def clip_grad_norm_(
    parameters: TensorOrTensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    *,
    group: Group | None = None,
    uncounted: Iterable[Tensor] = (),
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> Tensor:
    """Scales this rank's gradients in place so that the norm of those of all ranks is at
    most max_norm. Every rank of the group makes the call, with the same arguments but for
    its own parameters.

    Args:
        parameters: a parameter, or any iterable of parameters, on this rank. Those
            whose .grad is None are passed over.
        group: the ranks whose gradients have one norm. A process group; a device mesh;
            or several groups in turn, when the ranks are their product (tensor
            parallel, then pipeline parallel: two messages). None: the mesh that the
            parameters lie on, if all are DTensors on one mesh.
        uncounted: parameters that another rank counts: they are scaled here, but
            neither counted nor inspected. DTensors need not be named: of them it is
            known.
        norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, names: as for
            gradclip.torch.clip_grad_norm_, but error_if_nonfinite raises for
            every NaN or infinity, whatever the norm.
        exact_f64: sum float64 gradients exactly too (norm_type 1 and 2), so that their
            norm does not depend on the cut either.

    What counts: a plain tensor on every rank of the group that has it, unless it is
    among uncounted. A DTensor's shard on its rank; along dimensions of its mesh
    where it is replicated, on the first rank only. A DTensor that is a partial sum is refused.

    Returns:
        The norm before clipping: always float64, so that it is the same on every rank,
        whatever gradients that has.

    Raises:
        InvalidArgumentError: on every rank, if they do not agree on max_norm,
            norm_type and options, or if one was refused its call; that rank raises
            what is wrong. No gradient is written then.
        NonFiniteGradientError: on every rank, see error_if_nonfinite.
        UnsupportedError: a gradient is not in CPU memory.

    What torch.distributed raises for a rank that is gone is passed on; nothing was
    written then.
    """
    settings = ranks.Settings(
        float(max_norm), float(norm_type), error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64
    )
    norm, gradients = _run(parameters, settings, group, uncounted, names, writes=True)
    if _whole.has_written(norm, nonfinite, grad_scale):
        gradients.written()
    return _tensor(norm)


def get_total_norm(
    parameters: TensorOrTensors,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    *,
    group: Group | None = None,
    uncounted: Iterable[Tensor] = (),
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> Tensor:
    """The norm of the gradients of all ranks' parameters; nothing is written.

    Unlike torch.nn.utils.get_total_norm it takes parameters, not gradients.
    """
    settings = ranks.Settings(
        inf, float(norm_type), error_if_nonfinite, 1e-6, nonfinite, grad_scale, exact_f64
    )
    norm, _ = _run(parameters, settings, group, uncounted, names, writes=False)
    return _tensor(norm)


def finish(
    accumulator: Accumulator,
    max_norm: float = inf,
    error_if_nonfinite: bool = False,
    *,
    group: Group,
) -> Norm:
    """What accumulator.finish() returns, for what the accumulators of all ranks hold.

    Each rank adds its gradients (as NumPy arrays: grad.numpy()) to an accumulator as the
    backward pass makes them; then only the message is left to wait for. The accumulators
    stay as they are.
    """
    return ranks.finish(_Groups(_groups(group, [])), accumulator, max_norm, error_if_nonfinite)


def _run(
    parameters: TensorOrTensors,
    settings: ranks.Settings,
    group: Group | None,
    uncounted: Iterable[Tensor],
    names: Iterable[str] | None,
    writes: bool,
) -> tuple[Norm, Gradients]:
    listed: list[Any] = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    transport = _Groups(_groups(group, listed))
    seen: list[Gradients] = []

    def collect() -> Gradients:
        seen.append(_collected(listed, uncounted, names, settings.norm_type == 2))
        return seen[0]

    norm, _ = ranks.clip(transport, collect, settings, writes)
    return norm, seen[0]


def _tensor(norm: Norm) -> Tensor:
    return torch.tensor(norm, dtype=torch.float64, device="cpu")


# --------------------------------------------------------------- what counts --


def _collected(
    parameters: list[Any],
    uncounted: Iterable[Tensor],
    names: Iterable[str] | None,
    complex_too: bool,
) -> Gradients:
    listed_names = checked_names(names, len(parameters))
    left_out = {id(parameter) for parameter in uncounted}
    unknown = left_out - {id(parameter) for parameter in parameters}
    if unknown:
        raise ValueError(f"uncounted has {len(unknown)} tensors that are none of the parameters")
    shards: list[Any] = []
    is_counted = []
    for i, parameter in enumerate(parameters):
        grad = parameter.grad
        counts = id(parameter) not in left_out
        if isinstance(grad, DTensor):
            counts = counts and _counts(grad, i)
            grad = _local(grad)
        shards.append(grad)
        is_counted.append(counts)
    gradients = look_at(gradients_in(shards), listed_names, complex_too)
    if isinstance(gradients, ForTorch):
        raise UnsupportedError(
            f"gradient {gradients.tensor} {gradients.what}: only what lies in CPU memory, one "
            "element in one place, can be clipped by a norm over several ranks"
        )
    rows = set()
    for i in range(len(gradients.tensors)):
        if not is_counted[i if gradients.place_of is None else gradients.place_of[i]]:
            rows.add(i if gradients.row_of is None else gradients.row_of[i])
    gradients.table = ranks.without(gradients.table, rows)
    return gradients


def _counts(grad: DTensor, i: int) -> bool:
    """Whether this rank counts its part of a DTensor: of replicas the first rank does."""
    coordinate = grad.device_mesh.get_coordinate()
    for dimension, placement in enumerate(grad.placements):
        if placement.is_partial():
            raise ValueError(
                f"gradient {i} is a DTensor with the placement {placement}: a partial sum has "
                "no norm of its own; redistribute it first"
            )
        if placement.is_replicate() and (coordinate is None or coordinate[dimension] != 0):
            return False
    return True


def _local(grad: DTensor) -> Tensor:
    """This rank's part, in the memory of the DTensor."""
    with torch.no_grad():
        local: Any = grad.to_local()
    # What a collective is still being waited for.
    wait = getattr(local, "wait", None)
    done: Tensor = local if wait is None else wait()
    return done


# ------------------------------------------------------------------- transport --


def _groups(group: Group | None, parameters: list[Any]) -> list[Any]:
    if group is None:
        meshes = {p.device_mesh for p in parameters if isinstance(p, DTensor)}
        if len(meshes) != 1:
            raise ValueError(
                "group is needed: "
                + (
                    f"the parameters lie on {len(meshes)} device meshes"
                    if meshes
                    else "no parameter is a DTensor, and plain tensors do not say who has the rest"
                )
            )
        for i, parameter in enumerate(parameters):
            if not isinstance(parameter, DTensor):
                raise ValueError(
                    f"group is needed: parameter {i} is no DTensor, as others are, so it is not "
                    "known who has a part of it (and who a copy: see uncounted)"
                )
        group = meshes.pop()
    if isinstance(group, DeviceMesh):
        return [group.get_group(dimension) for dimension in range(group.ndim)]
    groups = [group] if isinstance(group, dist.ProcessGroup) else list(group)
    for i, one in enumerate(groups):
        if not isinstance(one, dist.ProcessGroup):
            raise TypeError(
                f"group[{i}] must be a process group that this rank is in (got {one!r})"
            )
    return groups


class _Groups:
    """One process group, or several one after the other, as a transport."""

    def __init__(self, groups: list[Any]) -> None:
        self._groups = groups
        self.rank = dist.get_rank()

    def sum(self, words: ctypes.Array[ctypes.c_int64]) -> None:
        self._all_reduce(words, dist.ReduceOp.SUM)

    def max(self, words: ctypes.Array[ctypes.c_int64]) -> None:
        self._all_reduce(words, dist.ReduceOp.MAX)

    def _all_reduce(self, words: ctypes.Array[ctypes.c_int64], operation: Any) -> None:
        here = torch.frombuffer(words, dtype=torch.int64)
        for group in self._groups:
            sent = here.to(_device(group))
            dist.all_reduce(sent, operation, group=group)
            here.copy_(sent)

    def gather(self, block: bytes) -> list[bytes]:
        blocks = torch.frombuffer(bytearray(block), dtype=torch.uint8)[None]
        # The last group's ranks lie next to each other, as in a mesh.
        for group in reversed(self._groups):
            sent = blocks.to(_device(group))
            received = [torch.empty_like(sent) for _ in range(dist.get_world_size(group))]
            dist.all_gather(received, sent, group=group)
            blocks = torch.cat(received).cpu()
        return [bytes(row.tolist()) for row in blocks]


def _device(group: Any) -> torch.device:
    """Where the group's backend takes tensors from: gloo from the CPU, NCCL from its GPU."""
    backends = dist.get_backend_config(group)
    if "cpu:" in backends:
        return torch.device("cpu")
    device = torch.accelerator.current_accelerator()
    if device is None:
        return torch.device("cpu")
    return torch.device(device.type, torch.accelerator.current_device_index())
