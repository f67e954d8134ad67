"""SkipStep: says which steps to leave out."""

from __future__ import annotations

from typing import ClassVar

from .._native import ffi
from .._native.call import whole
from .chooser import LONGEST, Chooser, Decision


class SkipStep(Chooser):
    """Says which steps to leave out: those whose loss or norm is an outlier.

        skipstep = gradclip.SkipStep()
        ...
        if skipstep.clip_(grads, loss=loss).skip: continue    # instead of the step

    The rule of OLMo-core's SkipStepOptimizer: skip if the loss or the norm is more than
    sigma_factor standard deviations (of n - 1) above the mean of the last `window`
    steps before, once there are window / 2 - 1 of them, and at least 2. What is skipped
    enters the history all the same. Nothing is clipped. The defaults are OLMo-core's.

    Args:
        window: how many steps are kept, 2 to 1 000 000.
        sigma_factor: >= 0.

    >>> skipstep = SkipStep(window=8)
    >>> [skipstep.feed(norm, loss=2.0).skip for norm in (1.0, 1.1, 0.9, 1.0, 99.0)]
    [False, False, False, False, True]
    """

    __slots__ = ()
    _kind = ffi.GRADCLIP_SKIPSTEP
    _fields: ClassVar[dict[str, str]] = {"sigma_factor": "z_threshold"}

    def __init__(self, window: int = 128, sigma_factor: float = 6.0) -> None:
        window = whole("window", window, 2, LONGEST)
        super().__init__(window=window, sigma_factor=sigma_factor)

    def _step_options(self, loss: float | None) -> dict[str, float | None]:
        return {"loss": loss}

    def feed(self, norm: float, loss: float | None = None) -> Decision:
        """Takes the norm of a step in, and its loss if there is one, and decides about the step.

        If either is NaN or infinite, neither enters the history.
        """
        return self._feed(norm, loss)
