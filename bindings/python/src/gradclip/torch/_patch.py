"""Puts this package's functions in the place of torch's."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from torch.nn import utils
from torch.nn.utils import clip_grad

from .._rebinding import Place, Rebinding, held_in
from . import _clip, _fallback

_OURS = {
    "clip_grad_norm_": _clip.clip_grad_norm_,
    "clip_grad_value_": _clip.clip_grad_value_,
    "clip_grads_with_norm_": _clip.clip_grads_with_norm_,
    "get_total_norm": _clip.get_total_norm,
}
_BY_ORIGINAL: dict[int, Any] = {id(getattr(_fallback, name)): ours for name, ours in _OURS.items()}


class Patch(Rebinding):
    """What patch() has done. Leaving it as a context manager, or undo(), takes it back.

    Of several patches, undone in any order, the last one puts torch's functions back.

    Attributes:
        missed: the names, "module.name", under which modules loaded before the
            patch hold torch's own functions (`from torch.nn.utils import
            clip_grad_norm_`), and keep using them.
        names: those of them that were rebound instead, for everywhere=True.
    """

    _of_torch: ClassVar[Rebinding | None] = None  # what all patches that hold have done once
    _holding: ClassVar[set[Patch]] = set()

    def __init__(self, everywhere: bool = False) -> None:
        if not Patch._holding:
            Patch._of_torch = Rebinding(
                [
                    Place(module, name, function)
                    for module in (utils, clip_grad)
                    for name, function in _OURS.items()
                    if hasattr(module, name)
                ],
                "gradclip.torch.patch",
            )
        Patch._holding.add(self)
        held = _holders()
        super().__init__(held if everywhere else [], "gradclip.torch.patch")
        missed = [] if everywhere else held
        self.missed: tuple[str, ...] = tuple(f"{p.holder.__name__}.{p.name}" for p in missed)

    def undo(self) -> None:
        """Puts torch's functions back, if no other patch holds; calling it twice is fine.

        A name that somebody else has bound meanwhile stays as it is.
        """
        super().undo()
        Patch._holding.discard(self)
        if not Patch._holding and Patch._of_torch is not None:
            Patch._of_torch.undo()

    def __repr__(self) -> str:
        if self not in Patch._holding:
            return "<gradclip.torch.patch, undone>"
        missed = f"; missed: {', '.join(self.missed)}" if self.missed else ""
        return f"<gradclip.torch.patch of torch.nn.utils{missed}>"


def patch(everywhere: bool = False) -> Patch:
    """Puts this module's functions under torch.nn.utils and torch.nn.utils.clip_grad.

    Libraries that call torch.nn.utils.clip_grad_norm_ (Lightning, accelerate, the
    Trainer of transformers) then use them unchanged. Modules that were loaded
    before and hold a function itself (`from torch.nn.utils import ...`) do not see
    the patch: a warning names them. Patch first, or with everywhere=True, which rebinds
    those names too (in modules, not in what functions or objects keep). torch's deprecated alias
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
    patched = Patch(everywhere)
    if patched.missed:
        warnings.warn(
            "these hold torch's own functions, and keep using them; patch before they are "
            f"imported, or with everywhere=True: {', '.join(patched.missed)}",
            stacklevel=2,
        )
    return patched


def _holders() -> list[Place]:
    """Where loaded modules hold torch's own functions under a global name."""
    return [place for place in held_in(None, _BY_ORIGINAL) if place.holder is not clip_grad]
