"""AdaGC: clips each gradient by the moving average of its own norm."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_double
from typing import Any, ClassVar

from .._native import ffi
from .._native.call import call
from .chooser import Chooser, Decision, PerTensor, checked_count, new_decision


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
    _kind = ffi.GRADCLIP_ADAGC
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
        decision = new_decision()
        each = PerTensor(decision, len(array))
        with self._lock:
            call(ffi.gradclip_chooser_feed_tensors, self._handle, array, len(array), decision)
        self.last = Decision(decision, *each.of(None))
        return self.last
