"""torchrun --nproc-per-node N without_cpu.py: gradients in CPU memory, and a group that serves
an accelerator only, as fully_shard with CPUOffloadPolicy has over NCCL.

torch's own function dies; under the patch the message goes by the device of the group.
"""

import math
import os

import torch
import torch.distributed as dist
from board import MESSAGES, register
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta
from torch.nn import utils

import gradclip
import gradclip.torch

torch.set_num_threads(1)
register()
dist.init_process_group("board:gloo")
RANK, RANKS = dist.get_rank(), dist.get_world_size()


def offloaded(whole, mesh):
    """A parameter and its gradient as FSDP makes them: on a mesh of the accelerator, in CPU memory."""
    chunks = whole.chunk(RANKS)
    part = chunks[RANK].clone() if RANK < len(chunks) else whole[:0].clone()
    meta = TensorMeta(whole.shape, whole.stride(), whole.dtype)
    spec = DTensorSpec(mesh, (Shard(0),), tensor_meta=meta)
    parameter = torch.nn.Parameter(DTensor(torch.zeros_like(part), spec, requires_grad=False))
    parameter.grad = DTensor(part, spec, requires_grad=False)
    return parameter, part


mesh = init_device_mesh("board", (RANKS,))
generator = torch.Generator().manual_seed(3)
whole = [torch.randn(5, 4, generator=generator), torch.randn(9, generator=generator)]
pairs = [offloaded(grad, mesh) for grad in whole]
parameters, parts = [list(column) for column in zip(*pairs)]
before = [part.clone() for part in parts]

try:
    utils.clip_grad_norm_(parameters, 0.5)
except RuntimeError as error:
    assert "No backend type associated with device type cpu" in str(error), error
else:
    assert RANKS == 1, "torch can do it now: tell docs/scaling.md"
for part, old in zip(parts, before):  # what its dying call did to them
    part.copy_(old)

references = [torch.nn.Parameter(torch.zeros_like(grad)) for grad in whole]
for reference, grad in zip(references, whole):
    reference.grad = grad.clone()
expected = gradclip.torch.clip_grad_norm_(references, 0.5)
with gradclip.torch.patch():
    for p in (1.0, 2.0, math.inf, 3.0):
        norm = utils.get_total_norm([parameter.grad for parameter in parameters], p)
        torch.testing.assert_close(norm, gradclip.torch.get_total_norm(whole, p))
    MESSAGES.clear()
    norm = utils.clip_grad_norm_(parameters, 0.5)
assert MESSAGES == [("board", 200)], MESSAGES
assert norm.equal(expected) and norm > 0.5
for part, reference in zip(parts, references):
    chunks = reference.grad.chunk(RANKS)
    assert part.equal(chunks[RANK] if RANK < len(chunks) else reference.grad[:0])
if RANK == 1:
    parts[0].fill_(math.nan)
try:
    gradclip.torch.clip_grad_norm_(parameters, 0.5, error_if_nonfinite=True, names=["w", "b"])
except gradclip.NonFiniteGradientError as error:
    assert error.nonfinite.name == "w" and error.nonfinite.rank == 1
else:
    assert RANKS == 1, "a NaN was not noticed"
if RANK == 0:
    print(
        f"a group without a CPU backend, {RANKS} ranks: torch dies, gradclip.torch clips",
        flush=True,
    )
os._exit(0)
