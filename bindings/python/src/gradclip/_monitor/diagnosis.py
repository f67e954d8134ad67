"""What a Monitor says about the first step whose gradients were not finite."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .._norm import NonFinite

_LEVEL = 32  # norms whose median is the level of a run
_KEPT = 16  # steps whose tensors' norms are remembered
_SPIKE = 5.0  # times the level
_BEFORE = 64  # how many steps before the first that is not finite a spike may be its beginning
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


class Spike(NamedTuple):
    """A step whose norm was at least 5 times the level of the run before it.

    Attributes:
        step, norm, loss: of the step; the loss is None if it was not given.
        level: the median of up to 32 norms before it.
        tensor, name: the gradient whose norm had grown most, in absolute terms, since step
            `since`, one of the last 16 whose total norm was at the level.
        grown_from, grown_to: its norms.
    """

    step: int
    norm: float
    loss: float | None
    level: float
    tensor: int
    name: str | None
    since: int
    grown_from: float
    grown_to: float


class Diagnosis:
    """Where a run went wrong: its first step with NaN or infinite gradients. print() it.

    Attributes:
        step: the step.
        loss: the loss of that step, if it was given.
        nonfinite: how many elements there are, and where the first is, a NonFinite.
        culprits: the gradients that have them, in the order of the list, a tuple of Culprit.
        tensors: how many gradients there are.
        spikes: the norms far above the level in the 64 steps before, a tuple of Spike: the
            first of them is where it began.
        norms: step and total norm of the last steps before.
    """

    def __init__(
        self,
        step: int,
        loss: float | None,
        nonfinite: NonFinite,
        culprits: Sequence[Culprit],
        tensors: int,
        spikes: Sequence[Spike],
        norms: Sequence[tuple[int, float]],
        noun: str,
        grad_scale: float,
    ) -> None:
        self.step = step
        self.loss = loss
        self.nonfinite = nonfinite
        self.culprits = tuple(culprits)
        self.tensors = tensors
        self.spikes = tuple(spikes)
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
        if self.spikes:
            first, more = self.spikes[0], len(self.spikes) - 1
            loss = "" if first.loss is None else f", the loss {first.loss:.4g}"
            lines.append(
                f"It began in step {first.step}: the norm was {first.norm:.4g}{loss}, "
                f"{first.norm / first.level:.3g} times the level before ({first.level:.4g}). "
                f"Most of all had grown {_label(first.tensor, first.name)}: from "
                f"{first.grown_from:.3g} in step {first.since} to {first.grown_to:.3g}."
                + (f" {more} more such norms followed." if more > 1 else "")
            )
            lines.append(
                "Steps were too long for this model: clip, or lower the learning rate. "
                "Clipping cannot repair a NaN; it can keep the steps before it short."
            )
        elif self.norms:
            lines.append(
                "The norms before it were at their level "
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

    __slots__ = ("_norms", "_spikes", "_tensors")

    def __init__(self) -> None:
        self._norms: deque[tuple[int, float]] = deque(maxlen=_LEVEL)
        self._tensors: deque[array[float]] = deque(maxlen=_KEPT)  # of the last of these
        self._spikes: deque[Spike] = deque(maxlen=_BEFORE)

    def add(
        self,
        step: int,
        norm: float,
        loss: float | None,
        tensor_norms: Sequence[float],
        names: Sequence[str] | None,
    ) -> None:
        if self._norms:
            level = _median(before for _, before in self._norms)
            if 0 < _SPIKE * level <= norm and tensor_norms:
                self._spikes.append(self._spike(step, norm, loss, level, tensor_norms, names))
        self._norms.append((step, norm))
        self._tensors.append(array("d", tensor_norms))

    def norms(self) -> list[tuple[int, float]]:
        return list(self._norms)[-_KEPT:]

    def spikes(self, step: int) -> list[Spike]:
        """Those in the steps before one."""
        return [spike for spike in self._spikes if spike.step >= step - _BEFORE]

    def _spike(
        self,
        step: int,
        norm: float,
        loss: float | None,
        level: float,
        tensor_norms: Sequence[float],
        names: Sequence[str] | None,
    ) -> Spike:
        remembered = list(zip(self.norms(), self._tensors))
        (since, _), calm = min(remembered, key=lambda one: abs(one[0][1] - level))
        # There may be fewer: a gradient that is None at the end of the list has no norm.
        before = [*calm, *[0.0] * (len(tensor_norms) - len(calm))]
        tensor = max(range(len(tensor_norms)), key=lambda i: tensor_norms[i] - before[i])
        name = None if names is None else names[tensor]
        return Spike(
            step, norm, loss, level, tensor, name, since, before[tensor], tensor_norms[tensor]
        )


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def _label(tensor: int, name: str | None) -> str:
    return f"gradient {tensor}" if name is None else repr(name)


def _listed(labels: list[str]) -> str:
    if len(labels) <= _MOST_NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[: _MOST_NAMED - 1])} … {labels[-1]}"
