"""Puts this package's functions in the place of torch's."""

from __future__ import annotations

import sys
import warnings
from types import TracebackType
from typing import Any, ClassVar

from torch.nn import utils
from torch.nn.utils import clip_grad

from .._rebinding import Place, Rebinding
from . import _clip, _fallback

_OURS = {
    "clip_grad_norm_": _clip.clip_grad_norm_,
    "clip_grad_value_": _clip.clip_grad_value_,
    "clip_grads_with_norm_": _clip.clip_grads_with_norm_,
    "get_total_norm": _clip.get_total_norm,
}
_ORIGINALS: dict[int, str] = {id(getattr(_fallback, name)): name for name in _OURS}


class Patch:
    """What patch() has done. Leaving it as a context manager, or undo(), takes it back.

    Of several patches, undone in any order, the last one puts torch's functions back.

    Attributes:
        missed: the names, "module.name", under which modules loaded before the
            patch hold torch's own functions (`from torch.nn.utils import
            clip_grad_norm_`), and keep using them.
    """

    _rebinding: ClassVar[Rebinding | None] = None  # of the patches that hold
    _holding: ClassVar[set[Patch]] = set()

    def __init__(self) -> None:
        if not Patch._holding:
            Patch._rebinding = Rebinding(
                [
                    Place(module, name, function)
                    for module in (utils, clip_grad)
                    for name, function in _OURS.items()
                    if hasattr(module, name)
                ],
                "gradclip.torch.patch",
            )
        Patch._holding.add(self)
        self.missed: tuple[str, ...] = tuple(_holders())

    def undo(self) -> None:
        """Puts torch's functions back, if no other patch holds; calling it twice is fine.

        A name that somebody else has bound meanwhile stays as it is.
        """
        Patch._holding.discard(self)
        if not Patch._holding and Patch._rebinding is not None:
            Patch._rebinding.undo()

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        if self not in Patch._holding:
            return "<gradclip.torch.patch, undone>"
        missed = f"; missed: {', '.join(self.missed)}" if self.missed else ""
        return f"<gradclip.torch.patch of torch.nn.utils{missed}>"


def patch() -> Patch:
    """Puts this module's functions under torch.nn.utils and torch.nn.utils.clip_grad.

    Libraries that call torch.nn.utils.clip_grad_norm_ (Lightning, accelerate, the
    Trainer of transformers) then use them unchanged. Modules that were loaded
    before and hold a function itself (`from torch.nn.utils import ...`) do not see
    the patch: a warning names them. Patch first. torch's deprecated alias
    clip_grad_norm is left alone.

    Returns:
        A Patch. It holds until its undo() is called, or, with `with patch():`,
        until the end of the block.

    >>> with patch():
    ...     torch.nn.utils.clip_grad_norm_ is clip_grad_norm_
    True
    >>> torch.nn.utils.clip_grad_norm_ is clip_grad_norm_
    False
    """
    patched = Patch()
    if patched.missed:
        warnings.warn(
            "these hold torch's own functions, and keep using them; patch before they are "
            f"imported: {', '.join(patched.missed)}",
            stacklevel=2,
        )
    return patched


def _holders() -> list[str]:
    """Where loaded modules hold torch's own functions under a global name."""
    found = []
    for module_name, module in sorted(sys.modules.items()):
        if module is _fallback or module is clip_grad:
            continue
        # The dictionary, because asking a lazy module for a name would load it.
        names: dict[str, Any] = getattr(module, "__dict__", {})
        found += [f"{module_name}.{name}" for name, x in list(names.items()) if id(x) in _ORIGINALS]
    return found
