"""Gradient clipping by a norm that spans the ranks of an MPI communicator, with mpi4py.

    from mpi4py import MPI
    import gradclip.mpi
    norm = gradclip.mpi.clip_grad_norm_(shards, max_norm=1.0, comm=MPI.COMM_WORLD)

Every rank of the communicator makes the call, with its own shards (none, if it has
none) and the same max_norm, norm_type and options. What differs from gradclip's own
functions is that the norm is that of all shards together: for norm_type 1 and 2 over
float32, float16 and bfloat16 (float64 with exact_f64), and for infinity, it has the bits
of one call on everything, for any number of ranks and any cut. One small message is
sent, and all ranks decide alike: see gradclip_mpi.h, which does the same in C, and
docs/scaling.md.

Gradients that data parallelism has averaged already are the same on every rank: they
have one norm without a message, gradclip.clip_grad_norm_.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from math import inf
from typing import Any

from mpi4py import MPI

from ._gradients.rows import Tensors
from ._gradients.tree import flatten
from ._gradients.types import Grads, NonFinitePolicy
from ._methods import ranks
from ._methods.accumulator import Accumulator
from ._native.call import Options
from ._norm import Norm

__all__ = ["clip_grad_norm_", "defer_clip", "finish", "get_total_norm"]


def clip_grad_norm_(
    grads: Grads,
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    comm: MPI.Comm = MPI.COMM_WORLD,
    uncounted: Grads = None,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> Norm:
    """Scales this rank's gradients in place by the norm of the gradients of all ranks.

    Args:
        grads: this rank's shards; arrays as for gradclip.clip_grad_norm_.
        comm: the ranks whose gradients have one norm, an mpi4py communicator.
        uncounted: arrays among grads that another rank counts (what tensor
            parallelism keeps on every rank, tied weights): they are scaled with the
            rest, but neither counted nor inspected here.

    The other arguments, and what is returned, are as for gradclip.clip_grad_norm_; of
    the result's .nonfinite, rank is the lowest rank of comm with a NaN or an infinity,
    and the rest says where it is there. norm_type 0 counts every shard as a gradient.

    Raises:
        InvalidArgumentError: on every rank, if they do not agree on max_norm,
            norm_type and options, or if one was refused its call; that rank
            raises what is wrong. No gradient is written then.
        NonFiniteGradientError: on every rank, see error_if_nonfinite.

    >>> import array
    >>> clip_grad_norm_([array.array("f", [3.0, 4.0])], max_norm=1.0, comm=MPI.COMM_SELF)
    5.0
    """
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64)
    return _run(grads, max_norm, options, comm, uncounted, names, writes=True)


def defer_clip(
    grads: Grads,
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    comm: MPI.Comm = MPI.COMM_WORLD,
    uncounted: Grads = None,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> Norm:
    """Everything of clip_grad_norm_ but the write: multiply by .factor of the result."""
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64)
    return _run(grads, max_norm, options, comm, uncounted, names, writes=False)


def get_total_norm(
    grads: Grads,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    comm: MPI.Comm = MPI.COMM_WORLD,
    uncounted: Grads = None,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> Norm:
    """The norm of the gradients of all ranks; nothing is written."""
    options = Options(norm_type, error_if_nonfinite, 1e-6, nonfinite, grad_scale, exact_f64)
    return _run(grads, inf, options, comm, uncounted, names, writes=False)


def finish(
    accumulator: Accumulator,
    max_norm: float = inf,
    error_if_nonfinite: bool = False,
    *,
    comm: MPI.Comm = MPI.COMM_WORLD,
) -> Norm:
    """What accumulator.finish() returns, for what the accumulators of all ranks hold.

    Each rank adds its shards to an accumulator as the backward pass makes them; then
    only the message is left to wait for. The accumulators stay as they are.
    """
    return ranks.finish(_Comm(comm), accumulator, max_norm, error_if_nonfinite)


class _Rows(Tensors):
    __slots__ = ()

    def leave_out(self, uncounted: Grads) -> None:
        rows = []
        place_of = {id(array): i for i, array in enumerate(self.arrays)}
        for i, array in enumerate(flatten(uncounted).leaves):
            if array is None:
                continue
            if id(array) not in place_of:
                raise ValueError(f"uncounted[{i}] is none of the arrays in grads")
            place = place_of[id(array)]
            rows.append(self.row(place))
        self.table = self.table.without(rows)


def _run(
    grads: Grads,
    max_norm: float,
    options: Options,
    comm: Any,
    uncounted: Grads,
    names: Iterable[str] | None,
    writes: bool,
) -> Norm:
    def collect() -> _Rows:
        rows = _Rows(grads, names, writable=writes)
        if uncounted is not None:
            rows.leave_out(uncounted)
        return rows

    return ranks.clip(_Comm(comm), collect, max_norm, options, writes)


class _Comm:
    """An MPI communicator as a transport."""

    def __init__(self, comm: Any) -> None:
        if not isinstance(comm, MPI.Comm):
            raise TypeError(f"comm must be an mpi4py communicator (got {comm!r})")
        self.comm = comm
        self.rank: int = comm.Get_rank()

    def sum(self, words: ctypes.Array[ctypes.c_int64]) -> None:
        self.comm.Allreduce(MPI.IN_PLACE, [words, MPI.INT64_T], op=MPI.SUM)

    def max(self, words: ctypes.Array[ctypes.c_int64]) -> None:
        self.comm.Allreduce(MPI.IN_PLACE, [words, MPI.INT64_T], op=MPI.MAX)

    def gather(self, block: bytes) -> list[bytes]:
        size = len(block)
        blocks = bytearray(size * self.comm.Get_size())
        self.comm.Allgather([block, MPI.BYTE], [blocks, MPI.BYTE])
        return [bytes(blocks[i : i + size]) for i in range(0, len(blocks), size)]
