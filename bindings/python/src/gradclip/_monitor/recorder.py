"""What the Monitors for arrays and for torch have in common: all but the gradients."""

from __future__ import annotations

import math
import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._choosers.chooser import Measured, decide
from .._methods.whole import clip_coef
from .._native.call import POLICIES, Options, number_of, whole
from .._native.errors import BadDataError
from .._norm import NonFinite, Norm
from .diagnosis import Culprit, Diagnosis, Trail
from .history import Entry, History

if TYPE_CHECKING:
    from .._advise.advice import Advice
    from .steplog import StepLog
else:
    Advice = Any  # is loaded when it is asked for

_ENOUGH = 100  # steps before a Monitor says that it clips most of them


class MonitorWarning(UserWarning):
    """What a Monitor warns of: once for each cause."""


class Step(Norm):
    """What Monitor.clip_ returns: the norm before clipping, a Norm, and what became of the step.

    Attributes:
        step: its number.
        max_norm: the threshold that held.
        skip: whether to leave out the optimizer's step: gradients are not finite (and were
            left as they are), or the chooser says so.
        learning_rate, loss: as given.
    """

    __slots__ = ("learning_rate", "loss", "max_norm", "skip", "step")

    step: int
    max_norm: float
    skip: bool
    learning_rate: float | None
    loss: float | None


class Work(Measured):
    """The gradients of one step, and what a Monitor does with them."""

    names: list[str] | None

    def clip(self, max_norm: float, nonfinite: str) -> Norm:
        raise NotImplementedError

    def culprits(self) -> tuple[list[tuple[int, int]], int]:
        """Place and number of non-finite elements of each that has some; how many there are."""
        raise NotImplementedError


class Recorder:
    """A Monitor without its gradients."""

    _noun = "gradient"

    def __init__(
        self,
        max_norm: Any,
        norm_type: float | str,
        eps: float,
        nonfinite: str,
        log: str | os.PathLike[str] | None,
        tensorboard: Any,
        tag: str,
        history: int,
    ) -> None:
        self._chooser: Any = None
        self._max_norm = math.nan
        if isinstance(max_norm, type):
            raise TypeError(f"max_norm must be a number or a chooser (got the class {max_norm!r})")
        if callable(getattr(max_norm, "feed", None)):
            self._chooser = max_norm
            import inspect  # takes as long as the rest of the package

            self._takes_loss = "loss" in inspect.signature(max_norm.feed).parameters
        else:
            self._max_norm = given_number(max_norm, "max_norm")
        number_of("nonfinite", nonfinite, POLICIES)
        if tensorboard is not None and not callable(getattr(tensorboard, "add_scalar", None)):
            raise TypeError(f"tensorboard must have a method add_scalar (got {tensorboard!r})")
        self._norm_type = Options(norm_type).norm_type
        self._eps = given_number(eps, "eps")
        if self._chooser is None:  # the library says what is wrong with a number, before a step
            clip_coef(self._max_norm, 0.0, self._eps)
        elif nonfinite != "leave":
            raise ValueError(f"nonfinite must be 'leave' with a chooser (got {nonfinite!r})")
        self._nonfinite = nonfinite
        self._tensorboard = tensorboard
        if not isinstance(tag, str):
            raise TypeError(f"tag must be a string (got {tag!r})")
        self._tag = tag.rstrip("/") + "/" if tag else ""
        self.history = History(history)
        self.step = 0
        self.clipped = 0
        self.skipped = 0
        self._steps = 0  # of this Monitor: history.total has those of its log too
        self.diagnosis: Diagnosis | None = None
        self._trail = Trail()
        self._culprits: dict[int, Culprit] = {}
        self._warned: set[Any] = set()
        self._log: StepLog | None = None
        if log is not None:
            from .steplog import StepLog

            self._log = StepLog(log)
            for entry in self._log.entries():
                self.history.add(entry)
                self.step = entry.step
            self._log.open()

    @property
    def culprits(self) -> tuple[Culprit, ...]:
        """The gradients that ever had NaNs or infinities, who went first first."""
        return tuple(self._culprits.values())

    def close(self) -> None:
        """Closes the log. The TensorBoard writer is its owner's."""
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        by = f"max_norm {self._max_norm:g}" if self._chooser is None else repr(self._chooser)
        return (
            f"<{type(self).__module__}.Monitor, {by}: {self._steps} steps, "
            f"{self.clipped} clipped, {self.skipped} skipped>"
        )

    def advise(self, **options: Any) -> Advice:
        """What gradclip.advise says to the norms of this run so far.

        Steps, learning rates and losses are those that clip_ was given, if it was;
        `next_lr` and the other options of gradclip.advise may be given here.
        """
        from .. import advise

        steps = self.history["step"]
        if all(map(operator.lt, steps, steps[1:])):  # as advise demands it
            options.setdefault("steps", steps)
        for name in ("learning_rate", "loss", "clip_coef"):
            values = self.history[name]
            if name not in options and not all(map(math.isnan, values)):
                options[name] = values
        if self._chooser is not None:
            options.setdefault("was", self.history["threshold"])
            options.setdefault("skipped", self.history["skipped"])
        return advise(self.history["grad_norm"], **options)

    # ------------------------------------------------------------------- a checkpoint --

    def state_dict(self) -> dict[str, Any]:
        """Step number, counts, history and the chooser's state, of plain strings and numbers:
        for json, pickle and torch.save."""
        chooser = getattr(self._chooser, "state_dict", None)
        return {
            "step": self.step,
            "clipped": self.clipped,
            "skipped": self.skipped,
            "steps": self._steps,
            "history": self.history.state_dict(),
            "chooser": None if chooser is None else chooser(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Goes on where state_dict() was. The history becomes that one, in place of what a log
        had. max_norm and the other arguments stay as this Monitor was made with.

        Raises:
            BadDataError: it is none of a Monitor's, is damaged, or has the state of another kind
                of chooser. Nothing has changed then.
        """
        history = History(self.history.limit)
        try:
            counts = [int(state_dict[name]) for name in ("step", "clipped", "skipped", "steps")]
            history.load_state_dict(state_dict["history"])
            chooser = state_dict["chooser"]
        except (TypeError, KeyError, ValueError) as error:
            raise BadDataError(f"state_dict is none of a Monitor's ({error!r})") from None
        load = getattr(self._chooser, "load_state_dict", None)
        if (chooser is None) != (load is None):
            has = "no chooser" if chooser is None else f"the chooser {chooser.get('chooser')}"
            raise BadDataError(f"state_dict is of a Monitor with {has} (this one: {self!r})")
        if load is not None:
            load(chooser)
        self.step, self.clipped, self.skipped, self._steps = counts
        self.history = history

    # ------------------------------------------------------------------- a step --

    def _options(self, grad_scale: float) -> Options:
        return Options(self._norm_type, False, self._eps, "leave", grad_scale, tensor_norms=True)

    def _step(
        self,
        work: Work,
        step: int | None,
        learning_rate: Any,
        loss: Any,
        grad_scale: float,
    ) -> Step:
        learning_rate = optional_number(learning_rate, "learning_rate")
        loss = optional_number(loss, "loss")
        number = self.step + 1 if step is None else whole("step", step, -(2**63), 2**63 - 1)
        if self._chooser is None:
            max_norm, skip = self._max_norm, False
            # Written is only what is finite, until it is known who is not.
            norm = work.clip(max_norm, "leave")
        else:
            norm, max_norm, skip = self._choose(work, loss)
        found = norm.nonfinite
        if found:
            self._diagnose(work, number, loss, found, grad_scale)
            skip = self._nonfinite == "leave"
            if not skip:
                norm = work.clip(max_norm, self._nonfinite)
        done = _step_of(norm, number, max_norm, skip, learning_rate, loss, found)
        self._note(done, work.names)
        return done

    def _choose(self, work: Work, loss: float | None) -> tuple[Norm, float, bool]:
        """The norm, the threshold that the chooser sets for it, and whether it says to skip."""
        options = {"loss": loss} if self._takes_loss else {}
        norm, decision = decide(self._chooser, work, options)
        skip = bool(decision.skip or norm.nonfinite)
        return norm, float(decision.threshold), skip

    def _diagnose(
        self, work: Work, step: int, loss: float | None, found: NonFinite, grad_scale: float
    ) -> None:
        pairs, tensors = work.culprits()
        names = work.names
        culprits = [
            Culprit(place, None if names is None else names[place], count, step)
            for place, count in pairs
        ]
        for culprit in culprits:
            self._culprits.setdefault(culprit.tensor, culprit)
        diagnosis = Diagnosis(
            step,
            loss,
            found,
            culprits,
            tensors,
            self._trail.spikes(step),
            self._trail.norms(),
            self._noun,
            grad_scale,
        )
        if self.diagnosis is None:
            self.diagnosis = diagnosis
        self._warn(("nonfinite", found.tensor), str(diagnosis))

    def _note(self, done: Step, names: Sequence[str] | None) -> None:
        found = done.nonfinite
        threshold = action = None
        if self._chooser is not None:
            threshold = done.max_norm
            action = "skip" if done.skip else "clip" if done.clipped else "pass"
        entry = Entry(
            done.step,
            float(done),
            done.clip_coef,
            done.learning_rate,
            done.loss,
            found.count,
            _name_of(found),
            found.element,
            threshold,
            action,
        )
        self.step = done.step
        self.history.add(entry)
        self._steps += 1
        self.clipped += done.clipped
        self.skipped += done.skip
        if not found and done.tensor_norms is not None and math.isfinite(done):
            self._trail.add(done.step, float(done), done.loss, done.tensor_norms, names)
        failed = self._write(entry, done)
        if failed is not None:
            self._warn("log", f"step {entry.step}: nothing more is logged: {failed}")
        if found:
            return
        if done.loss is not None and not math.isfinite(done.loss):
            self._warn(
                "loss", f"step {done.step}: the loss is {done.loss}, the gradients are finite"
            )
        if float(done) == 0:
            self._warn(
                "zero",
                f"step {done.step}: all gradients are zero, or there are none; "
                "is this called after backward(), and before zero_grad()?",
            )
        steps = self._steps
        if self._chooser is None and steps >= _ENOUGH and self.clipped > 0.5 * steps:
            self._warn(
                "normalised",
                f"{self.clipped} of {steps} steps were clipped: with this max_norm "
                f"({done.max_norm:g}) nearly every step has the same length, and the learning "
                "rate is really learning_rate * max_norm / norm",
            )

    def _write(self, entry: Entry, done: Step) -> str | None:
        """What went wrong, if the log cannot be written: training goes on without it."""
        failed = None
        if self._log is not None:
            try:
                self._log.write(entry)
            except OSError as error:
                failed = f"{self._log.path}: {error}"
                self._log.close()
                self._log = None
        writer = self._tensorboard
        if writer is not None:
            for name, value in (
                ("grad_norm", entry.grad_norm),
                ("clip_coef", entry.clip_coef),
                ("max_norm", done.max_norm),
                ("nonfinite_count", entry.nonfinite_count),
            ):
                if name == "max_norm" and math.isinf(value):
                    continue  # no threshold, and no number that writers take
                writer.add_scalar(self._tag + name, value, entry.step)
        return failed

    def _warn(self, cause: Any, text: str) -> None:
        if cause in self._warned:
            return
        self._warned.add(cause)
        # To whoever called clip_: _warn, its caller, _step and clip_ lie between.
        warnings.warn(text, MonitorWarning, stacklevel=5)


def _step_of(
    norm: Norm,
    step: int,
    max_norm: float,
    skip: bool,
    learning_rate: float | None,
    loss: float | None,
    found: NonFinite,
) -> Step:
    done = Step(norm)
    for name in Norm.__slots__:
        setattr(done, name, getattr(norm, name))
    done.clipped = norm.clipped and not skip
    done.nonfinite = found
    done.step = step
    done.max_norm = max_norm
    done.skip = skip
    done.learning_rate = learning_rate
    done.loss = loss
    return done


def _name_of(found: NonFinite) -> str | None:
    if not found:
        return None
    return str(found.tensor) if found.name is None else found.name


def given_number(value: Any, name: str) -> float:
    """A number that a user gave, a tensor or array of one element included, as a float."""
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name} must be a number (got {value!r})") from None


def optional_number(value: Any, name: str) -> float | None:
    return None if value is None else given_number(value, name)
