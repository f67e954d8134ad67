"""advise: which max_norm? A run's own gradient norms answer.

The parts: readers/ turn files into a Log; findings.py gathers what the modules beside it
see in it (sampling, after_clipping, warmup, percentiles, levels, scaling, spikes,
divergence, rate); recommend.py and caveats.py judge; advice.py is the record, report.py
and plot.py show it. All need NumPy, and are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .._native.errors import InvalidArgumentError
from .advice import Advice, Rows
from .extra import MissingPackageError, require

if TYPE_CHECKING:
    from .log import Log

__all__ = ["MissingPackageError", "advise", "advise_log"]


def advise(
    norms: Iterable[float],
    *,
    learning_rate: float | Iterable[float] | None = None,
    next_lr: float | None = None,
    next_steps: int | None = None,
    optimizer: str | None = None,
    steps: Iterable[int] | None = None,
    loss: Iterable[float] | None = None,
    better: str = "lower",
    clip_coef: Iterable[float] | None = None,
    was: float | Iterable[float] | None = None,
    skipped: Iterable[bool] | None = None,
    pilot: Mapping[str, Iterable[float]] | None = None,
    tensor_norms: Mapping[str, Iterable[float]] | None = None,
    rows: Rows | None = None,
    warmup: int | None = None,
    max_norms: Iterable[float] = (),
) -> Advice:
    """Says what a run's gradient norms tell about max_norm. print() the result for the screen.

    Args:
        norms: total norms from before clipping, as clip_grad_norm_ returns them, one a
            row in the order of the run; NaN and infinities included.
        learning_rate: of the run: one number, or one for each row.
        next_lr: the learning rate of the run to come, its peak if it has a schedule. Then
            that is what is answered: which max_norm, if any, for it.
        next_steps: how many steps the run to come has, if that is known: a log much shorter is
            warned of.
        optimizer: its name as people write it: "sgd" (momentum too), "adamw_torch", "lion",
            "muon", ...
        steps: the number of each row's step, increasing; by default the rows are taken
            for steps 0, 1, 2, ...
        loss: of each row, or what else says how good the model is.
        better: "lower" or "higher" losses.
        clip_coef: of each row, where the run was clipped; was: the max_norm that it was
            clipped with, one number, or one for each row where a chooser set it.
        skipped: of each row, whether a chooser left the step out.
        pilot: the "norms" and the "loss" of a run that trained, to compare this run with.
        tensor_norms: the norms of tensors by name, one for each row (2-norms).
        rows: "every", "sampled" (one step of several) or "averaged" (means over
            several), where the steps do not tell.
        warmup: how many steps to leave out at the beginning; found by default.
        max_norms: more candidates for the what-if table.

    Returns:
        An Advice, with all that `gradclip advise --json` prints; to_dict() gives that.

    Raises:
        InvalidArgumentError: an argument outside its range, or columns of unequal length.
        MissingPackageError: NumPy is not installed.

    >>> advice = advise([1.0, 1.2, 0.9, 1.1] * 100, learning_rate=0.1, next_lr=1.0)
    >>> advice.verdict, advice.max_norm, advice.answer_lr
    ('steady', 0.315, 1.0)
    >>> advise([1.0, 1.2, 0.9, 1.1] * 100).max_norm  # for the same rate: a safety net
    1.2
    """
    require("numpy", "advise")
    from .arrays import log_of, pilot_of
    from .asked import is_number

    limits: Any = None if was is None or is_number(was) else was
    log = log_of(norms, learning_rate, steps, loss, tensor_norms, clip_coef, limits, skipped)
    rate: Any = learning_rate if is_number(learning_rate) else None
    limit: Any = was if is_number(was) else None
    return advise_log(
        log,
        learning_rate=rate,
        next_lr=next_lr,
        next_steps=next_steps,
        optimizer=optimizer,
        better=better,
        was=limit,
        pilot=None if pilot is None else pilot_of(pilot),
        rows=rows,
        warmup=warmup,
        max_norms=max_norms,
    )


def advise_log(
    log: Log,
    *,
    learning_rate: float | None = None,
    next_lr: float | None = None,
    next_steps: int | None = None,
    optimizer: str | None = None,
    better: str = "lower",
    was: float | None = None,
    pilot: Log | None = None,
    rows: Rows | None = None,
    warmup: int | None = None,
    max_norms: Iterable[float] = (),
) -> Advice:
    """advise() for a Log; learning_rate is one number, and goes before the log's own."""
    import numpy as np

    from .asked import Asked, one_of, positive
    from .caveats import warnings_of
    from .choosers import replay
    from .findings import Said, find
    from .recommend import drift_words, next_of, recommendations_of, verdict_of
    from .whatif import table

    candidates = [positive("max_norms", value) for value in max_norms]
    if learning_rate is not None:
        learning_rate = positive("learning_rate", learning_rate)
    if was is not None:
        was = positive("was", was)
    asked = Asked.of(next_lr, optimizer, next_steps)
    one_of("better", better, ("lower", "higher"))
    one_of("rows", rows, ("every", "sampled", "averaged"))
    if warmup is not None and (not hasattr(warmup, "__index__") or warmup < 0):
        raise InvalidArgumentError(f"warmup must be a whole number >= 0 (got {warmup!r})")

    with np.errstate(over="ignore"):  # norms near the largest float64: quotients may be infinite
        found = find(log, Said(rows, warmup, learning_rate, was, better), pilot)
        verdict, because = verdict_of(found)
        stopped = verdict in ("empty", "after clipping")
        advised = recommendations_of(found, verdict, asked)
        what_if = [] if stopped else table(found, candidates, advised)
        warned = warnings_of(found, asked)
    nan, inf, first = _nonfinite(log)
    spikes = found.spikes
    return Advice(
        source=log.source,
        format=log.format,
        taken=log.taken,
        notes=log.notes,
        rows=len(log),
        unread=log.unread,
        every=found.sampling.every,
        rows_are=found.sampling.words,
        first_step=log.step_of(0) if len(log) else None,
        last_step=log.step_of(len(log) - 1) if len(log) else None,
        warmup=found.warmup.rows,
        warmup_words=found.warmup.words,
        finite=len(found.settled),
        nan=nan,
        inf=inf,
        first_nonfinite=None if first is None or not found.sampling.every else log.step_of(first),
        marked=log.marked,
        percentiles={} if stopped else found.percentiles,
        drift=drift_words(found),
        drift_factor=found.drift.factor,
        spikes=len(spikes.rows),
        spike_step=log.step_of(spikes.largest) if spikes.largest >= 0 else None,
        spike_norm=float(log.norm[spikes.largest]) if spikes.largest >= 0 else None,
        spike_tensors=spikes.tensors,
        learning_rate=found.rate.value,
        learning_rate_words=found.rate.words,
        next_lr=next_lr,
        optimizer=asked.family,
        in_force=None if found.force is None else found.force.max_norm,
        clipped=None if found.force is None else found.force.clipped,
        skipped=None if log.skipped is None else int((log.skipped == 1).sum()),
        compared=None if found.compared is None else found.compared.word,
        compared_words="" if found.compared is None else found.compared.words,
        verdict=verdict,
        because=because,
        what_if=what_if,
        recommendations=advised,
        choosers=replay(found) if verdict in ("steady", "heavy-tailed", "drifting") else [],
        warnings=warned,
        next=next_of(found, verdict),
        numbered=log.step is not None,
    )


def _nonfinite(log: Log) -> tuple[int, int, int | None]:
    """How many norms are NaN, how many infinite, and the row of the first of either."""
    import numpy as np

    bad = np.flatnonzero(~np.isfinite(log.norm))
    nan = int(np.sum(np.isnan(log.norm)))
    return nan, len(bad) - nan, int(bad[0]) if len(bad) else None
