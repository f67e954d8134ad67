"""Plan: parameters that are looked at once, and whose gradients are clipped every step."""

from __future__ import annotations

from collections.abc import Iterable

from . import _clip
from ._rows import Held, Parameters


class Plan(Held):
    """The functions of this module for the same parameters in every step.

    A plan keeps the parameters, not their gradients: these may be replaced by
    every backward pass, as they are after zero_grad(set_to_none=True), and may
    be None in some steps and not in others. What stays the same between steps is
    not worked out again. The results are those of the functions. To be used by
    one thread at a time, and not to be traced by torch.compile.

    Its methods are the functions of these names, and every other function of gradclip.torch takes
    a plan in the place of parameters.

    Args:
        parameters: as for clip_grad_norm_ (a generator is used up).
        names: names of the parameters for errors, one each; calls with a plan take no others.

    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> plan = Plan([weight])
    >>> for step in range(2):
    ...     weight.grad = None
    ...     (weight * weight).sum().backward()
    ...     print(plan.clip_grad_norm_(max_norm=1.0), weight.grad)
    tensor(10.) tensor([0.6000, 0.8000])
    tensor(10.) tensor([0.6000, 0.8000])
    """

    def __init__(self, parameters: Parameters, names: Iterable[str] | None = None) -> None:
        super().__init__(parameters, names)

    def __len__(self) -> int:
        """How many parameters there are, with or without a gradient."""
        return len(self._parameters)

    def __repr__(self) -> str:
        return f"<gradclip.torch.Plan of {len(self)} parameters>"

    clip_grad_norm_ = _clip.clip_grad_norm_
    get_total_norm = _clip.get_total_norm
    clip_grads_with_norm_ = _clip.clip_grads_with_norm_
    clip_grad_value_ = _clip.clip_grad_value_
