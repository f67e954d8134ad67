"""What the library has no code for: torch does the work.

torch's own functions are kept here as they are when this package is first imported:
patch() replaces them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import utils

from .._choosers.chooser import checked_chooser, decide
from .._methods.whole import clip_coef, clip_value_of, measure, run
from .._monitor.recorder import Work
from .._native import ffi
from .._native.call import Options
from .._native.errors import UnsupportedError
from .._norm import ALL_FINITE, NonFinite, Norm
from . import _sharded
from ._rows import NOTHING, ForTorch, Gradients

if not hasattr(utils, "get_total_norm"):
    raise ImportError(f"gradclip.torch needs torch 2.6 or newer (found {torch.__version__})")

clip_grad_norm_: Callable[..., torch.Tensor] = utils.clip_grad_norm_
clip_grad_value_: Callable[..., None] = utils.clip_grad_value_
clip_grads_with_norm_: Callable[..., None] = utils.clip_grads_with_norm_
get_total_norm: Callable[..., torch.Tensor] = utils.get_total_norm


def refuse(why: ForTorch, options: Options) -> None:
    """UnsupportedError if an argument is given that torch's own functions do not have."""
    options.native  # noqa: B018  # refuses what is no option at all
    for name, default in (("eps", 1e-6), ("nonfinite", "propagate"), ("grad_scale", 1.0)):
        value = getattr(options, name)
        if value != default:
            raise UnsupportedError(
                f"{name}={value!r} needs gradients that the library can clip, but gradient "
                f"{why.tensor} {why.what}: torch's own function, which could, has no {name}"
            )


def by_torch(why: ForTorch, function: Callable[..., Any], *arguments: Any) -> Any:
    """What torch's own function makes of gradients; UnsupportedError where it cannot take such either."""
    try:
        return function(*arguments)
    except RuntimeError as error:  # a NotImplementedError, or of another kind for some layouts
        if "layout" not in why.what or "is non-finite" in str(error):
            raise
        reason = str(error).partition(". ")[0].partition("\n")[0]
        raise UnsupportedError(
            f"gradient {why.tensor} {why.what}, and torch cannot do this with it either: {reason}"
        ) from error


def only_library(seen: Gradients | ForTorch, what: str) -> Gradients:
    """The gradients, for a way of clipping that torch has no function for."""
    if isinstance(seen, ForTorch):
        if seen.what.endswith("DTensor"):
            what += _LOCAL
        raise UnsupportedError(f"gradient {seen.tensor} {seen.what}: {what}")
    return seen


_LOCAL = (
    ". Of DTensors clip_grad_norm_, get_total_norm, Plan, Monitor, clip_and_step and the choosers "
    "take the norm over all ranks; each rank's part is grad.to_local()"
)


def check_max_norm(max_norm: float) -> None:
    """Refuses, as the library does, what cannot be a norm, for calls that go to torch."""
    run(ffi.gradclip_clip_grads_with_norm, NOTHING, Options(), max_norm, 0.0)


def check_value(clip_value: float) -> None:
    clip_value_of(NOTHING, clip_value)


def clip_by_chooser(
    chooser: Any,
    parameters: list[Any],
    seen: Gradients | ForTorch,
    options: Options,
    loss: float | None = None,
    names: list[str] | None = None,
) -> Norm:
    """Clips as a chooser of this package decides: the library where it can, torch elsewhere."""
    if _sharded.spans_ranks(parameters, seen):
        return _sharded.by_chooser(
            chooser, _sharded.OverRanks(parameters, names, options), loss
        )
    chooser = checked_chooser(chooser)
    if not isinstance(seen, ForTorch):
        norm: Norm = chooser.clip_rows(seen, options, loss).norm
        return norm
    named = options.but(nonfinite="propagate" if options.nonfinite == "leave" else "zero")
    refuse(seen, named)
    norm, decision = decide(
        chooser, InTorch(parameters, names, options), chooser._step_options(loss)
    )
    decision.norm = norm
    return norm


class InTorch(Work):
    """What InLibrary of _monitor does, on any device and in any layout that torch can multiply.

    Norms are summed in float64 where the device has it.
    """

    def __init__(self, parameters: list[Any], names: list[str] | None, options: Options) -> None:
        self.names, self.options = names, options
        self._grads = [(i, p.grad) for i, p in enumerate(parameters) if p.grad is not None]
        self._count = len(parameters)
        # Refuses what the library would: it is not asked again.
        measure(NOTHING, options)

    @torch.no_grad()
    def clip(self, max_norm: float, nonfinite: str) -> Norm:
        norm = self.measure()
        if norm.nonfinite and nonfinite == "leave":
            return norm
        if norm.nonfinite and nonfinite == "zero":
            self._zero()
            found, norm = norm.nonfinite, self.measure()
            norm.nonfinite = found
        coef = math.nan
        if not math.isnan(norm):
            coef = clip_coef(max_norm, norm, self.options.eps)
        return self.multiply(norm, coef, None)

    @torch.no_grad()
    def measure(self) -> Norm:
        norms = self._norms([elements(grad) for _, grad in self._grads])
        tensor_norms = [0.0] * self._count
        for (place, _), each in zip(self._grads, norms):
            tensor_norms[place] = each
        total = torch.linalg.vector_norm(torch.tensor(norms, dtype=torch.float64), self.options.norm_type)
        norm = Norm(total.item() if norms else 0.0)
        norm.clip_coef, norm.clipped, norm.factor = 1.0, False, 1.0
        norm.nonfinite = (
            ALL_FINITE if all(map(math.isfinite, norms)) else nonfinite_in(self._grads, self.names)
        )
        norm.tensor_norms = tuple(tensor_norms)
        return norm

    @torch.no_grad()
    def scale(self, factor: float, each: Sequence[float] | None) -> None:
        for place, grad in self._grads:
            by = factor if each is None else each[place]
            if by != 1.0:
                grad.mul_(by)

    def culprits(self) -> tuple[list[tuple[int, int]], int]:
        counts = [(i, int((~torch.isfinite(elements(g))).sum())) for i, g in self._grads]
        return [(i, count) for i, count in counts if count], len(self._grads)

    def places(self) -> tuple[list[int], int]:
        return [place for place, grad in self._grads if grad.numel()], self._count

    def _zero(self) -> None:
        for place, grad in self._grads:
            if grad.layout != torch.strided:
                label = f"parameter {place}" if self.names is None else repr(self.names[place])
                raise UnsupportedError(
                    "nonfinite='zero' needs gradients that are not sparse, and that of "
                    f"{label} has the layout {grad.layout}"
                )
        for _, grad in self._grads:
            torch.nan_to_num(grad, nan=0.0, posinf=0.0, neginf=0.0, out=grad)

    def _norms(self, tensors: list[Tensor]) -> list[float]:
        norms: list[Tensor] = []
        for tensor in tensors:
            dtype = None
            if tensor.device.type != "mps":
                dtype = torch.complex128 if tensor.is_complex() else torch.float64
            norm = torch.linalg.vector_norm(tensor, self.options.norm_type, dtype=dtype)
            norms.append(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        if not norms:
            return []
        # One wait for the device, not one for each.
        device = norms[0].device
        listed: list[float] = torch.stack([norm.to(device) for norm in norms]).tolist()
        unit = 1.0 if self.options.norm_type == 0 else self.options.grad_scale
        return [norm / unit for norm in listed]


@torch.no_grad()
def nonfinite_in(grads: Iterable[tuple[int, Tensor]], names: Sequence[str] | None) -> NonFinite:
    """The NaNs and infinities of gradients, each with its place in the list that has names."""
    count = nan_count = 0
    first: tuple[int, int, tuple[int, ...]] | None = None
    for place, whole in grads:
        grad: Any = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
        values = elements(grad)
        wrong = ~torch.isfinite(values)
        found = int(wrong.sum())
        if not found:
            continue
        count += found
        nan_count += int(torch.isnan(values).sum())
        if first is None:
            index = _first(grad, wrong)
            element = 0
            for i, length in zip(index, grad.shape):
                element = element * length + i
            first = (place, element, index)
    if first is None:
        return ALL_FINITE
    place, element, index = first
    name = None if names is None else names[place]
    return NonFinite(count, nan_count, place, name, element, index)


def elements(grad: Tensor) -> Tensor:
    """The elements that a gradient holds: a dense tensor."""
    if grad.layout == torch.strided:
        return grad
    return _coalesced(grad).values()


def _coalesced(grad: Tensor) -> Tensor:
    if grad.layout != torch.sparse_coo:
        grad = grad.to_sparse(layout=torch.sparse_coo)
    return grad.coalesce()


def _first(grad: Tensor, wrong: Tensor) -> tuple[int, ...]:
    """The index in a gradient of the first that is true of its elements."""
    index: list[int] = wrong.nonzero()[0].tolist()
    if grad.layout == torch.strided:
        return tuple(index)
    place: list[int] = _coalesced(grad).indices()[:, index[0]].tolist()
    return (*place, *index[1:])
