"""The choosers of gradclip for parameters of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

import gradclip

from .._choosers.chooser import Chooser, Decision
from .._gradients.types import NonFinitePolicy
from .._native.call import Options
from . import _fallback
from ._clip import look
from ._rows import Parameters, parameters_of

if TYPE_CHECKING:
    _Base = Chooser
else:
    _Base = object


class _OfParameters(_Base):
    """What the choosers do with parameters."""

    __slots__ = ()

    def clip_(  # type: ignore[override]
        self,
        parameters: Parameters,
        *,
        loss: Tensor | float | None = None,
        norm_type: float | str = 2.0,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        names: Iterable[str] | None = None,
    ) -> Decision:
        """Measures the gradients of parameters, takes their norm in, and clips them in place.

        Call it between backward() and the optimizer's step(), and leave that step out if
        the result says .skip.

        Args:
            parameters: a model, parameters, an optimizer, ..., as for clip_grad_norm_.
            loss: the step's loss, for SkipStep; others do not look at it.
            norm_type, eps, grad_scale, names: as for clip_grad_norm_.
            nonfinite: as for gradclip.clip_grad_norm_, whose default it has: gradients
                that are not finite are left alone, and the step is to be skipped.

        Returns:
            The decision, with the norm before clipping in .norm.

        DTensors in CPU memory have the norm of all their ranks: every rank makes the call, with
        a chooser of its own, made alike. AdaGC, whose norms are of each tensor, takes none.

        Raises:
            UnsupportedError: eps, nonfinite or grad_scale is given for gradients that the
                library cannot clip. (Without them torch measures and clips those.)
        """
        options = Options(norm_type, False, eps, nonfinite, grad_scale)
        listed, names = parameters_of(parameters, names)
        seen = look(listed, names, options)
        of_step = None if loss is None else float(loss)
        _fallback.clip_by_chooser(self, listed, seen, options, of_step, names)
        assert self.last is not None
        return self.last


class AutoClip(_OfParameters, gradclip.AutoClip):
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

    __slots__ = ()


class ZClip(_OfParameters, gradclip.ZClip):
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

    __slots__ = ()


class SkipStep(_OfParameters, gradclip.SkipStep):
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

    __slots__ = ()


class AdaGC(_OfParameters, gradclip.AdaGC):
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

    __slots__ = ()
