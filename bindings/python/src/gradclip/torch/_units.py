"""Adaptive gradient clipping for parameters: each unit of a gradient against its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._gradients.layout import c_order
from .._gradients.types import NonFinitePolicy
from .._methods.parts import PartsNorm
from .._methods.units import Exclude, Weight, by_unit
from .._native.call import Options
from .._native.errors import UnsupportedError
from ._parts import look_at_all
from ._rows import DTYPES, Parameters, dense_layout, not_plain, parameters_of


def adaptive_clip_grad(
    parameters: Parameters,
    clip_factor: float = 0.01,
    eps: float = 1e-3,
    norm_type: float | str = 2.0,
    *,
    axes: str | Sequence[int] = "timm",
    exclude: Exclude = None,
    error_if_nonfinite: bool = False,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> PartsNorm:
    """Scales each unit of the parameters' gradients in place by its norm against that of the same
    unit of the weights: adaptive gradient clipping (NFNets, arXiv 2102.06171).

    Takes what timm.utils.adaptive_clip_grad takes, and does what that does, with exact
    norms. The formula, axes and what is returned are those of gradclip.adaptive_clip_grad_.

    Args:
        parameters: as for clip_by_norm_: the weights, and their .grad.
        exclude: names of parameters to leave alone (NFNets' classifier), or what names
            begin with up to a ".", or a function of the name; needs names, or
            parameters as named_parameters().
        The others: as for gradclip.adaptive_clip_grad_ and clip_by_norm_.

    Raises:
        UnsupportedError: a gradient or a weight that is no plain tensor in CPU memory.
        ValueError, TypeError: as gradclip.adaptive_clip_grad_ does.

    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> weight.grad = torch.tensor([[30.0, 40.0]])
    >>> adaptive_clip_grad([weight], clip_factor=0.5).clipped_count, weight.grad
    (1, tensor([[1.5000, 2.0000]]))
    """
    options = Options(
        norm_type, error_if_nonfinite, nonfinite=nonfinite, grad_scale=grad_scale
    )
    listed, names = parameters_of(parameters, names)
    seen = look_at_all(listed, names)

    def weight_of(i: int) -> Weight:
        place = seen.place(i)
        weight = listed[place].detach()
        what = not_plain(weight)
        if what is None and weight.dtype not in DTYPES:
            what = f"is of {weight.dtype}"
        if what is not None:
            raise UnsupportedError(f"parameter {place} {what}: its weights cannot be measured")
        order = dense_layout(weight)
        if order is None:
            weight = weight.contiguous()
            order = c_order(weight.shape)
        return Weight(weight, weight.data_ptr(), DTYPES[weight.dtype], order)

    return by_unit(seen, weight_of, axes, exclude, clip_factor, eps, options)
