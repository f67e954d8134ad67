"""Plan: parameters that are looked at once, and whose gradients are clipped every step."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from .._choosers.chooser import Chooser
from .._gradients.types import NonFinitePolicy
from .._native.call import Options
from ._clip import clip_by_total, clip_values, clip_whole, look, norm_whole, number
from ._rows import Memo, Parameters, gradients_of, look_at, parameters_of


class Plan:
    """The functions of this module for the same parameters in every step.

    A plan keeps the parameters, not their gradients: these may be replaced by
    every backward pass, as they are after zero_grad(set_to_none=True), and may
    be None in some steps and not in others. What stays the same between steps is
    not worked out again. The results are those of the functions. To be used by
    one thread at a time, and not to be traced by torch.compile.

    Args:
        parameters: as for clip_grad_norm_ (a generator is used up).
        names: names of the parameters for errors, one each.

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
        self._parameters, self._names = parameters_of(parameters, names)
        for i, parameter in enumerate(self._parameters):
            if not isinstance(parameter, Tensor):
                raise TypeError(f"parameters[{i}] is no tensor (got {parameter!r})")
        self._memo = Memo()

    def __len__(self) -> int:
        """How many parameters there are, with or without a gradient."""
        return len(self._parameters)

    def __repr__(self) -> str:
        return f"<gradclip.torch.Plan of {len(self)} parameters>"

    def clip_grad_norm_(
        self,
        max_norm: float | Chooser,
        norm_type: float | str = 2.0,
        error_if_nonfinite: bool = False,
        foreach: bool | None = None,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "propagate",
        grad_scale: float = 1.0,
    ) -> Tensor:
        """gradclip.torch.clip_grad_norm_ of the plan's parameters."""
        options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale)
        seen = look(self._parameters, self._names, options, self._memo)
        return clip_whole(self._parameters, seen, max_norm, options, foreach, self._names)

    def get_total_norm(
        self,
        norm_type: float | str = 2.0,
        error_if_nonfinite: bool = False,
        foreach: bool | None = None,
        *,
        nonfinite: NonFinitePolicy = "propagate",
        grad_scale: float = 1.0,
    ) -> Tensor:
        """gradclip.torch.get_total_norm of the gradients of the plan's parameters."""
        options = Options(norm_type, error_if_nonfinite, 1e-6, nonfinite, grad_scale)
        seen = look(self._parameters, self._names, options, self._memo)
        grads = [parameter.grad for parameter in self._parameters]
        return norm_whole(self._parameters, grads, seen, options, foreach, self._names)

    def clip_grads_with_norm_(
        self,
        max_norm: float,
        total_norm: Tensor,
        foreach: bool | None = None,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "propagate",
        grad_scale: float = 1.0,
    ) -> None:
        """gradclip.torch.clip_grads_with_norm_ of the plan's parameters."""
        options = Options(eps=eps, nonfinite=nonfinite, grad_scale=grad_scale)
        seen = look(self._parameters, self._names, options, self._memo)
        limit = number("max_norm", max_norm)
        clip_by_total(self._parameters, seen, limit, total_norm, options, foreach)

    def clip_grad_value_(self, clip_value: float, foreach: bool | None = None) -> None:
        """gradclip.torch.clip_grad_value_ of the plan's parameters."""
        seen = look_at(gradients_of(self._parameters), self._names, False, self._memo)
        clip_values(self._parameters, seen, number("clip_value", clip_value), foreach)
