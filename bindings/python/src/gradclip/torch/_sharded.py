"""DTensors in CPU memory: whether gradients are, and the functions of torch.nn.utils for them.

fully_shard with CPUOffloadPolicy leaves such gradients, and so does tensor parallelism on
the CPU. Their norm spans the ranks of their device meshes: gradclip.torch.distributed has it;
here it serves clip_grad_norm_ and get_total_norm, choosers, Monitor, Plan and clip_and_step.
What decides here must be the same on every rank: types, devices and placements, no contents.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import inf
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._choosers.chooser import checked_chooser, decide
from .._methods.whole import scale
from .._monitor.recorder import Work
from .._native.call import Options
from .._native.errors import UnsupportedError
from .._norm import Norm
from ._rows import FLOAT32_MAX, ForTorch, Gradients, gradients_of, look_at

MODULE = "torch.distributed.tensor"
_WIDE = (torch.float64, torch.complex128)


def may_be(seen: Gradients | ForTorch) -> bool:
    """Whether it is worth a look at the tensors: none of many plain gradients is a DTensor."""
    return (isinstance(seen, ForTorch) or seen.place_of is not None) and _dtensor() is not None


def are_in_memory(owners: list[Any], grads: list[Any]) -> bool:
    """Whether there are DTensors among owners or their gradients, all of them is in CPU memory,
    and nothing is a partial sum."""
    tensors: list[Any] = [own if grad is None else grad for own, grad in zip(owners, grads)]
    found = False
    for tensor in tensors:
        if tensor is None or tensor.device.type != "cpu" or tensor.layout != torch.strided:
            return False
        if is_dtensor(tensor):
            found = True
            if any(placement.is_partial() for placement in tensor.placements):
                return False
    return found


def spans_ranks(parameters: list[Any], seen: Gradients | ForTorch) -> bool:
    """Whether the gradients of parameters are to be clipped by a norm over ranks."""
    return may_be(seen) and are_in_memory(parameters, [p.grad for p in parameters])


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
    parameters: list[Any], max_norm: Any, options: Options, names: list[str] | None
) -> Tensor:
    work = OverRanks(parameters, names, options)
    if hasattr(max_norm, "feed"):
        return as_tensor(by_chooser(max_norm, work, None), parameters)
    return as_tensor(work.clip(max_norm, options.nonfinite), parameters)


def get_total_norm(
    owners: list[Any], grads: list[Any], options: Options, names: list[str] | None
) -> Tensor:
    from .distributed import run

    options = options.but(exact_f64=True)
    return as_tensor(run(owners, grads, inf, options, None, (), names, writes=False), owners)


class OverRanks(Work):
    """The gradients of a step, some of them DTensors: the Work of a Monitor and of choosers.

    Every rank makes the same calls. Norms are the same on all, and so is what is decided by them.
    """

    def __init__(self, parameters: list[Any], names: list[str] | None, options: Options) -> None:
        self.names = names
        self.refusal: Exception | None = None  # of a rank's arguments, told to the others
        self.options = options.but(exact_f64=True)
        self._parameters = parameters
        self._grads = [parameter.grad for parameter in parameters]

    def clip(self, max_norm: float, nonfinite: str) -> Norm:
        return self._run(max_norm, self.options.but(nonfinite=nonfinite), True)

    def measure(self) -> Norm:
        return self._run(inf, self.options, False)

    def _run(self, max_norm: float, options: Options, writes: bool) -> Norm:
        from .distributed import run

        return run(
            self._parameters, self._grads, max_norm, options, None, (), self.names, writes, self.refusal
        )

    def scale(self, factor: float, each: Sequence[float] | None) -> None:
        if each is not None:
            raise UnsupportedError(_EACH)
        rows = local_rows(self._grads)
        scale(rows, factor)
        if factor != 1.0:
            rows.written()

    def culprits(self) -> tuple[list[tuple[int, int]], int]:
        from .distributed import nonfinite_counts

        counts = nonfinite_counts(self._parameters, self._grads)
        filled = sum(grad is not None for grad in self._grads)
        return [(i, count) for i, count in enumerate(counts) if count], filled

    def places(self) -> tuple[list[int], int]:
        raise UnsupportedError(_EACH)


_EACH = (
    "a chooser that decides about each tensor, as AdaGC does, needs gradients that are no DTensors, "
    "whose norms span ranks: take AutoClip, ZClip or SkipStep, which decide by the norm of all"
)


def by_chooser(chooser: Any, work: OverRanks, loss: float | None) -> Norm:
    """Clips as a chooser of this package decides; its .last is the decision. Each rank has a chooser
    of its own, made alike."""
    try:
        work.options = _for_chooser(chooser, work.options)
    except (TypeError, UnsupportedError) as error:
        work.refusal = work.refusal or error
    step = chooser._step_options(loss) if work.refusal is None else {}
    norm, decision = decide(chooser, work, step)
    decision.norm = norm
    return norm


def _for_chooser(chooser: Any, options: Options) -> Options:
    if checked_chooser(chooser).per_tensor:
        raise UnsupportedError(_EACH)
    if options.eps != 1e-6 or options.nonfinite == "zero":
        given = ("nonfinite", "zero") if options.nonfinite == "zero" else ("eps", options.eps)
        raise UnsupportedError(
            f"{given[0]}={given[1]!r} is not for a chooser and DTensors: their norm spans ranks"
        )
    return options.but(nonfinite="leave")  # a NaN is left alone, and its step to be skipped


def local_rows(grads: list[Any]) -> Gradients:
    """This rank's parts of DTensors, and the other gradients."""
    from .distributed import local_part

    parts = [Part(local_part(grad) if is_dtensor(grad) else grad) for grad in grads]
    found = look_at(gradients_of(parts), sparse_too=False)
    if isinstance(found, ForTorch):
        raise UnsupportedError(f"gradient {found.tensor} {found.what}")
    return found


def as_tensor(norm: float, owners: list[Any]) -> Tensor:
    # Of parameters, which all ranks of a mesh have: not all may have a gradient.
    wide = any(owner.dtype in _WIDE for owner in owners) or FLOAT32_MAX < norm < inf
    return torch.tensor(norm, dtype=torch.float64 if wide else torch.float32, device="cpu")
