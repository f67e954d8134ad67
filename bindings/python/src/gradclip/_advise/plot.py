"""The picture of a log: the norms over the run with the thresholds, and how often each norm is."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._native.errors import InvalidArgumentError
from .advice import Advice
from .extra import require
from .log import Array, Log
from .spikes import FACTOR

# Okabe and Ito's palette: told apart by all forms of colour vision, and in grey.
_NORM, _CLIPPED, _BAD, _RATE = "#0072B2", "#D55E00", "#CC79A7", "#009E73"
_MOST_POINTS = 6000  # more are drawn as the band between the smallest and the largest
_BANDS = 1200
_PERCENTILES = ("p1", "p10", "p50", "p90", "p99", "p99.9")
_LABEL_HEIGHT = 0.034  # of the axes


def draw(log: Log, advice: Advice, path: str) -> None:
    """Draws the log to a file whose ending says the kind of picture (.png, .svg, .pdf)."""
    matplotlib = require("matplotlib", "--plot")
    figures = require("matplotlib.figure", "--plot")
    ending = os.path.splitext(path)[1][1:].lower()
    canvas = figures.Figure(figsize=(11, 6.2), layout="constrained")
    known = canvas.canvas.get_supported_filetypes()
    if ending not in known:
        raise InvalidArgumentError(
            f"--plot must name a file that ends in .png, .svg or .pdf (got {path!r})"
        )
    with matplotlib.rc_context(
        {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
    ):
        _figure(canvas, log, advice)
        try:
            canvas.savefig(path, dpi=120)
        except OSError as error:
            raise InvalidArgumentError(
                f"--plot {path} cannot be written: {error.strerror or error}"
            ) from error


def _figure(canvas: Any, log: Log, advice: Advice) -> None:
    rate = log.learning_rate
    moving = rate is not None and bool(np.nanmin(rate) < np.nanmax(rate))
    heights = [4, 1] if moving else [1]
    grid = canvas.add_gridspec(len(heights), 2, width_ratios=[3.4, 1], height_ratios=heights)
    trace = canvas.add_subplot(grid[0, 0])
    bars = canvas.add_subplot(grid[0, 1], sharey=trace)
    canvas.suptitle(
        f"{advice.source}: {advice.verdict}", x=0.01, ha="left", fontsize=13, fontweight="bold"
    )
    trace.set_title(_subtitle(advice), loc="left", fontsize=10, color="#444444", pad=24)
    steps = np.arange(len(log), dtype=float) if log.step is None else np.asarray(log.step)
    positive = np.isfinite(log.norm) & (log.norm > 0)
    trace.set_yscale("log")
    trace.set_ylabel("gradient norm before clipping")
    if not positive.any():
        trace.text(0.5, 0.5, "no norm to draw", ha="center", transform=trace.transAxes)
        return
    _limits(trace, log.norm[positive], advice)
    lines = _thresholds(advice)
    _trace(trace, steps, log.norm, positive, lines[0][0] if lines else None)
    _bad(trace, steps, log.norm)
    if advice.warmup and advice.warmup < len(steps):
        trace.axvspan(steps[0], steps[advice.warmup], color="#000000", alpha=0.06, linewidth=0)
        trace.annotate(
            "warm-up", (steps[0], 0.015), xycoords=("data", "axes fraction"), va="bottom",
            fontsize=8, color="#555555", xytext=(3, 0), textcoords="offset points",
        )  # fmt: skip
    _histogram(bars, log.norm[positive & (np.arange(len(log)) >= advice.warmup)], advice)
    for value, label, style in lines:
        trace.axhline(value, color="black", linewidth=1.1, linestyle=style)
        trace.annotate(
            label, (0.995, value), xycoords=("axes fraction", "data"), ha="right", va="bottom",
            fontsize=8.5, xytext=(0, 1), textcoords="offset points",
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8},
        )  # fmt: skip
    trace.set_xlim(steps[0], max(steps[-1], steps[0] + 1))
    handles, labels = trace.get_legend_handles_labels()
    if labels:
        trace.legend(
            handles, labels, loc="lower right", bbox_to_anchor=(1.005, 1.0), ncols=len(labels),
            frameon=False, fontsize=8.5, handletextpad=0.4, columnspacing=1.2, borderpad=0,
        )  # fmt: skip
    if moving and rate is not None:
        below = canvas.add_subplot(grid[1, 0], sharex=trace)
        shown = _thin(len(steps))
        below.plot(steps[shown], rate[shown], color=_RATE, linewidth=1.3)
        below.set_ylabel("learning\nrate")
        below.set_ylim(0)
        below.set_xlabel("step")
        trace.tick_params(labelbottom=False)
    else:
        trace.set_xlabel("step")


def _subtitle(advice: Advice) -> str:
    parts = [f"{advice.rows} norms ({advice.rows_are})"]
    if advice.learning_rate is not None:
        parts.append(f"learning rate {advice.learning_rate:.4g}")
    return ", ".join(parts)


def _limits(trace: Any, norm: Array, advice: Advice) -> None:
    """From a little below the smallest to a little above the largest, thresholds included."""
    values = [float(norm.min()), float(norm.max())]
    values += [value for value, _, _ in _thresholds(advice)]
    low, high = np.log10(min(values)), np.log10(max(values))
    room = max(0.06 * (high - low), 0.1)
    trace.set_ylim(10 ** (low - room), 10 ** (high + 1.6 * room))


def _thresholds(advice: Advice) -> list[tuple[float, str, str]]:
    """What is recommended: value, label and style of line; the answer first."""
    styles = {"safety net": "--", "next rate": "-.", "keep": "--"}
    out = []
    for one in advice.recommendations:
        if one.max_norm:
            name = one.intent
            if name == "next rate":
                name = f"for learning rate {advice.next_lr:.4g}"
            out.append((one.max_norm, f"{name}: max_norm {one.max_norm:.4g}", styles.get(one.intent, ":")))
    return out


def _trace(trace: Any, steps: Array, norm: Array, positive: Array, limit: float | None) -> None:
    """The norms; those over the limit in another colour and shape."""
    over = positive & (norm > limit) if limit is not None else np.zeros(len(norm), dtype=bool)
    rest = positive & ~over
    if len(norm) <= _MOST_POINTS:
        trace.plot(
            steps[rest], norm[rest], ".", color=_NORM, markersize=_size(len(norm)), alpha=0.6,
            markeredgewidth=0,
        )  # fmt: skip
    else:
        _band(trace, steps, norm, rest)
    if over.any():
        found = np.flatnonzero(over)
        shown = found[np.argsort(-norm[found])[:_MOST_POINTS]]
        trace.plot(
            steps[shown], norm[shown], "^", color=_CLIPPED, markeredgewidth=0, alpha=0.85,
            markersize=5 if len(shown) < 300 else 3,
            label=f"{len(found)} steps that the safety net clips",
        )  # fmt: skip


def _size(count: int) -> float:
    return 7 if count < 200 else 5 if count < 1500 else 3.5


def _band(trace: Any, steps: Array, norm: Array, rest: Array) -> None:
    """Of many norms: the smallest, the median and the largest of each stretch of the run."""
    found = np.flatnonzero(rest)
    edges = np.linspace(0, len(found), min(_BANDS, len(found)) + 1).astype(int)
    starts, values = edges[:-1], norm[found]
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    middle = np.array([np.median(values[a:b]) for a, b in zip(edges[:-1], edges[1:])])
    at = steps[found[(edges[:-1] + edges[1:]) // 2]]
    trace.fill_between(at, low, high, color=_NORM, alpha=0.3, linewidth=0, label="all norms")
    trace.plot(at, middle, color=_NORM, linewidth=1.4, label="median")
    spiky = found[values > FACTOR * np.repeat(middle, np.diff(edges))]
    if len(spiky):
        shown = spiky[np.argsort(-norm[spiky])[:_MOST_POINTS]]
        trace.plot(
            steps[shown], norm[shown], "o", color=_NORM, markersize=3.5, markeredgewidth=0,
            label=f"over {FACTOR:g} times that",
        )  # fmt: skip


def _bad(trace: Any, steps: Array, norm: Array) -> None:
    """A mark at the upper edge where a norm is not finite, one at the lower where it is 0."""
    for rows, height, marker, colour, label in (
        (np.isnan(norm), 0.975, "x", _BAD, "NaN"),
        (np.isinf(norm), 0.975, "+", _BAD, "infinite"),
        (norm == 0, 0.02, "|", "#555555", "0"),
    ):
        found = np.flatnonzero(rows)
        if len(found):
            shown = found[_thin(len(found))]
            trace.plot(
                steps[shown], np.full(len(shown), height), marker, color=colour, markersize=7,
                markeredgewidth=1.8, transform=trace.get_xaxis_transform(), clip_on=False,
                label=f"{len(found)} {label}", linestyle="none",
            )  # fmt: skip


def _thin(count: int) -> Array:
    """At most _MOST_POINTS of so many, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).astype(int))


def _histogram(bars: Any, norm: Array, advice: Advice) -> None:
    bars.tick_params(labelleft=False)
    bars.set_xlabel("steps")
    bars.set_title("how often, with percentiles", loc="left", fontsize=10, color="#444444", pad=24)
    if not len(norm):
        return
    low, high = float(norm.min()), float(norm.max())
    if low == high:
        low, high = low * 0.95, high * 1.05
    bins = np.geomspace(low, high, int(np.clip(np.sqrt(len(norm)), 8, 60)) + 1)
    counts, _ = np.histogram(norm, bins)
    bars.barh(bins[:-1], counts, height=np.diff(bins), align="edge", color=_NORM, alpha=0.55)
    top = float(counts.max())
    named = [(n, advice.percentiles[n]) for n in _PERCENTILES if advice.percentiles.get(n)]
    low, high = np.log10(bars.get_ylim())
    places = _apart([(np.log10(value) - low) / (high - low) for _, value in named])
    for (name, value), place in zip(named, places):
        bars.plot([0, 1.05 * top], [value, value], color="#555555", linewidth=0.7)
        beside = 10 ** (low + place * (high - low))
        bars.plot([1.05 * top, 1.12 * top], [value, beside], color="#999999", linewidth=0.5)
        bars.text(1.14 * top, beside, f"{name} {value:.3g}", va="center", fontsize=8)
    bars.set_xlim(0, 1.75 * top)
    bars.xaxis.set_major_locator(
        require("matplotlib.ticker", "--plot").MaxNLocator(3, integer=True)
    )


def _apart(places: list[float]) -> list[float]:
    """Heights (0 to 1, rising) of labels that must not overlap, as near to places as may be."""
    out: list[float] = []
    for place in places:
        out.append(max(place, out[-1] + _LABEL_HEIGHT) if out else place)
    return out
