"""AdaGC: clips each gradient by the moving average of its own norm."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_double
from typing import Any, ClassVar

from .._gradients.rows import Tensors
from .._gradients.types import Array
from .._native import ffi
from .._native.call import Options, call, new_result, real, whole
from .chooser import Chooser, Decision, PerTensor, new_decision


class _Gradient(Tensors):
    """The one that feed_tensor() is given."""

    __slots__ = ()

    def label(self, i: int) -> str:
        return "grad"


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
    part of an Adam. Or gradient by gradient, inside the backward pass: feed_tensor().

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

    __slots__ = ()
    per_tensor = True  # what Monitor asks: feed() takes the norm of each gradient
    _kind = ffi.GRADCLIP_ADAGC
    _fields: ClassVar[dict[str, str]] = {"beta": "decay", "lambda_abs": "max_norm"}

    def __init__(
        self,
        beta: float = 0.98,
        lambda_rel: float = 1.05,
        lambda_abs: float = 1.0,
        warmup_steps: int = 100,
        *,
        eps: float = 1e-8,
    ) -> None:
        warmup_steps = whole("warmup_steps", warmup_steps)
        super().__init__(
            beta=beta,
            lambda_rel=lambda_rel,
            lambda_abs=lambda_abs,
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
        array = (c_double * len(listed))()
        for i, norm in enumerate(listed):
            array[i] = -1.0 if norm is None else real(f"norms[{i}]", norm)
        decision = new_decision()
        each = PerTensor(decision, len(array))
        with self._lock:
            call(ffi.gradclip_chooser_feed_tensors, self._handle, array, len(array), decision)
        self.last = Decision(decision, *each.of(None))
        return self.last

    def feed_tensor(
        self,
        index: int,
        grad: Array,
        *,
        norm_type: float | str = 2.0,
        grad_scale: float = 1.0,
        exact_f64: bool = False,
    ) -> float | None:
        """Takes one gradient in as soon as it is there, and says what to multiply it by.

        For optimizers that step inside the backward pass, where no global norm can be known:
        before step warmup_steps each gradient is clipped by its own norm, min(1, lambda_abs /
        norm), and from then on by the rule above. A step begins with a gradient that was
        fed in the step before; save the state between two steps. Calls from several
        threads take turns.

        Args:
            index: which gradient it is, from 0 and below 10**6.
            grad: an array, as for clip_grad_norm_, which is only read.
            norm_type, grad_scale, exact_f64: as for clip_grad_norm_.

        Returns:
            The factor, clip_coef / grad_scale. None where nothing may be multiplied: an
            element is NaN or infinite, or the norm exceeds float64. Leave this gradient's
            step out then; it is not taken in.

        >>> import array
        >>> adagc, grad = AdaGC(warmup_steps=2), array.array("f", [0.3, 0.4])
        >>> adagc.feed_tensor(0, grad), adagc.feed_tensor(0, array.array("f", [3.0, 4.0]))
        (1.0, 0.10500000166893007)
        >>> print(adagc.feed_tensor(0, array.array("f", [float("nan")])))
        None
        """
        rows = _Gradient([grad], None, writable=False)
        if rows.places != 1 or rows.count != 1:
            raise ValueError(f"grad must be one array (got {rows.count})")
        index = whole("index", index)
        options = Options(norm_type, grad_scale=grad_scale, exact_f64=exact_f64)
        result = new_result()
        with self._lock:
            status = call(
                ffi.gradclip_chooser_feed_tensor,
                self._handle,
                index,
                rows.table.first,
                options.norm_type,
                options.native,
                result,
            )
        return float(result.factor) if status == ffi.GRADCLIP_OK else None
