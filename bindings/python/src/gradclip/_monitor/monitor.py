"""Monitor: clips, remembers the norms, writes them down, and says what went wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from .._gradients.rows import Held, Rows, rows_of
from .._gradients.types import Feeds, Grads, NonFinitePolicy, WritesScalars
from .._methods.inspect import inspection_of
from .._methods.whole import measure, run, scale
from .._native import ffi
from .._native.call import Options
from .._norm import Norm
from .recorder import Recorder, Step, Work


class InLibrary(Work):
    """The gradients of a step as rows of the library's list: the Work of both Monitors."""

    def __init__(self, rows: Rows, options: Options) -> None:
        self.names = rows.names
        self._rows = rows
        self.options = options

    def clip(self, max_norm: float, nonfinite: str) -> Norm:
        options = self.options.but(nonfinite=nonfinite)
        norm = run(ffi.gradclip_clip_grad_norm, self._rows, options, max_norm, options.norm_type)
        if nonfinite == "zero" or norm.factor != 1.0:
            self._rows.written()
        return norm

    def measure(self) -> Norm:
        return measure(self._rows, self.options)

    def scale(self, factor: float, each: Sequence[float] | None) -> None:
        if each is None:
            scale(self._rows, factor)
        else:
            for row, place in enumerate(self._rows.place_of_row()):
                scale(self._rows, each[place], row)
        if factor != 1.0:
            self._rows.written()

    def places(self) -> tuple[list[int], int]:
        lengths = self._rows.table.words[1::4]
        places = zip(self._rows.place_of_row(), lengths)
        return [place for place, length in places if length], self._rows.places

    def culprits(self) -> tuple[list[tuple[int, int]], int]:
        options = self.options
        reports = inspection_of(self._rows, options.norm_type, options.grad_scale)
        found = [(r.tensor, r.nonfinite_count) for r in reports if r.nonfinite_count]
        return found, sum(report.shape is not None for report in reports)


class Monitor(Recorder):
    """Clips the gradients of every step, keeps their norms, and says what went wrong.

    Args:
        max_norm: the largest norm allowed, >= 0 (infinity: only watch), or a chooser, which
            is fed the norm of each step and decides about it: gradclip.AutoClip(), ZClip,
            AdaGC, SkipStep, or any object whose feed(norm) returns an object with
            threshold, clip_coef and skip.
        norm_type: as for clip_grad_norm_.
        eps: the same; a chooser has its own.
        nonfinite: what to do about NaNs and infinities, as for clip_grad_norm_: "leave"
            leaves the gradients as they are, and says to skip the step. With a chooser
            nothing else is possible.
        names: names of the gradients, one each; by default the keys of dictionaries.
        log: a file for a line a step: CSV (.csv) with the columns step, grad_norm,
            clip_coef, learning_rate, loss, nonfinite_count, first_tensor, first_element,
            threshold and action, or JSON lines of these (.jsonl, .ndjson). The last two are a
            chooser's: its threshold, and "pass", "clip" or "skip" for what was done with the
            step; blank without one. Each line is written as its step ends; a file that is
            there is gone on with.
        tensorboard: a SummaryWriter of yours, for grad_norm, clip_coef, max_norm and
            nonfinite_count under `tag`.
        history: how many of the last steps to keep in memory, at 49 bytes each.

    A Monitor is used by one thread at a time. It warns with a MonitorWarning, once for each
    cause: gradients that are not finite (for each one that is the first), a loss that is
    not, gradients that are all zero, and more than half of 100 or more steps clipped.

    Attributes:
        step: the number of the last step.
        history: the last steps: history["grad_norm"], and "step", "clip_coef",
            "learning_rate", "loss" and a chooser's "threshold", arrays of float64; "skipped"
            is 1 where it left the step out.
        clipped, skipped: how many steps were, since this Monitor was made.
        diagnosis: a Diagnosis of the first step with gradients that were not finite; None.
        culprits: the gradients that ever were not finite, who went first first.

    Raises:
        ValueError: an argument is outside its range, or the log's file is something else's.
        TypeError: an argument is of the wrong kind.

    >>> import array
    >>> monitor = Monitor(max_norm=1.0)
    >>> weight, grad = [0.0, 0.0], array.array("d", [3.0, 4.0])
    >>> done = monitor.clip_({"weight": grad}, learning_rate=0.1, loss=2.5)
    >>> if not done.skip:
    ...     weight = [w - 0.1 * g for w, g in zip(weight, grad)]
    >>> done, round(done.clip_coef, 6), monitor.clipped
    (5.0, 0.2, 1)
    """

    def __init__(
        self,
        max_norm: float | Feeds,
        norm_type: float | str = 2.0,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        names: Iterable[str] | None = None,
        log: str | os.PathLike[str] | None = None,
        tensorboard: WritesScalars | None = None,
        tag: str = "gradclip",
        history: int = 1_000_000,
    ) -> None:
        super().__init__(max_norm, norm_type, eps, nonfinite, log, tensorboard, tag, history)
        self._names = names if names is None or isinstance(names, str) else list(names)

    def clip_(
        self,
        grads: Grads,
        *,
        learning_rate: float | None = None,
        loss: float | None = None,
        grad_scale: float = 1.0,
        step: int | None = None,
    ) -> Step:
        """Clips the gradients of a step in place: once, after the last backward pass of it.

        Args:
            grads: as for clip_grad_norm_.
            learning_rate, loss: of this step, for the log, the advice and the diagnosis.
            grad_scale: as for clip_grad_norm_.
            step: the number of the step; by default one more than the last.

        Returns:
            The norm before clipping, a Step: leave the step out if its .skip is true.

        Raises:
            As clip_grad_norm_; nothing is then recorded.
        """
        rows = rows_of(grads, None if isinstance(grads, Held) else self._names, writable=True)
        options = self._options(grad_scale)
        return self._step(InLibrary(rows, options), step, learning_rate, loss, grad_scale)
