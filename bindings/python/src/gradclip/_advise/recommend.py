"""The verdict on a log, and what is recommended for each intent."""

from __future__ import annotations

from .advice import Recommendation
from .findings import Findings
from .percentiles import rounded
from .rate import for_next

HEAVY_TAILED = 5.0  # p99 / p50 from which on a log is called so
INTENTS = ("safety net", "regulariser")
OPTIMIZERS = ("sgd", "adam")
# How far the rule for another learning rate has been tested: docs/choosing-max-norm.md.
TRIED = (
    "A value to begin with, tested on five small models with SGD only, where it trained and "
    "percentiles did not"
)
LOOP = "log, advise, run with the new max_norm, and advise again on the new log"
# AutoClip's own percentile (Seetharaman et al. 2020): 10.
_REGULARISER = "p10"


def verdict_of(found: Findings) -> tuple[str, str]:
    """One word or two for the log, and why."""
    if not len(found.log):
        return "empty", "the log holds no gradient norms"
    if found.log.after_clipping or found.pile:
        return "after clipping", "these are norms of gradients that had already been clipped"
    if found.divergence is not None:
        return "diverged", found.divergence.words
    count = len(found.settled)
    if count < 100:
        return "too short", f"{count} finite rows after the warm-up are too few"
    if found.scaling.scaled is not None:
        return "loss scale", found.scaling.scaled
    if found.drift.drifts:
        return "drifting", drift_words(found)
    ratio = found.percentiles["p99"] / found.percentiles["p50"]
    if ratio > HEAVY_TAILED:
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


def recommendations_of(
    found: Findings, verdict: str, intent: str | None, next_lr: float | None, optimizer: str | None
) -> list[Recommendation]:
    """What is recommended, for one intent or for all."""
    wanted = INTENTS if intent is None else (intent,)
    if verdict == "drifting":
        out = [_autoclip(found, one) for one in wanted]
    elif verdict in ("steady", "heavy-tailed"):
        out = [_fixed(found, one) for one in wanted]
    else:
        return []
    if next_lr is not None:
        out.append(_next_rate(found, next_lr, optimizer))
    return out


def _fixed(found: Findings, intent: str) -> Recommendation:
    if intent == "safety net":
        value = rounded(found.percentiles["p99"])
        reason = "p99 after the warm-up: clips one step in a hundred"
        if found.sampling.rows == "averaged":
            reason = "p99 of means: single steps reach higher, so it clips more than 1%"
        return Recommendation(intent, value, None, reason)
    value = rounded(found.percentiles[_REGULARISER])
    return Recommendation(
        intent,
        value,
        None,
        "p10, AutoClip's percentile: clips nine steps of ten",
    )


def _autoclip(found: Findings, intent: str) -> Recommendation:
    percentile = 99 if intent == "safety net" else 10
    return Recommendation(
        intent,
        None,
        f"AutoClip(percentile={percentile})",
        "no fixed value fits: the norm drifts; use AutoClip, which follows it",
    )


def _next_rate(found: Findings, next_lr: float, optimizer: str | None) -> Recommendation:
    if optimizer == "adam":
        return Recommendation(
            "next rate",
            None,
            None,
            "Adam divides by the gradients' own size, so that a constant coefficient cancels: "
            "max_norm does not make up for a larger learning rate. Keep a safety net",
        )
    value = for_next(found.rate, next_lr)
    if value is None:
        return Recommendation(
            "next rate",
            None,
            None,
            "the log's own learning rate is not known: say it (--lr)",
        )
    reason = (
        f"lr*p50/next_lr: the median step stays as long as at lr {found.rate.value:.4g}. {TRIED}"
    )
    if optimizer is None:
        reason += "; for SGD. With Adam a constant coefficient cancels"
    return Recommendation("next rate", rounded(value), None, reason)


def next_of(found: Findings, verdict: str) -> str:
    """What to do now."""
    if verdict == "empty":
        return "log the norm that clip_grad_norm_ returns in every step"
    if verdict == "after clipping":
        return (
            "log what clip_grad_norm_ returns, and run again: nothing more can be said of this log"
        )
    if verdict == "diverged":
        rate = found.rate.value
        pilot = "lr/10" if rate is None else f"lr {rate / 10:.3g} (lr/10)"
        return (
            f"too short: make a pilot run at {pilot}, then lower, until it trains; "
            "then advise on the pilot's log"
        )
    if verdict == "too short":
        return "run on, to 100 steps after the warm-up at least; 1000 are better"
    if verdict == "loss scale":
        return "unscale the gradients before they are clipped and logged, and run again"
    return LOOP
