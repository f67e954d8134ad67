"""The verdict on a log, and the answer to the question that was asked."""

from __future__ import annotations

import numpy as np

from .advice import Recommendation
from .asked import Asked
from .findings import Findings
from .optimizers import CALLED, steps_grow_with_norms
from .percentiles import rounded
from .rate import for_next

HEAVY_TAILED = 6.0  # p99 / p50 from which on a log is called so
# Times the rule lr*p50/next_lr: docs/choosing-max-norm.md has what each was measured to do.
TIMES = 3.0
LOOP = "log, advise, run with the new max_norm, and advise again on the new log"
# AutoClip's own percentile (Seetharaman et al. 2020): 10.
_REGULARISER = "p10"
_NET_FAILS = "a third of the learning rate: a safety net catches single steps only"
_MANY_SPIKES = 0.01  # of the rows: from here on p99 is the spikes' own level
_DWARFS = 3.0  # times the median are the norms of the beginning: then they dwarf it
# A rate up to which no more is asked for than noise in the rates.
_LARGER = 1.05


def verdict_of(found: Findings) -> tuple[str, str]:
    """One word or two for the log, and why."""
    if not len(found.log):
        return "empty", "the log holds no gradient norms"
    if found.log.after_clipping or found.pile:
        return "after clipping", "these are norms of gradients that had already been clipped"
    if found.divergence is not None:
        return "diverged", found.divergence.words
    if found.compared is not None and found.compared.word == "lost":
        return "lost", found.compared.words
    if found.stuck is not None:
        return "looks lost", found.stuck.words
    count = len(found.settled)
    if count < 100:
        return "too short", f"{count} finite rows after the warm-up are too few"
    if found.scaling.scaled is not None:
        return "loss scale", found.scaling.scaled
    if found.drifts:
        return "drifting", drift_words(found)
    ratio = found.percentiles["p99"] / found.percentiles["p50"]
    # The p99 of few rows is chance: the verdict goes by the least that it is likely to be.
    sure = 99 - 200 * (0.99 * 0.01 / count) ** 0.5
    if np.percentile(found.norm, sure) > HEAVY_TAILED * found.percentiles["p50"]:
        return "heavy-tailed", f"one step in a hundred is over {ratio:.2g} times the median"
    return "steady", f"p99 is {ratio:.2g} times the median, and the level stays"


def drift_words(found: Findings) -> str:
    """How the level moves, in words."""
    drift = found.drift
    if not drift.known:
        return "not known (needs 200 rows)"
    if drift.direction == "is steady":
        return "none"
    if drift.direction == "moves":
        return f"the level moves up and down by a factor of {drift.factor:.2g}"
    return f"the level {drift.direction} from {drift.first:.3g} to {drift.last:.3g}"


def recommendations_of(found: Findings, verdict: str, asked: Asked) -> list[Recommendation]:
    """The answer to what was asked, and after it what else could be done."""
    if verdict in ("diverged", "lost", "looks lost"):
        return [_pilot(found)]
    if verdict not in ("steady", "heavy-tailed", "drifting"):
        return []
    rate = found.rate.peak
    if asked.next_lr is not None and (rate is None or asked.next_lr > _LARGER * rate):
        if not steps_grow_with_norms(asked.family):
            return [_slower(found, asked), _net(found, verdict)]
        first = _next_rate(found, asked, TIMES)
        if first.max_norm is None:
            return [first, _net(found, verdict)]
        rest = [_next_rate(found, asked, 1.0), _third(found, asked.next_lr)]
        return [first, *_following(found, asked), *rest]
    if found.force is not None and found.force.clipped >= 0.001:
        return _keep(found)
    if not steps_grow_with_norms(asked.family) and not len(found.spikes.rows):
        return [_leave(asked), _net(found, verdict)]
    return [_net(found, verdict), _regulariser(found, verdict)]


def _leave(asked: Asked) -> Recommendation:
    """For Adam and its like, where no step stands out."""
    assert asked.family is not None
    return Recommendation(
        "keep",
        None,
        None,
        f"no step stands out, and {CALLED[asked.family]} would undo most of what a max_norm does",
        if_it_fails=_NET_FAILS,
    )


def _following(found: Findings, asked: Asked) -> list[Recommendation]:
    """What to do where the norms of the beginning dwarf those of the rest: the running median of
    the run's own norms follows them, and no constant does."""
    rate, norm = found.rate.peak, found.log.norm
    level = found.percentiles.get("p50", 0.0)
    early = norm[: max(5, len(norm) // 20)]
    early = early[np.isfinite(early)]
    if rate is None or found.takes_numbers or not len(early) or not level:
        return []
    times = float(np.median(early)) / level
    if times < _DWARFS:
        return []
    assert asked.next_lr is not None
    factor = TIMES * rate / asked.next_lr
    return [
        Recommendation(
            "next rate, running",
            None,
            f"AutoClip(percentile=50, clip_factor={factor:.3g})",
            f"the first norms are {times:.2g} times the median: this follows the run's own running "
            "median, so that its first steps are no shorter than the others",
            asked.next_lr,
        )
    ]


def _net(found: Findings, verdict: str) -> Recommendation:
    intent = "safety net"
    level, reason = net_level(found)
    value = rounded(level)
    if verdict == "drifting" and not found.takes_numbers:
        return Recommendation(
            intent,
            None,
            "AutoClip(percentile=99)",
            "no fixed value fits: the norm drifts; use AutoClip, which follows it and shortens "
            "about one step in a hundred",
            if_it_fails=_NET_FAILS,
        )
    return Recommendation(
        intent,
        value,
        None,
        reason,
        if_it_fails=_NET_FAILS,
    )


def net_level(found: Findings) -> tuple[float, str]:
    """p99 of the rows that are no spikes, where there are many of those."""
    spikes = len(found.spikes.rows)
    if spikes > _MANY_SPIKES * len(found.settled):
        plain = np.delete(found.norm, np.searchsorted(found.settled, found.spikes.rows))
        part = spikes / len(found.settled)
        return float(np.percentile(plain, 99)), (
            f"shortens the spikes, {part:.1%} of the rows (p99 of the norms without them)"
        )
    if found.drifts:
        return found.percentiles["p99"], (
            "shortens few steps (p99 of all norms), and the fewer the lower they are: they drift"
        )
    return found.percentiles["p99"], _OF_ROWS.get(
        found.sampling.rows, "shortens one step in a hundred (p99 of the norms), and no other"
    )


_MORE = "shortens more than one step in a hundred: p99 of {}, and single steps reach higher"
_PERHAPS = "shortens one step in a hundred (p99 of the rows), or more if the rows are means"
_OF_ROWS = {
    "averaged": _MORE.format("means"),
    "epoch": _MORE.format("a row an epoch"),
    "unknown": _PERHAPS,
    "thinned": _PERHAPS,
}


def _regulariser(found: Findings, verdict: str) -> Recommendation:
    intent = "regulariser"
    reason = (
        "not for safety: nine steps of ten are shortened, to train with steps of one length"
    )
    if verdict == "drifting" and not found.takes_numbers:
        return Recommendation(intent, None, "AutoClip(percentile=10)", reason)
    return Recommendation(intent, rounded(found.percentiles[_REGULARISER]), None, f"p10; {reason}")


def _next_rate(found: Findings, asked: Asked, times: float) -> Recommendation:
    intent = "next rate" if times > 1 else "next rate, shorter steps"
    assert asked.next_lr is not None
    value = for_next(found.rate, asked.next_lr)
    if value is None:
        return Recommendation(
            intent,
            None,
            None,
            "the log's own learning rate is not known: say it (--lr)",
        )
    kept = found.force is not None and found.force.clipped > 0.5
    if kept:  # steps are of one length already: the same length again
        times = 1.0
    what = f"longer than {times:g} times" if times > 1 else "longer than"
    factor = f"{times:g}*" if times > 1 else ""
    reason = f"no step is {what} the median step of this log ({factor}lr*p50/next_lr)"
    if asked.family is None:
        reason += ". This is for SGD: with Adam say --optimizer adam"
    third = asked.next_lr / 3
    fails = f"max_norm {rounded(value):.3g} (lr*p50/next_lr); or lr {third:.3g} without clipping"
    if times <= 1:
        fails = f"lr {third:.3g} without clipping"
    return Recommendation(intent, rounded(times * value), None, reason, asked.next_lr, fails)


def _third(found: Findings, next_lr: float) -> Recommendation:
    return Recommendation(
        "lower rate",
        None,
        None,
        "a third of the rate without clipping costs one run: if that is rate enough, take it first",
        next_lr / 3,
    )


def _slower(found: Findings, asked: Asked) -> Recommendation:
    """For optimizers whose steps do not grow with the norm."""
    assert asked.next_lr is not None and asked.family is not None
    rate = found.rate.peak
    target = asked.next_lr / 3 if rate is None else min(asked.next_lr, max(rate, min(asked.next_lr / 3, 3 * rate)))  # fmt: skip
    name = CALLED[asked.family]
    if asked.family == "muon":
        reason = (
            "Muon's steps do not grow with the norm: leave its matrices out of the clipping, and "
            "clip the groups that Adam steps, by their own norm"
        )
    else:
        reason = (
            f"{name} divide by the gradients' own size, so that max_norm seldom buys a larger rate"
            if asked.family == "adam"
            else "Lion takes signs, so that max_norm seldom buys a larger rate"
        )
    back = "this log's rate" if rate is None else f"lr {rate:.3g}, this log's"
    fails = (
        f"warm-up over a tenth of the steps; {back}; if single spikes are to blame, "
        f"max_norm {rounded(found.percentiles['p10']):.3g} (p10)"
    )
    return Recommendation("lower rate", None, None, reason, float(f"{target:.3g}"), fails)


def _keep(found: Findings) -> list[Recommendation]:
    """For the log of a run that was clipped and trained."""
    force = found.force
    assert force is not None
    if force.moved:
        return [
            Recommendation(
                "keep",
                None,
                "the chooser that was in force",
                f"it clipped {force.clipped:.0%} of the steps (the median limit was "
                f"{force.max_norm:.3g}), and the run went well",
                if_it_fails="a third of the learning rate",
            )
        ]
    first = Recommendation(
        "keep",
        force.max_norm,
        None,
        f"keep it: it was in force, clipped {force.clipped:.0%} of the steps, and the run went well",
        if_it_fails="a third of the learning rate; p99 of a clipped run is no max_norm",
    )
    return [
        first,
        Recommendation(
            "longer steps",
            rounded(3 * force.max_norm),
            None,
            "three times as much, to see whether longer steps train faster; if not, go back",
        ),
    ]


def _pilot(found: Findings) -> Recommendation:
    rate = found.rate.peak
    words = "lr/10" if rate is None else f"lr {rate / 10:.3g} (lr/10)"
    return Recommendation(
        "pilot",
        None,
        None,
        f"no max_norm from a lost run: make a pilot run at {words} without clipping, then lower, "
        "until it trains",
        None if rate is None else rate / 10,
        "look for the first bad step (gradclip.Monitor names the tensor)",
    )


def next_of(found: Findings, verdict: str) -> str:
    """What to do now."""
    if verdict == "empty":
        return "log the norm that clip_grad_norm_ returns in every step"
    if verdict == "after clipping":
        return (
            "log what clip_grad_norm_ returns, and run again: nothing more can be said of this log"
        )
    if verdict in ("diverged", "lost"):
        rate = found.rate.peak
        pilot = "lr/10" if rate is None else f"lr {rate / 10:.3g} (lr/10)"
        return (
            f"make a pilot run at {pilot}, then lower, until it trains; then advise on the pilot's log"
        )
    if verdict == "looks lost":
        return (
            "make a pilot run at a tenth of the rate, and compare: gradclip advise THIS_LOG --pilot "
            "PILOT_LOG. If they end alike, this run was not lost"
        )
    if verdict == "too short" and found.sampling.rows == "epoch":
        return "log the norm of every step (gradclip.Monitor does): a row an epoch is too few"
    if verdict == "too short" and 2 * int(np.sum(found.log.norm == 0)) > len(found.log):
        return (
            "find out why most norms are 0 (a detached loss, a masked batch, underflow in float16), "
            "and log again"
        )
    if verdict == "too short":
        return "run on, to 100 steps after the warm-up at least; 1000 are better"
    if verdict == "loss scale":
        return "unscale the gradients before they are clipped and logged, and run again"
    return LOOP
