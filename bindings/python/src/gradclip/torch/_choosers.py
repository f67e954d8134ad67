"""The choosers of gradclip for parameters of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import gradclip

from .._choosers.chooser import Decision, GlobalChooser
from .._gradients.types import NonFinitePolicy
from .._native.call import new_result, norm_of
from .._native.errors import UnsupportedError
from .._norm import ALL_FINITE
from . import _fallback, _whole
from ._clip import TensorOrTensors
from ._fallback import nonfinite_in
from ._rows import ForTorch, Gradients, checked_names, gradients_of, look_at

if TYPE_CHECKING:
    _Base = GlobalChooser
else:
    _Base = object


class _ByTotalNorm(_Base):
    """What AutoClip, ZClip and SkipStep do with parameters."""

    __slots__ = ()

    def clip_(  # type: ignore[override]
        self,
        parameters: TensorOrTensors,
        *,
        loss: Tensor | float | None = None,
        norm_type: float = 2.0,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        names: Iterable[str] | None = None,
    ) -> Decision:
        """Measures the gradients of parameters, takes their norm in, and clips them in place.

        Call it between backward() and the optimizer's step(), and leave that step out if
        the result says .skip.

        Args:
            parameters: a parameter or any iterable of them, as for clip_grad_norm_.
            loss: the step's loss, for SkipStep; others do not look at it.
            norm_type, eps, grad_scale, names: as for clip_grad_norm_.
            nonfinite: as for gradclip.clip_grad_norm_, whose default it has: gradients
                that are not finite are left alone, and the step is to be skipped.

        Returns:
            The decision, with the norm before clipping in .norm.

        Raises:
            UnsupportedError: eps, nonfinite or grad_scale is given for gradients that the
                library cannot clip. (Without them torch's own functions measure and clip
                those.)
        """
        names = None if names is None else list(names)
        owners, seen = _look(parameters, norm_type, names)
        if isinstance(seen, ForTorch):
            policy = "propagate" if nonfinite == "leave" else nonfinite
            _whole.refuse_options(seen, eps, policy, grad_scale)
            return self._clip_in_torch(owners, float(norm_type), loss, names)
        decision = self._clip(
            seen,
            seen.table,
            norm_type,
            None if loss is None else float(loss),
            eps,
            nonfinite,
            grad_scale,
            False,
        )
        _tell(seen, decision, nonfinite, grad_scale)
        return decision

    def _clip_in_torch(
        self,
        owners: list[Any],
        norm_type: float,
        loss: Tensor | float | None,
        names: list[str] | None,
    ) -> Decision:
        grads = [(place, p.grad) for place, p in enumerate(owners) if p.grad is not None]
        total = _fallback.get_total_norm([grad for _, grad in grads], norm_type)
        decision = self._feed(float(total), None if loss is None else float(loss))
        if decision.clipped:
            _fallback.clip_grads_with_norm_(owners, decision.threshold, total)
        result = new_result()
        result.total_norm = float(total)
        result.clip_coef = result.factor = decision.clip_coef
        found = ALL_FINITE if torch.isfinite(total) else nonfinite_in(grads, names)
        decision.norm = norm_of(result, found, None)
        return decision


class AutoClip(_ByTotalNorm, gradclip.AutoClip):
    """gradclip.AutoClip, whose clip_() takes parameters.

        autoclip = gradclip.torch.AutoClip()
        ...
        if autoclip.clip_(model.parameters()).skip: continue

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> autoclip = AutoClip(percentile=50)
    >>> for scale in (1.0, 1.0, 3.0):
    ...     weight.grad = torch.tensor([3.0, 4.0]) * scale
    ...     decision = autoclip.clip_([weight])
    ...     print(decision.norm, decision.threshold, round(decision.clip_coef, 4))
    5.0 5.0 1.0
    5.0 5.0 1.0
    15.0 5.0 0.3333
    """

    __module__ = "gradclip.torch"
    __slots__ = ()


class ZClip(_ByTotalNorm, gradclip.ZClip):
    """gradclip.ZClip, whose clip_() takes parameters.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> zclip = ZClip(warmup_steps=2, mode="mean")
    >>> for scale in (1.0, 3.0, 100.0):
    ...     weight.grad = torch.tensor([3.0, 4.0]) * scale
    ...     print(zclip.clip_([weight]).clipped, weight.grad.norm())
    False tensor(5.)
    False tensor(15.)
    True tensor(10.)
    """

    __module__ = "gradclip.torch"
    __slots__ = ()


class SkipStep(_ByTotalNorm, gradclip.SkipStep):
    """gradclip.SkipStep, whose clip_() takes parameters: nothing is clipped, but .skip says
    whether to leave the step out.

        if skipstep.clip_(model.parameters(), loss=loss).skip: continue

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> skipstep = SkipStep(window=4)
    >>> for loss in (2.1, 1.9, 2.0, 50.0):
    ...     weight.grad = torch.ones(2)
    ...     print(skipstep.clip_([weight], loss=torch.tensor(loss)).skip)
    False
    False
    False
    True
    """

    __module__ = "gradclip.torch"
    __slots__ = ()


class AdaGC(gradclip.AdaGC):
    """gradclip.AdaGC, whose clip_() takes parameters.

    They must be the same in every step. One whose .grad is None has no part in it.

        adagc = gradclip.torch.AdaGC()
        ...
        if adagc.clip_(model.parameters()).skip: continue

    >>> weight, bias = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    >>> adagc = AdaGC(warmup_steps=1, lambda_rel=2.0)
    >>> for scale in (0.25, 16.0):
    ...     weight.grad, bias.grad = torch.tensor([scale]), torch.tensor([0.5])
    ...     print(adagc.clip_([weight, bias]).tensor_coefs)
    (1.0, 1.0)
    (0.03125, 1.0)
    """

    __module__ = "gradclip.torch"
    __slots__ = ()

    def clip_(  # type: ignore[override]
        self,
        parameters: TensorOrTensors,
        *,
        norm_type: float = 2.0,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        names: Iterable[str] | None = None,
    ) -> Decision:
        """Measures the gradients of parameters, takes their norms in, and clips each in place.

        The arguments are those of AutoClip.clip_.

        Raises:
            UnsupportedError: there are gradients that the library cannot clip.
        """
        owners, seen = _look(parameters, norm_type, names)
        if isinstance(seen, ForTorch):
            raise UnsupportedError(
                f"AdaGC needs gradients that the library can clip, but gradient {seen.tensor} "
                f"{seen.what}"
            )
        rows: list[int | None] = [None] * len(owners)
        for i in range(len(seen.tensors)):
            place = i if seen.place_of is None else seen.place_of[i]
            rows[place] = i if seen.row_of is None else seen.row_of[i]
        decision = self._clip_each(seen, rows, norm_type, nonfinite, grad_scale, False)
        _tell(seen, decision, nonfinite, grad_scale)
        return decision


def _look(
    parameters: TensorOrTensors, norm_type: float, names: Iterable[str] | None
) -> tuple[list[Any], Gradients | ForTorch]:
    owners = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    checked = checked_names(names, len(owners))
    return owners, look_at(gradients_of(owners), checked, complex_too=norm_type == 2)


def _tell(seen: Gradients, decision: Decision, nonfinite: str, grad_scale: float) -> None:
    """Tells torch that gradients were written, if they were."""
    norm = decision.norm
    zeroed = nonfinite == "zero" and norm is not None and bool(norm.nonfinite)
    if not decision.skip and (decision.clipped or grad_scale != 1.0 or zeroed):
        seen.written()
