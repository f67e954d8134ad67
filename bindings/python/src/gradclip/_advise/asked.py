"""What the user asks for, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .._native.errors import InvalidArgumentError
from .optimizers import family_of


@dataclass(frozen=True)
class Asked:
    """The learning rate of the run to come, the family of its optimizer, and its steps."""

    next_lr: float | None
    family: str | None
    next_steps: int | None = None

    @classmethod
    def of(
        cls, next_lr: float | None, optimizer: str | None, next_steps: int | None = None
    ) -> Asked:
        rate = None if next_lr is None else positive("next_lr", next_lr)
        steps = None if next_steps is None else int(positive("next_steps", next_steps))
        return cls(rate, family_of(optimizer), steps)


def positive(name: str, value: Any) -> float:
    """The value as a number, or the error that names it."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise InvalidArgumentError(f"{name} must be a number > 0 (got {value!r})")
    return number


def is_number(value: Any) -> bool:
    """Whether value is one number, an array or tensor without dimensions included."""
    return isinstance(value, (int, float)) or getattr(value, "ndim", None) == 0


def one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raises unless value is None or one of the known words."""
    if value is not None and value not in known:
        listed = ", ".join(repr(one) for one in known)
        raise InvalidArgumentError(f"{name} must be one of {listed} (got {value!r})")
