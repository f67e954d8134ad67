"""Choosers of max_norm, from the norms of the run itself."""

from .adagc import AdaGC
from .autoclip import AutoClip
from .chooser import Decision
from .skipstep import SkipStep
from .zclip import ZClip

__all__ = ["AdaGC", "AutoClip", "Decision", "SkipStep", "ZClip"]
