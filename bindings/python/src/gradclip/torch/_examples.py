"""The gradients of examples as tensors, each clipped by itself, and their sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from .._gradients.array import wrong_dtype
from .._gradients.rows import Table
from .._methods.examples import PerExample, by_example, count_examples
from .._methods.parts import by_name
from .._native.call import Options
from .._native.errors import UnsupportedError
from ._rows import DTYPES, Parameters, not_plain, parameters_of


def clip_per_example(
    grads: Parameters,
    max_norm: float | Sequence[float] | Mapping[str, float],
    *,
    rule: str = "clip",
    eps: float = 0.0,
    grad_scale: float = 1.0,
    dtype: torch.dtype | None = None,
    names: Iterable[str] | None = None,
) -> PerExample:
    """Clips the gradient of every example by its own norm, and adds the clipped gradients up.

    gradclip.clip_per_example for tensors: the arguments and what is returned are those,
    but that the sums are tensors. Privacy rests on each contribution's exact norm being
    at most max_norm; see there.

    Args:
        grads: tensors of shape [examples, ...] in CPU memory; or a model, parameters, ..., as
            for clip_grad_norm_, whose .grad_sample (Opacus) is taken: after several backward
            passes that is a list, whose examples count as one batch. Parameters that require no
            gradient and have no .grad_sample are passed over: the sums are of the others.
            What is not contiguous is copied.
        max_norm: one limit; or one for each gradient, a sequence or by the names.
        dtype: of the sums: torch.float32 or torch.float64.
        names: names of the gradients, one each, if the first argument does not have them.

    Raises:
        UnsupportedError: a tensor that is no plain one in CPU memory.
        ValueError, TypeError: as gradclip.clip_per_example does.

    >>> found = clip_per_example([torch.tensor([[3.0, 4.0], [0.3, 0.4]])], max_norm=1.0)
    >>> found.clipped, found.sums[0]
    (1, tensor([0.9000, 1.2000]))
    >>> layers = {"w": torch.tensor([[3.0, 4.0]]), "b": torch.tensor([[2.0]])}
    >>> clip_per_example(layers, {"w": 1.0, "b": 4.0}).sums
    [tensor([0.6000, 0.8000]), tensor([2.])]
    """
    given, names = parameters_of(grads, names, "grads")
    tensors, kept = [], []
    for i, tensor in enumerate(given):
        sample = tensor
        if isinstance(tensor, Parameter) or hasattr(tensor, "grad_sample"):
            sample = getattr(tensor, "grad_sample", None)
            if sample is None and not tensor.requires_grad:
                continue
            if sample is None:
                raise TypeError(
                    f"grads[{i}]{_named(names, i)} must be a tensor [examples, ...], or a parameter "
                    "with a .grad_sample, which Opacus fills in the backward pass"
                )
        if isinstance(sample, list) and sample and all(isinstance(one, Tensor) for one in sample):
            sample = torch.cat(sample)
        if not isinstance(sample, Tensor):
            raise TypeError(f"grads[{i}] must be a tensor [examples, ...] (got {type(sample)})")
        tensors.append(sample.detach())
        kept.append(i)
    names = None if names is None else [names[i] for i in kept]
    examples = count_examples(
        (f"grads[{i}]{_named(names, i)}", tuple(tensor.shape)) for i, tensor in enumerate(tensors)
    )
    for i, tensor in enumerate(tensors):
        what = not_plain(tensor)
        if what is not None:
            raise UnsupportedError(f"grads[{i}] {what}: only plain tensors on the CPU are summed")
        if tensor.dtype not in DTYPES:
            raise TypeError(f"grads[{i}] {wrong_dtype(str(tensor.dtype))}")
    tensors = [tensor.contiguous() for tensor in tensors]
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64 (got {dtype})")
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    kind = dtype or (torch.float64 if wide else torch.float32)
    sums = [torch.empty(tensor.shape[1:], dtype=kind, device="cpu") for tensor in tensors]
    if isinstance(max_norm, Mapping):
        max_norm = by_name("max_norm", max_norm, names)
    limits = list(max_norm) if isinstance(max_norm, Sequence) else [max_norm]
    if isinstance(max_norm, Sequence) and len(limits) != len(tensors):
        raise ValueError(
            f"max_norm must be a number or have one a gradient: {len(tensors)} (got {len(limits)})"
        )
    options = Options(eps=eps, grad_scale=grad_scale)
    return by_example(_table(tensors), _table(sums), sums, examples, limits, rule, options)


def _named(names: list[str] | None, i: int) -> str:
    return "" if names is None else f" ({names[i]!r})"


def _table(tensors: list[Tensor]) -> Table:
    return Table.of(
        [tensor.data_ptr() for tensor in tensors],
        [tensor.numel() for tensor in tensors],
        [DTYPES[tensor.dtype] for tensor in tensors],
    )
