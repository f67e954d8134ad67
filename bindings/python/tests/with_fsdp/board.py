"""board.py: an accelerator that is not there, and a process group that serves it alone.

PrivateUse1, torch's place for backends of others, is a device "board" whose memory is a tensor
on the CPU; collectives of what lies on it go over a gloo of their own. So a group without a
backend for the CPU ("board:gloo"), as NCCL's is, needs no GPU.
"""

import datetime
import warnings

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FakeWork
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend


class Board(torch.Tensor):
    """A tensor on the device "board"; what it holds is on the CPU."""

    @staticmethod
    def __new__(cls, held):
        made = torch._C._acc.create_empty_tensor(held.shape, held.dtype)
        made.__class__ = Board
        return made

    def __init__(self, held):
        self.held = held


def held(tensor):
    return tensor.held if isinstance(tensor, Board) else tensor


MESSAGES = []  # the device and the bytes of each that was reduced


def register():
    _setup_privateuseone_for_python_backend("board")

    def implement(name):
        return torch.library.impl(f"aten::{name}", "privateuseone")

    @implement("empty.memory_format")
    def _(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
        return Board(torch.empty(size, dtype=dtype))

    @implement("empty_strided")
    def _(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
        return Board(torch.empty_strided(size, stride, dtype=dtype))

    @implement("_copy_from")
    def _(source, target, non_blocking=False):
        held(target).copy_(held(source))
        return target

    @implement("_to_copy")
    def _(tensor, dtype=None, layout=None, device=None, pin_memory=None, non_blocking=False,
          memory_format=None):  # fmt: skip
        copy = held(tensor).clone()
        return Board(copy) if torch.device(device).type == "board" else copy

    wire = []  # made at the first message, when the store is there

    def gloo():
        if not wire:
            store = dist.PrefixStore("wire", dist.distributed_c10d._get_default_store())
            rank, size = dist.get_rank(), dist.get_world_size()
            wire.append(dist.ProcessGroupGloo(store, rank, size, datetime.timedelta(seconds=60)))
        return wire[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are such functions, which know no board

        @torch.library.impl("c10d::allreduce_", "privateuseone")
        def _(tensors, group, operation, sparse, is_async=False, timeout=-1):
            MESSAGES.extend((t.device.type, t.numel() * t.element_size()) for t in tensors)
            options = dist.AllreduceOptions()
            options.reduceOp = dist.ReduceOp(dist.ReduceOp.RedOpType(operation.op()))
            gloo().allreduce([held(tensor) for tensor in tensors], options).wait()
            return tensors, FakeWork().boxed()

        @torch.library.impl("c10d::allgather_", "privateuseone")
        def _(outputs, inputs, group, is_async=False, timeout=-1):
            rows = [[held(tensor) for tensor in row] for row in outputs]
            gloo().allgather(rows, [held(tensor) for tensor in inputs]).wait()
            return outputs, FakeWork().boxed()
