"""The gradients of a Monitor's step that the library has no code for: torch does the work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Callable

import torch
from torch import Tensor

from .. import _calls
from .._errors import UnsupportedError
from .._norm import ALL_FINITE, NonFinite, Norm
from ._jobs import NOTHING


class InTorch:
    """What _monitor.InLibrary does, on any device and in any layout that torch can multiply.

    Norms are summed in float64 where the device has it.
    """

    def __init__(
        self,
        parameters: list[Any],
        names: Sequence[str] | None,
        norm_type: float,
        eps: float,
        grad_scale: float,
        look: Callable[[], tuple[list[tuple[int, int]], int]],
    ) -> None:
        self.names = names
        self.culprits = look
        self._grads = [(i, p.grad) for i, p in enumerate(parameters) if p.grad is not None]
        self._count = len(parameters)
        self._norm_type = norm_type
        self._eps = eps
        self._grad_scale = grad_scale
        # Refuses what the library would: it is not asked again.
        _calls.get_total_norm(NOTHING, norm_type, False, "leave", grad_scale, False)

    def clip(self, max_norm: float, nonfinite: str) -> Norm:
        return self.scale(max_norm, self.measure(nonfinite), nonfinite)

    @torch.no_grad()
    def measure(self, nonfinite: str) -> Norm:
        norms = self._norms([elements(grad) for _, grad in self._grads])
        found = ALL_FINITE
        if not all(map(math.isfinite, norms)):
            found = self._nonfinite()
            if found and nonfinite == "zero":
                norms = self._norms([_zeroed(elements(grad)) for _, grad in self._grads])
        tensor_norms = [0.0] * self._count
        for (place, _), each in zip(self._grads, norms):
            tensor_norms[place] = each
        total = torch.linalg.vector_norm(torch.tensor(norms, dtype=torch.float64), self._norm_type)
        norm = Norm(total.item() if norms else 0.0)
        norm.clip_coef, norm.clipped, norm.factor = 1.0, False, 1.0
        norm.nonfinite = found
        norm.tensor_norms = tuple(tensor_norms)
        return norm

    @torch.no_grad()
    def scale(self, max_norm: float, total_norm: Norm, nonfinite: str) -> Norm:
        norm = total_norm
        if norm.nonfinite and nonfinite == "leave":
            return norm
        if norm.nonfinite and nonfinite == "zero":
            for place, grad in self._grads:
                if grad.layout != torch.strided:
                    raise UnsupportedError(
                        f"nonfinite='zero' needs gradients that are not sparse, and that of "
                        f"{self._label(place)} has the layout {grad.layout}"
                    )
            for _, grad in self._grads:
                _zeroed(grad, out=grad)
        norm.clip_coef = coef = self._coefficient(max_norm, norm)
        norm.clipped = coef != 1.0
        norm.factor = coef / self._grad_scale
        if norm.factor != 1.0:
            for _, grad in self._grads:
                grad.mul_(norm.factor)
        return norm

    def _coefficient(self, max_norm: float, norm: Norm) -> float:
        if math.isnan(norm):
            return math.nan
        return _calls.clip_coef(max_norm, norm, self._eps)

    def _norms(self, tensors: list[Tensor]) -> list[float]:
        norms: list[Tensor] = []
        for tensor in tensors:
            dtype = None
            if tensor.device.type != "mps":
                dtype = torch.complex128 if tensor.is_complex() else torch.float64
            norm = torch.linalg.vector_norm(tensor, self._norm_type, dtype=dtype)
            norms.append(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        if not norms:
            return []
        # One wait for the device, not one for each.
        device = norms[0].device
        listed: list[float] = torch.stack([norm.to(device) for norm in norms]).tolist()
        unit = 1.0 if self._norm_type == 0 else self._grad_scale
        return [norm / unit for norm in listed]

    def _nonfinite(self) -> NonFinite:
        count = nan_count = 0
        first: tuple[int, int, tuple[int, ...]] | None = None
        for place, grad in self._grads:
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
        name = None if self.names is None else self.names[place]
        return NonFinite(count, nan_count, place, name, element, index)

    def _label(self, place: int) -> str:
        return f"parameter {place}" if self.names is None else repr(self.names[place])


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


def _zeroed(tensor: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.nan_to_num(tensor, nan=0.0, posinf=0.0, neginf=0.0, out=out)
