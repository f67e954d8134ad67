"""ZClip: clips norms far above their moving average."""

from __future__ import annotations

from math import inf
from typing import Any, ClassVar, Literal

from .._native import ffi
from .._native.call import number_of, whole
from .chooser import Chooser, Decision

_MODES = {"adaptive": 0, "mean": 1, "percentile": 2}


class ZClip(Chooser):
    """Clips spikes: norms far above their moving average, in standard deviations.

        zclip = gradclip.ZClip()
        ...
        if zclip.clip_(grads).skip: continue    # between backward pass and step

    A. Kumar and others, "ZClip", arXiv 2504.02507. Mean m and variance v of the norms
    are those of the first warmup_steps, and then move: m = alpha m + (1 - alpha) x,
    v = alpha v + (1 - alpha) (x - m)^2, where x is the norm, or the threshold it was
    clipped to. A norm n with z = (n - m) / (sqrt(v) + eps) above z_thresh is a spike.
    The defaults are those of the paper and of PyPI's zclip 1.0.0, with one difference:
    that also caps all norms, in the warm-up too, at max_grad_norm=1.0 (max_norm=1.0 here).

    Args:
        alpha: the decay of the moving averages, 0 to 1.
        z_thresh: from how many deviations on a norm is a spike, >= 0.
        warmup_steps: steps that only give the first mean and variance; 0 counts as 1.
        mode: what a spike is clipped to. "adaptive": m + z_thresh^2 sqrt(v) / z, the
            lower the larger the spike (the package's clip_option "adaptive_scaling");
            "mean": m; "percentile": m + z_thresh sqrt(v) (the package's mode of that
            name, where what exceeds that is a spike).
        max_norm: no step is clipped to more than this; infinity: no such cap.
        clip_factor: multiplies the threshold of "adaptive".
        eps: see z.
        skip_update_on_spike: leave mean and variance as they are at a spike.

    >>> zclip = ZClip(warmup_steps=4)
    >>> [zclip.feed(norm).clipped for norm in (1.0, 1.1, 0.9, 1.0, 1.1, 9.0)]
    [False, False, False, False, False, True]
    """

    __slots__ = ()
    _kind = ffi.GRADCLIP_ZCLIP
    _fields: ClassVar[dict[str, str]] = {"alpha": "decay", "z_thresh": "z_threshold"}
    _codes: ClassVar[dict[str, dict[Any, int]]] = {"mode": _MODES}

    def __init__(
        self,
        alpha: float = 0.97,
        z_thresh: float = 2.5,
        warmup_steps: int = 25,
        *,
        mode: Literal["adaptive", "mean", "percentile"] = "adaptive",
        max_norm: float = inf,
        clip_factor: float = 1.0,
        eps: float = 1e-6,
        skip_update_on_spike: bool = False,
    ) -> None:
        number_of("mode", mode, _MODES)
        warmup_steps = whole("warmup_steps", warmup_steps)
        super().__init__(
            alpha=alpha,
            z_thresh=z_thresh,
            warmup_steps=warmup_steps,
            mode=mode,
            max_norm=max_norm,
            clip_factor=clip_factor,
            eps=eps,
            skip_update_on_spike=bool(skip_update_on_spike),
        )

    def feed(self, norm: float) -> Decision:
        """Takes the norm of a step in, and decides about the step; see AutoClip.feed."""
        return self._feed(norm, None)
