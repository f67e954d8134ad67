"""torchrun --nproc-per-node 2 without_patch.py: rank 1 lacks gradclip.torch.patch(). Its call of torch's own function
and rank 0's do not fit together, and gloo ends both; rank 0 is told what may be the cause."""

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
from torch.nn import utils

import gradclip.torch

torch.set_num_threads(1)
dist.init_process_group("gloo")
torch.manual_seed(0)
model = torch.nn.Linear(8, 4)
policy = CPUOffloadPolicy(pin_memory=False)
fully_shard(model, mesh=init_device_mesh("cpu", (2,)), offload_policy=policy)
if dist.get_rank() == 0:
    gradclip.torch.patch()
model(torch.ones(3, 8)).square().mean().backward()
before = [parameter.grad.to_local().clone() for parameter in model.parameters()]
try:
    utils.clip_grad_norm_(model.parameters(), 1e-3)
except RuntimeError as error:
    same = all(torch.equal(p.grad.to_local(), b) for p, b in zip(model.parameters(), before))
    told = " ".join(getattr(error, "__notes__", [])) or error
    print(f"rank {dist.get_rank()}, gradients as before: {same}: {told}", flush=True)
    raise
