"""AutoClip, ZClip, AdaGC, SkipStep: choosers of max_norm from the norms of the run itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ctypes import c_double
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from . import _ffi
from ._calls import call
from ._chooser import (
    Chooser,
    Decision,
    GlobalChooser,
    _Each,
    _new_decision,
    checked_count,
    whole_number,
)
from ._tensors import Rows, Table, Tensors

if TYPE_CHECKING:
    from ._types import Grads, NonFinitePolicy


class AutoClip(GlobalChooser):
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

    >>> autoclip = AutoClip(percentile=50)
    >>> [autoclip.feed(norm).threshold for norm in (1.0, 2.0, 6.0)]
    [1.0, 1.5, 2.0]
    >>> autoclip.feed(float("nan")).skip, autoclip.feed(2.0).threshold
    (True, 2.0)
    """

    __module__ = "gradclip"  # where users know it from
    __slots__ = ()
    _kind = _ffi.GRADCLIP_AUTOCLIP

    def __init__(
        self,
        percentile: float = 10.0,
        window: int | None = None,
        *,
        threshold_first: bool = False,
    ) -> None:
        window = None if window is None else _window(window, 1)
        super().__init__(
            {"percentile": percentile, "window": window, "threshold_first": threshold_first},
            percentile=percentile,
            window=window or 0,
            mode=int(bool(threshold_first)),
        )

    def feed(self, norm: float) -> Decision:
        """Takes the norm of a step in, and decides about the step.

        Args:
            norm: the total norm before clipping, >= 0. One that is NaN or infinite
                does not enter the history, and its step is to be skipped.
        """
        return self._feed(norm, None)


_MODES = {"adaptive": 0, "mean": 1, "percentile": 2}


class ZClip(GlobalChooser):
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
        warmup_steps: steps that only give the first mean and variance, >= 1.
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

    __module__ = "gradclip"
    __slots__ = ()
    _kind = _ffi.GRADCLIP_ZCLIP
    _names: ClassVar[dict[str, str]] = {"decay": "alpha", "z_threshold": "z_thresh"}

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
        if mode not in _MODES:
            raise ValueError(f"mode must be one of {', '.join(map(repr, _MODES))} (got {mode!r})")
        warmup_steps = checked_count("warmup_steps", warmup_steps)
        super().__init__(
            {
                "alpha": alpha,
                "z_thresh": z_thresh,
                "warmup_steps": warmup_steps,
                "mode": mode,
                "max_norm": max_norm,
                "clip_factor": clip_factor,
                "eps": eps,
                "skip_update_on_spike": skip_update_on_spike,
            },
            decay=alpha,
            z_threshold=z_thresh,
            warmup_steps=warmup_steps,
            mode=_MODES[mode],
            max_norm=max_norm,
            clip_factor=clip_factor,
            eps=eps,
            skip_update_on_spike=int(bool(skip_update_on_spike)),
        )

    def feed(self, norm: float) -> Decision:
        """Takes the norm of a step in, and decides about the step; see AutoClip.feed."""
        return self._feed(norm, None)


class AdaGC(Chooser):
    """Clips each gradient by the moving average of its own norm.

        adagc = gradclip.AdaGC()
        ...
        if adagc.clip_(grads).skip: continue    # between backward pass and step

    G. Wang and others, "AdaGC", arXiv 2502.11034. The threshold of a gradient is
    lambda_rel times gamma, the moving average of its norm after clipping: gamma =
    beta gamma + (1 - beta) norm. Before step warmup_steps all are clipped together, by
    min(1, lambda_abs / total norm), and gamma is the smallest norm after that. The
    defaults are those of the paper and of PyPI's pytorch_optimizer 4.1.0, where AdaGC is
    part of an Adam.

    The number of gradients and their order must be the same in every step; one that is
    None has no part in it, and its gamma stays.

    Args:
        beta: the decay of the moving averages, 0 to 1.
        lambda_rel: threshold / gamma, >= 0.
        lambda_abs: the threshold of the warm-up, >= 0.
        warmup_steps: from which step on each has its own threshold.
        eps: the least gamma and norm in the quotient; added to the norm in the warm-up.

    >>> adagc = AdaGC(warmup_steps=2)
    >>> adagc.feed([0.5, 0.6]).tensor_coefs
    (1.0, 1.0)
    >>> adagc.feed([0.5, 6.3]).tensor_coefs
    (1.0, 0.1)
    """

    __module__ = "gradclip"
    __slots__ = ()
    per_tensor = True  # what Monitor asks: feed() takes the norm of each gradient
    _kind = _ffi.GRADCLIP_ADAGC
    _names: ClassVar[dict[str, str]] = {"decay": "beta", "max_norm": "lambda_abs"}

    def __init__(
        self,
        beta: float = 0.98,
        lambda_rel: float = 1.05,
        lambda_abs: float = 1.0,
        warmup_steps: int = 100,
        *,
        eps: float = 1e-8,
    ) -> None:
        warmup_steps = checked_count("warmup_steps", warmup_steps)
        super().__init__(
            {
                "beta": beta,
                "lambda_rel": lambda_rel,
                "lambda_abs": lambda_abs,
                "warmup_steps": warmup_steps,
                "eps": eps,
            },
            decay=beta,
            lambda_rel=lambda_rel,
            max_norm=lambda_abs,
            warmup_steps=warmup_steps,
            eps=eps,
        )

    def feed(self, norms: float | Sequence[float | None]) -> Decision:
        """Takes the norms of a step in, and decides about the step.

        Args:
            norms: the norm of each gradient before clipping, >= 0, or None for one that
                there is none of in this step. A number is the norm of the only one. If
                one is NaN or infinite, none enters the history, and the step is to be
                skipped.
        """
        listed: Any = norms if isinstance(norms, Sequence) or hasattr(norms, "__len__") else [norms]
        array = (c_double * len(listed))(*(-1.0 if norm is None else norm for norm in listed))
        decision = _new_decision()
        each = _Each(decision, len(array))
        with self._lock:
            call(_ffi.gradclip_chooser_feed_tensors, self._handle, array, len(array), decision)
        return Decision(decision, *each.of(None))

    def clip_(
        self,
        grads: Grads,
        *,
        norm_type: float = 2.0,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        exact_f64: bool = False,
        names: Iterable[str] | None = None,
    ) -> Decision:
        """Measures gradients, takes their norms in, and clips each in place as it decides.

        The arguments are those of AutoClip.clip_. Gradients that are the same memory
        count as one.
        """
        tensors = Tensors(grads, names, writable=True)
        rows: list[int | None] = [None] * len(tensors.leaves)
        for i in range(len(tensors.arrays)):
            rows[tensors.leaf(i)] = i if tensors.row_of is None else tensors.row_of[i]
        return self._clip_each(tensors, rows, norm_type, nonfinite, grad_scale, exact_f64)

    def _clip_each(
        self,
        tensors: Rows,
        rows: list[int | None],
        norm_type: float,
        nonfinite: str,
        grad_scale: float,
        exact_f64: bool,
    ) -> Decision:
        """`rows`: the row of each gradient, None for one that there is none of."""
        return self._clip(
            tensors,
            _spread(tensors.table, rows),
            norm_type,
            None,
            1e-6,
            nonfinite,
            grad_scale,
            exact_f64,
            rows,
        )


def _spread(table: Table, rows: Sequence[int | None]) -> Table:
    """A table with a row for each gradient, empty for None and for memory seen before."""
    words, seen = table.words, set()
    columns: list[tuple[int, int, int]] = []
    for row in rows:
        if row is None or row in seen:
            columns.append((0, 0, _ffi.GRADCLIP_F32))
        else:
            seen.add(row)
            data, length, dtype = words[4 * row : 4 * row + 3]
            columns.append((data, length, dtype & 0xFFFFFFFF))
    return Table.of(*zip(*columns)) if columns else Table.of((), (), ())


class SkipStep(GlobalChooser):
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

    __module__ = "gradclip"
    __slots__ = ()
    _kind = _ffi.GRADCLIP_SKIPSTEP
    _names: ClassVar[dict[str, str]] = {"z_threshold": "sigma_factor"}

    def __init__(self, window: int = 128, sigma_factor: float = 6.0) -> None:
        window = _window(window, 2)
        super().__init__(
            {"window": window, "sigma_factor": sigma_factor},
            window=window,
            z_threshold=sigma_factor,
        )

    def feed(self, norm: float, loss: float | None = None) -> Decision:
        """Takes the norm of a step in, and its loss if there is one, and decides about the step.

        If either is NaN or infinite, neither enters the history.
        """
        return self._feed(norm, loss)


def _window(window: int, least: int) -> int:
    whole = whole_number(window)
    if whole is None or not least <= whole <= 1_000_000:
        from ._errors import InvalidArgumentError

        raise InvalidArgumentError(
            f"window must be an integer from {least} to 1000000 (got {window!r})"
        )
    return whole
