"""Plan: gradients that are looked at once and clipped every step."""

from __future__ import annotations

from collections.abc import Iterable

from .._gradients.array import forbid_resizing
from .._gradients.rows import Held
from .._gradients.types import Grads
from . import whole
from .inspect import inspect
from .report import Inspection


class Plan(Held):
    """The functions of this package for gradients that stay where they are between steps.

    A plan looks at the arrays once, and keeps their addresses, so that a step
    costs one call into the library, however many arrays there are. It holds the
    arrays' buffers: they stay alive, and resizing one raises (BufferError or
    ValueError) until the plan is closed; resizing a torch tensor, from then on
    (RuntimeError). An optimizer that puts a *new* array in a gradient's place is
    not followed; write into the array that is there.

    Its methods are the functions of these names, and every other function of gradclip that takes
    `grads` takes a plan in their place.

    Args:
        grads: as for clip_grad_norm_; all must be writable.
        names: as for clip_grad_norm_; calls with a plan take no others.

    >>> import array
    >>> grad = array.array("d", [3.0, 4.0])
    >>> with Plan([grad]) as plan:
    ...     for step in range(2):
    ...         print(plan.clip_grad_norm_(max_norm=1.0, eps=0))
    5.0
    1.0
    """

    def __init__(self, grads: Grads, names: Iterable[str] | None = None) -> None:
        super().__init__(grads, names)
        forbid_resizing(self._open().arrays)

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

    clip_grad_norm_ = whole.clip_grad_norm_
    clip_grad_norm = whole.clip_grad_norm
    defer_clip = whole.defer_clip
    get_total_norm = whole.get_total_norm
    clip_grads_with_norm_ = whole.clip_grads_with_norm_
    clip_grad_value_ = whole.clip_grad_value_

    def inspect(self, norm_type: float | str = 2.0, grad_scale: float = 1.0) -> Inspection:
        """gradclip.inspect of the plan's gradients."""
        return inspect(self, None, norm_type, grad_scale)
