"""AutoClip: max_norm is a percentile of the norms so far."""

from __future__ import annotations

from typing import Any, ClassVar

from .._native import ffi
from .._native.call import whole
from .chooser import LONGEST, Chooser, Decision


class AutoClip(Chooser):
    """Clips to a percentile of the norms so far.

        autoclip = gradclip.AutoClip()
        ...
        if autoclip.clip_(grads).skip: continue    # between backward pass and step

    P. Seetharaman and others, "AutoClip", arXiv 2007.14469: the step's norm is appended
    to the history, and max_norm is the 10th percentile of that, interpolated as
    numpy.percentile does. PyPI's autoclip 0.2.1 has other defaults: the threshold is
    taken before appending (threshold_first=True), of the last 1000 norms (window=1000),
    at quantile 0.9 (percentile=90), and for each parameter by itself unless
    global_threshold=True.

    The history is exact up to a million norms (16 bytes each). Of more a histogram is
    kept (8.4 MB), and the threshold is within a part in 1024 of the exact one.

    Args:
        percentile: 0 to 100.
        window: how many norms are kept, up to 1 000 000; None: all.
        threshold_first: take the threshold before this step's norm is appended. The
            first step is then not clipped.
        clip_factor: the threshold is this times the percentile; finite, >= 0. With 3 and
            percentile=50 no step is over three times the median.

    >>> autoclip = AutoClip(percentile=50)
    >>> [autoclip.feed(norm).threshold for norm in (1.0, 2.0, 6.0)]
    [1.0, 1.5, 2.0]
    >>> autoclip.feed(float("nan")).skip, autoclip.feed(2.0).threshold
    (True, 2.0)
    """

    __slots__ = ()
    _kind = ffi.GRADCLIP_AUTOCLIP
    _fields: ClassVar[dict[str, str]] = {"threshold_first": "mode"}
    _codes: ClassVar[dict[str, dict[Any, int]]] = {"window": {None: 0}}  # None: all norms

    def __init__(
        self,
        percentile: float = 10.0,
        window: int | None = None,
        *,
        threshold_first: bool = False,
        clip_factor: float = 1.0,
    ) -> None:
        window = None if window is None else whole("window", window, 1, LONGEST)
        super().__init__(
            percentile=percentile,
            window=window,
            threshold_first=bool(threshold_first),
            clip_factor=clip_factor,
        )

    def feed(self, norm: float) -> Decision:
        """Takes the norm of a step in, and decides about the step.

        Args:
            norm: the total norm before clipping, >= 0. One that is NaN or infinite
                does not enter the history, and its step is to be skipped.
        """
        return self._feed(norm, None)
