"""What a Monitor says about the first step whose gradients were not finite."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ._norm import NonFinite

_KEPT = 16  # steps whose tensors' norms are remembered
_GROWN = 10.0  # how many times the norm must have grown to be worth telling
_MOST_NAMED = 5


class Culprit(NamedTuple):
    """A gradient with NaNs or infinities.

    Attributes:
        tensor: its place in the list that was given.
        name: its name, if names are known.
        nonfinite_count: how many of its elements are not finite.
        step: the step in which it first had one.
    """

    tensor: int
    name: str | None
    nonfinite_count: int
    step: int


Culprit.__module__ = "gradclip"  # where users know it from


class Growth(NamedTuple):
    """How the norms grew before they were not finite any more.

    Attributes:
        first_step, last_step: from the smallest norm of the last steps to the last finite one.
        first_norm, last_norm: the total norms of these.
        step: the first in which the total norm was at least twice first_norm.
        tensor, name: the gradient that had grown most by then.
        times: how many times it had.
    """

    first_step: int
    last_step: int
    first_norm: float
    last_norm: float
    tensor: int
    name: str | None
    times: float
    step: int


Growth.__module__ = "gradclip"


class Diagnosis:
    """Where a run went wrong: its first step with NaN or infinite gradients. print() it.

    Attributes:
        step: the step.
        loss: the loss of that step, if it was given.
        nonfinite: how many elements there are, and where the first is, a NonFinite.
        culprits: the gradients that have them, in the order of the list, a tuple of Culprit.
        tensors: how many gradients there are.
        growth: how the norms grew in the steps before, a Growth; None if they did not.
        norms: step and total norm of the last steps before.
    """

    __module__ = "gradclip"  # where users know it from

    def __init__(
        self,
        step: int,
        loss: float | None,
        nonfinite: NonFinite,
        culprits: Sequence[Culprit],
        tensors: int,
        growth: Growth | None,
        norms: Sequence[tuple[int, float]],
        noun: str,
        grad_scale: float,
    ) -> None:
        self.step = step
        self.loss = loss
        self.nonfinite = nonfinite
        self.culprits = tuple(culprits)
        self.tensors = tensors
        self.growth = growth
        self.norms = tuple(norms)
        self._noun = noun
        self._grad_scale = grad_scale

    def __repr__(self) -> str:
        return f"<gradclip.Diagnosis of step {self.step}>"

    def __str__(self) -> str:
        lines = [f"step {self.step}: {self.nonfinite.of(self._noun)}"]
        if len(self.culprits) == self.tensors > 1:
            lines.append(f"All {self.tensors} gradients have NaNs or infinities.")
        elif len(self.culprits) > 1:
            lines.append(
                f"{len(self.culprits)} of {self.tensors} gradients have them: "
                f"{_listed([_label(c.tensor, c.name) for c in self.culprits])}."
            )
        if self.loss is not None and not math.isfinite(self.loss):
            lines.append(
                f"The loss of the step was {self.loss}: it went wrong in the forward pass, "
                "with the parameters that the steps before left."
            )
        elif len(self.culprits) < self.tensors and self.culprits:
            last = self.culprits[-1]
            given = "" if self.loss is None else f" The loss of the step was {self.loss:.6g}."
            lines.append(
                f"The rest are finite.{given} A backward pass goes through a model from its "
                f"end: {_label(last.tensor, last.name)} is the last of the list that has them."
            )
        growth = self.growth
        if growth is not None:
            lines.append(
                f"Before that the norm grew from {growth.first_norm:.4g} in step "
                f"{growth.first_step} to {growth.last_norm:.4g} in step {growth.last_step}. "
                f"{_label(growth.tensor, growth.name)} went first: in step {growth.step} its norm "
                f"was {growth.times:.3g} times that of step {growth.first_step}."
            )
            lines.append(
                "Steps were too long for this model: clip, or lower the learning rate. "
                "Clipping cannot repair a NaN; it can keep the steps before it short."
            )
        elif self.norms:
            lines.append(
                "The norms before it had not grown "
                f"(the last: {', '.join(f'{norm:.4g}' for _, norm in self.norms[-4:])}): "
                "look for an operation or an input that makes such values."
            )
        if self._grad_scale != 1:
            lines.append(
                f"The gradients were still multiplied by {self._grad_scale:g}: if only "
                "that overflowed, skip the step and lower the scale."
            )
        return "\n".join(lines)


class Trail:
    """The norms of the last steps, each gradient's included, to look back on."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: deque[tuple[int, float, array[float]]] = deque(maxlen=_KEPT)

    def add(self, step: int, total_norm: float, tensor_norms: Sequence[float]) -> None:
        self._steps.append((step, total_norm, array("d", tensor_norms)))

    def norms(self) -> list[tuple[int, float]]:
        return [(step, norm) for step, norm, _ in self._steps]

    def growth(self, names: Sequence[str] | None) -> Growth | None:
        """What became of the norm from its smallest to the last; None if it grew less than
        tenfold."""
        steps = list(self._steps)
        if not steps:
            return None
        # The last of the smallest: what came before it did no harm.
        begin = min(range(len(steps)), key=lambda i: (steps[i][1], -i))
        first_step, first_norm, _ = steps[begin]
        last_step, last_norm, _ = steps[-1]
        if not last_norm >= _GROWN * first_norm or first_norm == 0:
            return None
        at = next(i for i in range(begin + 1, len(steps)) if steps[i][1] >= 2 * first_norm)
        times = [b / a if a > 0 else 0.0 for a, b in zip(steps[begin][2], steps[at][2])]
        if not times:
            return None
        tensor = max(range(len(times)), key=times.__getitem__)
        name = None if names is None else names[tensor]
        return Growth(
            first_step, last_step, first_norm, last_norm, tensor, name, times[tensor], steps[at][0]
        )


def _label(tensor: int, name: str | None) -> str:
    return f"gradient {tensor}" if name is None else repr(name)


def _listed(labels: list[str]) -> str:
    if len(labels) <= _MOST_NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[: _MOST_NAMED - 1])} … {labels[-1]}"
