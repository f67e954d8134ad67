"""A way to clip by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._clip import clip_grad_norm_, clip_grad_value_
from ._parts import clip_by_block_rms_, clip_by_group_, clip_by_norm_
from ._rows import Parameters
from ._units import adaptive_clip_grad


def dispatch_clip_grad(
    parameters: Parameters | Mapping[str, Parameters],
    value: float,
    mode: str = "norm",
    norm_type: float | str = 2.0,
    **options: Any,
) -> None:
    """Clips by a method that a string names, as timm.utils.dispatch_clip_grad does.

    Args:
        parameters: a parameter or an iterable of parameters; for "group_norm" an
            optimizer's param_groups, or a dictionary of named groups.
        value: the method's limit.
        mode: "norm": clip_grad_norm_; "value": clip_grad_value_; "agc":
            adaptive_clip_grad (these three are timm's); "tensor_norm": clip_by_norm_;
            "group_norm": clip_by_group_; "block_rms": clip_by_block_rms_.
        norm_type: the order of the norm, where the method has one.
        options: further arguments of the method.

    Raises:
        ValueError: mode is none of these.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> dispatch_clip_grad([weight], 1.0, mode="tensor_norm")
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    function = _MODES.get(mode)
    if function is None:
        raise ValueError(f"mode must be one of {', '.join(map(repr, _MODES))} (got {mode!r})")
    if mode not in ("value", "block_rms"):
        options["norm_type"] = norm_type
    function(parameters, value, **options)


_MODES: dict[str, Callable[..., object]] = {
    "norm": clip_grad_norm_,
    "value": clip_grad_value_,
    "agc": adaptive_clip_grad,
    "tensor_norm": clip_by_norm_,
    "group_norm": clip_by_group_,
    "block_rms": clip_by_block_rms_,
}
