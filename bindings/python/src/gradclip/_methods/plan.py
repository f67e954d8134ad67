"""Plan: gradients that are looked at once and clipped every step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._choosers.chooser import Chooser
from .._gradients.array import forbid_resizing
from .._gradients.rows import Tensors
from .._gradients.types import Grads, NonFinitePolicy
from .._native import ffi
from .._native.call import Options
from .._norm import Norm
from .inspect import inspection_of
from .report import Inspection
from .whole import by_chooser, clip_value_of, clipped_copies, measure, run


class Plan:
    """The functions of this package for gradients that stay where they are between steps.

    A plan looks at the arrays once, and keeps their addresses, so that a step
    costs one call into the library, however many arrays there are. It holds the
    arrays' buffers: they stay alive, and resizing one raises (BufferError or
    ValueError) until the plan is closed; resizing a torch tensor, from then on
    (RuntimeError). An optimizer that puts a *new* array in a gradient's place is
    not followed; write into the array that is there.

    Args:
        grads: as for clip_grad_norm_; all must be writable.
        names: as for clip_grad_norm_.

    >>> import array
    >>> grad = array.array("d", [3.0, 4.0])
    >>> with Plan([grad]) as plan:
    ...     for step in range(2):
    ...         print(plan.clip_grad_norm_(max_norm=1.0, eps=0))
    5.0
    1.0
    """

    def __init__(self, grads: Grads, names: Iterable[str] | None = None) -> None:
        self._tensors: Tensors | None = Tensors(grads, names, writable=True)
        forbid_resizing(self._tensors.arrays)

    def close(self) -> None:
        """Lets the arrays go; the plan cannot be used any more. Closing twice is fine."""
        self._tensors = None

    def __enter__(self) -> Plan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        """How many gradients there are, None included."""
        return self._open().places

    def __repr__(self) -> str:
        if self._tensors is None:
            return "<gradclip.Plan, closed>"
        elements = sum(self._tensors.table.words[1::4])
        return f"<gradclip.Plan of {len(self)} gradients, {elements} elements>"

    def _open(self) -> Tensors:
        if self._tensors is None:
            raise ValueError("the plan is closed")
        return self._tensors

    def clip_grad_norm_(
        self,
        max_norm: float | Chooser,
        norm_type: float | str = 2.0,
        error_if_nonfinite: bool = False,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        tensor_norms: bool = False,
        exact_f64: bool = False,
    ) -> Norm:
        """gradclip.clip_grad_norm_ of the plan's gradients."""
        options = Options(
            norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64, tensor_norms
        )
        rows = self._open()
        if hasattr(max_norm, "feed"):
            return by_chooser(max_norm, rows, options)
        return run(ffi.gradclip_clip_grad_norm, rows, options, max_norm, options.norm_type)

    def clip_grad_norm(
        self,
        max_norm: float,
        norm_type: float | str = 2.0,
        error_if_nonfinite: bool = False,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        tensor_norms: bool = False,
        exact_f64: bool = False,
    ) -> tuple[Any, Norm]:
        """gradclip.clip_grad_norm of the plan's gradients: new arrays, and the norm."""
        options = Options(
            norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64, tensor_norms
        )
        return clipped_copies(self._open(), max_norm, options)

    def defer_clip(
        self,
        max_norm: float,
        norm_type: float | str = 2.0,
        error_if_nonfinite: bool = False,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        tensor_norms: bool = False,
        exact_f64: bool = False,
    ) -> Norm:
        """gradclip.defer_clip of the plan's gradients."""
        options = Options(
            norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64, tensor_norms
        )
        return run(ffi.gradclip_defer_clip, self._open(), options, max_norm, options.norm_type)

    def get_total_norm(
        self,
        norm_type: float | str = 2.0,
        error_if_nonfinite: bool = False,
        *,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        tensor_norms: bool = False,
        exact_f64: bool = False,
    ) -> Norm:
        """gradclip.get_total_norm of the plan's gradients."""
        options = Options(
            norm_type, error_if_nonfinite, 1e-6, nonfinite, grad_scale, exact_f64, tensor_norms
        )
        return measure(self._open(), options)

    def inspect(self, norm_type: float | str = 2.0, grad_scale: float = 1.0) -> Inspection:
        """gradclip.inspect of the plan's gradients."""
        return inspection_of(self._open(), norm_type, grad_scale)

    def clip_grads_with_norm_(
        self,
        max_norm: float,
        total_norm: float,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
    ) -> Norm:
        """gradclip.clip_grads_with_norm_ of the plan's gradients."""
        options = Options(eps=eps, nonfinite=nonfinite, grad_scale=grad_scale)
        rows = self._open()
        return run(ffi.gradclip_clip_grads_with_norm, rows, options, max_norm, total_norm)

    def clip_grad_value_(self, clip_value: float) -> None:
        """gradclip.clip_grad_value_ of the plan's gradients."""
        clip_value_of(self._open(), clip_value)
