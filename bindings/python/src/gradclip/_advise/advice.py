"""The record that advise() returns: everything that the report shows and --json prints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

from .._json import plain

# What a row of the log stands for. "every": each optimizer step has one; "sampled":
# one step of several was kept; "averaged": the mean over several steps; "thinned":
# one of the last two, and the log does not say which; "epoch": one an epoch, a mean or its
# last step; "unknown": the log numbers no steps.
Rows = Literal["every", "sampled", "averaged", "thinned", "epoch", "unknown"]


class WhatIf(NamedTuple):
    """A max_norm, and what it would have done on the same trajectory.

    Attributes:
        max_norm: the threshold; name: where it comes from: "p99", "constant", "in force",
            "answer", "asked for".
        clipped: the fraction of finite steps it clips.
        mean_coef, worst_coef: the mean and the smallest clip_coef over all of them.
        regime: inactive, safety net, limiter or normalised step.
    """

    max_norm: float
    name: str
    clipped: float
    mean_coef: float
    worst_coef: float
    regime: str


@dataclass(frozen=True)
class Warned:
    """Something to look at. cause is a fixed word, text is for the reader."""

    cause: str
    text: str


@dataclass(frozen=True)
class Recommendation:
    """One thing that can be done. The first of a list is the answer to what was asked.

    Attributes:
        intent: "safety net", "regulariser", "next rate", "next rate, running",
            "next rate, shorter steps", "lower rate", "keep", "longer steps" or "pilot".
        max_norm: the value, to 3 digits; None where no fixed value is recommended.
        chooser: what to use instead, None where a fixed value is.
        reason: what it does, and why.
        learning_rate: the rate to run at; None for the log's own.
        if_it_fails: what to do if the run is lost all the same.
    """

    intent: str
    max_norm: float | None
    chooser: str | None
    reason: str
    learning_rate: float | None = None
    if_it_fails: str = ""


@dataclass(frozen=True)
class Replayed:
    """A chooser, fed with the finite norms of the log from its beginning.

    Attributes:
        name: the chooser, with its options.
        clipped, skipped: fractions of the steps.
        mean_coef, worst_coef: over the steps that were not skipped.
        last: its threshold at the end; None if it has none.
    """

    name: str
    clipped: float
    skipped: float
    mean_coef: float
    worst_coef: float
    last: float | None


@dataclass(frozen=True, repr=False)
class Advice:
    """What a log of gradient norms says about max_norm. print() it for the screen.

    Attributes:
        source, format: the file, and what kind of log it is.
        taken: which columns were taken, and why; notes: what else is to be known of it.
        rows: how many rows have a norm. unread: how many could not be read. every: whether there is one for every step.
        rows_are: what a row stands for, in words.
        first_step, last_step: of the log; None without rows.
        warmup: how many rows were left out at the beginning; warmup_words: why.
        finite: how many rows the percentiles come from: finite, after the warm-up.
        nan, inf: how many rows are not finite. first_nonfinite: the step of the first;
            None if there is none, or if not every step has a row. marked: how many marks beside
            the rows say that a step was not finite.
        percentiles: "min", "p1", "p10", "p50", "p90", "p99", "p99.9", "max", those that
            there are rows enough for.
        drift: how the level moves, in words; drift_factor: by which factor.
        spikes: how many norms are over 5 times the level around them; spike_step,
            spike_norm: of the largest; spike_tensors: the tensors that caused them, with
            how often.
        learning_rate: the one the percentiles answer for, None if unknown; next_lr: the
            one that was asked for; optimizer: "sgd", "adam", "lion", "muon", None if unsaid.
        in_force, clipped: the max_norm that the run was clipped with and the fraction of
            its steps that it shortened; skipped: how many rows' steps a chooser left out. None
            if unknown.
        compared: "lost", "behind", "as good" or "better" than the pilot's log; None
            without one. compared_words: by what.
        verdict: "empty", "too short", "after clipping", "loss scale", "diverged", "lost",
            "looks lost", "drifting", "heavy-tailed" or "steady"; because: why.
        what_if: what each max_norm would have done.
        recommendations, choosers, warnings: see there.
        next: what to do now.
        numbered: whether the log numbers its steps. Where it does not, first_step and its like
            count rows from 0.
    """

    source: str
    format: str
    taken: list[str]
    notes: list[str]
    rows: int
    unread: int
    every: bool
    rows_are: str
    first_step: int | None
    last_step: int | None
    warmup: int
    warmup_words: str
    finite: int
    nan: int
    inf: int
    first_nonfinite: int | None
    marked: int
    percentiles: dict[str, float]
    drift: str
    drift_factor: float
    spikes: int
    spike_step: int | None
    spike_norm: float | None
    spike_tensors: list[tuple[str, int]]
    learning_rate: float | None
    learning_rate_words: str
    next_lr: float | None
    optimizer: str | None
    in_force: float | None
    clipped: float | None
    skipped: int | None
    compared: str | None
    compared_words: str
    verdict: str
    because: str
    what_if: list[WhatIf] = field(default_factory=list)
    recommendations: list[Recommendation] = field(default_factory=list)
    choosers: list[Replayed] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)
    next: str = ""
    numbered: bool = True

    @property
    def answer(self) -> Recommendation | None:
        """The answer to what was asked, the first of the recommendations; None if a log
        gives none."""
        return self.recommendations[0] if self.recommendations else None

    @property
    def max_norm(self) -> float | None:
        """The answer's max_norm, for the run at answer_lr; None if it is not to clip, or a
        chooser."""
        return None if self.answer is None else self.answer.max_norm

    @property
    def answer_lr(self) -> float | None:
        """The learning rate that the answer is for; None for the log's own."""
        return None if self.answer is None else self.answer.learning_rate

    @property
    def lost(self) -> bool:
        """Whether the run that wrote the log is lost, as far as one can tell."""
        return self.verdict in ("diverged", "lost", "looks lost")

    def __repr__(self) -> str:
        answer = "none" if self.answer is None else f"{self.answer.intent}, max_norm {self.max_norm}"
        return f"<gradclip.Advice of {self.rows} rows: {self.verdict}; answer: {answer}>"

    def to_dict(self) -> dict[str, Any]:
        """The record as plain lists, dictionaries, strings and numbers, for JSON. What is
        not finite is the string "NaN", "Infinity" or "-Infinity"."""
        out: dict[str, Any] = plain(
            {**asdict(self), "what_if": [w._asdict() for w in self.what_if]}
        )
        return out

    def __str__(self) -> str:
        from .report import screen

        return screen(self)


Advice.__module__ = "gradclip"  # where users know it from
