"""Gradient clipping by a norm that spans the ranks of torch process groups.

    from gradclip.torch.distributed import clip_grad_norm_
    norm = clip_grad_norm_(model.parameters(), max_norm=1.0)                # DTensors (fully_shard)
    norm = clip_grad_norm_(model.parameters(), max_norm=1.0, group=group)   # plain tensors, sharded

DTensors in CPU memory (fully_shard's CPUOffloadPolicy) need no import of this module:
gradclip.torch.clip_grad_norm_, and torch's own name under gradclip.torch.patch(), come here.

For gradients in CPU memory that are sharded over processes. The norm is that of all
shards together; for norm_type 1 and 2 over float32, float16 and bfloat16, and for
infinity, it has the bits of one call on the unsharded gradients, for any number of
ranks and any cut. One message of 192 bytes is sent (200 to a device mesh; a second one
of 16 for infinity, one of a kilobyte a rank for other orders and for float64), over any
backend that can sum int64, from the device that it serves: NCCL's sees the message on its
GPU, gloo's in CPU memory. All ranks decide alike, and where a gradient is not finite
all know the rank, the parameter and the element.

Gradients that DistributedDataParallel has averaged are the same on every rank, and need
none of this (a group would count them once for every rank): gradclip.torch.clip_grad_norm_ gives every rank the same bits.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from .._gradients.rows import Table
from .._gradients.types import NonFinitePolicy
from .._methods import ranks
from .._methods.accumulator import Accumulator
from .._native.call import Options
from .._native.errors import UnsupportedError
from .._norm import Norm
from ._clip import hold_parameters
from ._rows import (
    ForTorch,
    Gradients,
    Parameters,
    checked_names,
    gradients_in,
    look_at,
    parameters_of,
)

__all__ = ["clip_grad_norm_", "finish", "get_total_norm"]

Group: TypeAlias = dist.ProcessGroup | DeviceMesh | Sequence[dist.ProcessGroup]


def clip_grad_norm_(
    parameters: Parameters,
    max_norm: float,
    norm_type: float | str = 2.0,
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
            parallel, then pipeline parallel: two messages). None: the device meshes
            that the DTensors among the parameters lie on, each for its own, and the
            norms of all put together. Parameters beside them that are no DTensors must
            have the same gradients on all ranks then.
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
        ValueError: no group is given, and no parameter is a DTensor; or a device mesh has
            no process group.

    What torch.distributed raises for a rank that is gone is passed on; nothing was
    written then.
    """
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64)
    listed, own_names = parameters_of(parameters)
    names = own_names if names is None else names  # which a rank may have wrong: see _collected
    grads = [parameter.grad for parameter in listed]
    return _tensor(run(listed, grads, max_norm, options, group, uncounted, names, writes=True))


def get_total_norm(
    tensors: Parameters,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    group: Group | None = None,
    uncounted: Iterable[Tensor] = (),
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> Tensor:
    """The norm of the tensors of all ranks; nothing is written.

    Args:
        tensors: as for gradclip.torch.get_total_norm: the gradients themselves, not the
            parameters; of a model, an optimizer or param_groups their gradients. Those
            that are None are passed over.
        uncounted: those among tensors that another rank counts.
        The others: as for clip_grad_norm_.
    """
    options = Options(norm_type, error_if_nonfinite, 1e-6, nonfinite, grad_scale, exact_f64)
    listed, own_names = parameters_of(tensors)
    names = own_names if names is None else names
    grads = [owner.grad for owner in listed] if hold_parameters(tensors) else listed
    return _tensor(run(listed, grads, inf, options, group, uncounted, names, writes=False))


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
    return ranks.finish(_Groups(_groups(group)), accumulator, max_norm, error_if_nonfinite)


def run(
    owners: list[Any],
    grads: list[Any],
    max_norm: float,
    options: Options,
    group: Group | None,
    uncounted: Iterable[Tensor],
    names: Iterable[str] | None,
    writes: bool,
    refusal: Exception | None = None,
) -> Norm:
    """The norm of all ranks, with this one's gradients clipped if it `writes`. A `refusal` of
    this rank's arguments is told to all."""

    def collect() -> Gradients:
        if refusal is not None:
            raise refusal
        return _collected(owners, grads, uncounted, names, options.norm_type == 2)

    if group is not None:
        return ranks.clip(_Groups(_groups(group)), collect, max_norm, options, writes)
    meshes = _meshes(owners, grads)
    # One that another rank is on alone is refused where the others can hear of it.
    mine = [mesh for mesh in meshes if mesh.get_coordinate() is not None]

    def collect_all() -> ranks.OverMeshes:
        if len(mine) < len(meshes):
            other = next(mesh for mesh in meshes if mesh not in mine)
            raise ValueError(f"parameters lie on {other}, on which this rank is not")
        return _over(meshes, owners, grads, collect())

    transports = [_of_mesh(mesh, owners, grads) for mesh in mine]
    return ranks.clip_over_meshes(transports, collect_all, max_norm, options, writes)


def nonfinite_counts(owners: list[Any], grads: list[Any]) -> list[int]:
    """How many elements of each gradient are NaN or infinite, on all ranks together. All call it."""
    meshes = [mesh for mesh in _meshes(owners, grads) if mesh.get_coordinate() is not None]
    counts = [0] * len(grads)
    for mesh in (None, *meshes):
        words = (ctypes.c_int64 * len(grads))()
        for i, (owner, grad) in enumerate(zip(owners, grads)):
            if grad is None or _mesh_of(owner, grad) != mesh:
                continue
            if mesh is None or _counts(grad, i):
                words[i] = int((~torch.isfinite(grad if mesh is None else local_part(grad))).sum())
        if mesh is not None:
            _of_mesh(mesh, owners, grads).sum(words)
        counts = [before + here for before, here in zip(counts, words)]
    return counts


def _tensor(norm: Norm) -> Tensor:
    return torch.tensor(norm, dtype=torch.float64, device="cpu")


# --------------------------------------------------------------- what counts --


def _collected(
    owners: list[Any],
    grads: list[Any],
    uncounted: Iterable[Tensor],
    names: Iterable[str] | None,
    complex_too: bool,
) -> Gradients:
    listed_names = checked_names(names, len(owners))
    left_out = {id(owner) for owner in uncounted}
    unknown = left_out - {id(owner) for owner in owners}
    if unknown:
        raise ValueError(f"uncounted has {len(unknown)} tensors that are none of the parameters")
    shards: list[Any] = []
    is_counted = []
    for i, (owner, grad) in enumerate(zip(owners, grads)):
        counts = id(owner) not in left_out
        if isinstance(grad, DTensor):
            counts = counts and _counts(grad, i)
            grad = local_part(grad)
        shards.append(grad)
        is_counted.append(counts)
    gradients = look_at(gradients_in(shards), listed_names, complex_too, sparse_too=False)
    if isinstance(gradients, ForTorch):
        raise UnsupportedError(
            f"gradient {gradients.tensor} {gradients.what}: only what lies in CPU memory, one "
            "element in one place, can be clipped by a norm over several ranks"
        )
    pairs = zip(is_counted, gradients.row_at())
    rows = {row for counts, row in pairs if row is not None and not counts}
    gradients.table = gradients.table.without(rows)
    return gradients


def _over(
    meshes: list[DeviceMesh], owners: list[Any], grads: list[Any], gradients: Gradients
) -> ranks.OverMeshes:
    """Which rows belong to which mesh, and which to none."""
    of_row = [-1] * gradients.count
    for place, row in enumerate(gradients.row_at()):
        if row is None:
            continue
        mesh = _mesh_of(owners[place], grads[place])
        of_row[row] = -1 if mesh is None else meshes.index(mesh)

    def only(wanted: int) -> Table:
        others = (row for row, mesh in enumerate(of_row) if mesh != wanted)
        return gradients.table.without(others)

    return ranks.OverMeshes(
        gradients, [only(i) for i in range(len(meshes))], only(-1) if -1 in of_row else None
    )


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


def local_part(grad: DTensor) -> Tensor:
    """This rank's part, in the memory of the DTensor."""
    with torch.no_grad():
        local: Any = grad.to_local()
    # What a collective is still being waited for.
    wait = getattr(local, "wait", None)
    done: Tensor = local if wait is None else wait()
    return done


# ------------------------------------------------------------------- transport --


def _groups(group: Group) -> list[Any]:
    if isinstance(group, DeviceMesh):
        return [group.get_group(dimension) for dimension in range(group.ndim)]
    groups = [group] if isinstance(group, dist.ProcessGroup) else list(group)
    for i, one in enumerate(groups):
        if not isinstance(one, dist.ProcessGroup):
            raise TypeError(
                f"group[{i}] must be a process group that this rank is in (got {one!r})"
            )
    return groups


def _mesh_of(owner: Any, grad: Any) -> DeviceMesh | None:
    for tensor in (grad, owner):
        if isinstance(tensor, DTensor):
            return tensor.device_mesh
    return None


def _meshes(owners: list[Any], grads: list[Any]) -> list[DeviceMesh]:
    """The meshes of DTensors, in an order that no two ranks see differently: so none waits for
    the other. A parameter without a gradient here may have one on another rank of its mesh."""
    meshes = {_mesh_of(owner, grad) for owner, grad in zip(owners, grads)} - {None}
    if not meshes:
        raise ValueError(
            "group is needed: no parameter is a DTensor, and plain tensors do not say who has "
            "the rest. If every rank has all gradients, as after DistributedDataParallel, call "
            "gradclip.torch.clip_grad_norm_ instead, which needs no message; a group is for "
            "ranks that have different ones"
        )
    found: list[Any] = list(meshes)
    if len(found) > 1:
        found.sort(key=_place_of_mesh)
    return found


def _place_of_mesh(mesh: DeviceMesh) -> tuple[Any, ...]:
    return (mesh.mesh.flatten().tolist(), tuple(mesh.mesh.shape), mesh.mesh_dim_names or ())


def _of_mesh(mesh: DeviceMesh, owners: list[Any], grads: list[Any]) -> _Groups:
    try:
        return _Groups(_groups(mesh))
    except (RuntimeError, ValueError) as error:  # torch's own
        which = [_mesh_of(owner, grad) == mesh for owner, grad in zip(owners, grads)].index(True)
        raise ValueError(
            f"parameter {which} lies on {mesh}, which has no process group: {error}"
        ) from error


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
            with _told():
                dist.all_reduce(sent, operation, group=group)
            here.copy_(sent)

    def gather(self, block: bytes) -> list[bytes]:
        blocks = torch.frombuffer(bytearray(block), dtype=torch.uint8)[None]
        # The last group's ranks lie next to each other, as in a mesh.
        for group in reversed(self._groups):
            sent = blocks.to(_device(group))
            received = [torch.empty_like(sent) for _ in range(dist.get_world_size(group))]
            with _told():
                dist.all_gather(received, sent, group=group)
            blocks = torch.cat([row.cpu() for row in received])
        return [bytes(row.tolist()) for row in blocks]


@contextmanager
def _told() -> Iterator[None]:
    """What a backend says when the message fails, and what the message was."""
    try:
        yield
    except RuntimeError as error:
        error.add_note(
            "gradclip was putting together the norms of all ranks; no gradient was written. A rank "
            "may have ended, or have made another call: torch's own clip_grad_norm_, where "
            "gradclip.torch.patch() was not called on that rank"
        )
        raise


def _device(group: Any) -> torch.device:
    """Where the group's backend takes tensors from: gloo from the CPU, NCCL from its GPU."""
    served = [pair.partition(":")[0] for pair in dist.get_backend_config(group).split(",")]
    if "cpu" in served:
        return torch.device("cpu")
    accelerator = torch.accelerator.current_accelerator()
    kind = accelerator.type if accelerator is not None else served[0]
    module = getattr(torch, kind, None)
    return torch.device(kind, module.current_device() if module is not None else 0)
