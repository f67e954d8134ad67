"""Draws the pictures of docs/choosing-max-norm.md from the logs in data/.

    python max_norm_plot.py --output docs/images

The logs are those of `max_norm_rule.py --task fcos`, seed 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot as plt

DATA = Path(__file__).resolve().parent / "data"
PILOT, LOST, SAVED, OTHER = "#4d4d4d", "#c4421a", "#1f6fb4", "#b08d00"


def read(setting: str) -> dict[str, np.ndarray]:
    table = np.genfromtxt(DATA / f"fcos-seed1-{setting}.csv", delimiter=",", names=True)
    return {name: table[name] for name in ("step", "grad_norm", "clip_coef", "loss")}


def smooth(values: np.ndarray, width: int = 20) -> np.ndarray:
    """The mean of the last `width` values, of fewer at the beginning."""
    sums = np.cumsum(values)
    counts = np.minimum(np.arange(1, len(values) + 1), width)
    before = np.concatenate([np.zeros(width), sums[:-width]])[: len(values)]
    return (sums - before) / counts


def style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="major", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)


def plain(axis: Any, ticks: list[float]) -> None:
    """Numbers as one writes them on a logarithmic axis."""
    axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))
    axis.set_minor_locator(matplotlib.ticker.NullLocator())
    axis.set_major_formatter(matplotlib.ticker.StrMethodFormatter("{x:g}"))


def draw_norm(path: Path) -> None:
    """Clipping, in two dimensions: the direction stays, the length becomes max_norm."""
    figure, axes = plt.subplots(figsize=(5.6, 4.4), layout="constrained")
    circle = np.linspace(0, 2 * np.pi, 200)
    axes.fill(2 * np.cos(circle), 2 * np.sin(circle), color=SAVED, alpha=0.08)
    axes.plot(2 * np.cos(circle), 2 * np.sin(circle), color=SAVED, linewidth=1)
    arrow = {"arrowstyle": "-|>", "mutation_scale": 16, "shrinkA": 0, "shrinkB": 0}
    for end, colour, width in (((4, 3), LOST, 1.6), ((1.6, 1.2), SAVED, 3)):
        axes.annotate("", end, (0, 0), arrowprops={**arrow, "color": colour, "linewidth": width})
    axes.annotate("", (-0.6, 1.0), (0, 0), arrowprops={**arrow, "color": PILOT, "linewidth": 2})
    axes.text(4.05, 3.05, "gradient [4, 3]\nnorm 5", color=LOST, va="bottom", ha="center")
    axes.text(2.12, 0.82, "clipped to [1.6, 1.2]\nclip_coef = 2 / 5 = 0.4", color=SAVED, va="top")
    axes.text(-0.65, 1.05, "norm 1.2: left alone", color=PILOT, va="bottom", ha="center")
    axes.text(0, -2.12, "max_norm = 2", color=SAVED, ha="center", va="top")
    axes.set_aspect("equal")
    axes.set_xlim(-2.6, 5.2)
    axes.set_ylim(-2.6, 4.0)
    axes.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_runs(path: Path) -> None:
    pilot, lost, saved, other = (read(s) for s in ("x1-none", "x100-none", "x100-rule", "x100-p99"))
    figure, (top, bottom) = plt.subplots(
        2, 1, sharex=True, figsize=(8.6, 6.6), layout="constrained", height_ratios=[1, 1]
    )
    figure.suptitle("FCOS at 100 times the pilot's learning rate, seed 1", fontsize=12)
    runs = (
        (other, OTHER, "rate 0.2, max_norm 30 (the pilot's p99): sticks"),
        (pilot, PILOT, "the pilot: rate 0.002, no clipping"),
        (saved, SAVED, "rate 0.2, max_norm 0.063 (the rule): trains"),
    )
    for run, colour, label in runs:
        top.plot(run["step"], run["loss"], color=colour, alpha=0.18, linewidth=0.6)
        top.plot(run["step"], smooth(run["loss"]), color=colour, linewidth=2, label=label)
        bottom.plot(run["step"], run["grad_norm"], color=colour, alpha=0.8, linewidth=0.8)
    finite = np.isfinite(lost["grad_norm"])
    end = lost["step"][~finite][0]
    label = f"rate 0.2, no clipping: NaN at step {end:.0f}"
    top.plot(lost["step"][finite], lost["loss"][finite], color=LOST, linewidth=2, label=label)
    bottom.plot(lost["step"][finite], lost["grad_norm"][finite], color=LOST, linewidth=1.6)
    for axes, column in ((top, "loss"), (bottom, "grad_norm")):
        axes.plot(end, lost[column][finite][-1], "X", color=LOST, markersize=11, clip_on=False)
        axes.set_yscale("log")
        style(axes)
    top.set_ylim(1, 200)
    bottom.set_ylim(0.04, 600)
    plain(top.yaxis, [1, 1.5, 2, 3, 5, 10, 20, 50, 100])
    plain(bottom.yaxis, [0.1, 1, 10, 100])
    top.set_ylabel("loss (line: mean of 20 steps)")
    top.legend(frameon=False, loc="upper right")
    bottom.set_ylabel("norm of the gradients,\nbefore clipping")
    bottom.set_xlabel("step")
    bottom.set_xlim(0, 300)
    for max_norm, colour in ((30, OTHER), (0.063, SAVED)):
        bottom.axhline(max_norm, color=colour, linestyle="--", linewidth=1.2)
        bottom.text(299, max_norm * 1.12, f"max_norm {max_norm:g}", color=colour, ha="right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_regimes(path: Path) -> None:
    """The pilot's norms, and what thresholds would do to them."""
    norms = np.sort(read("x1-none")["grad_norm"])
    figure, axes = plt.subplots(figsize=(8.6, 4.2), layout="constrained")
    above = 100 * (1 - np.arange(1, len(norms) + 1) / len(norms))
    axes.step(norms, above, where="post", color=PILOT, linewidth=2)
    axes.set_xscale("log")
    axes.set_xlim(norms[0] / 1.6, norms[-1] * 2.2)
    plain(axes.xaxis, [2, 3, 5, 7, 10, 20, 30, 50, 70, 100])
    axes.set_ylim(0, 104)
    axes.set_xlabel("max_norm")
    axes.set_ylabel("steps of the pilot that it would clip, %")
    style(axes)
    bands = ((50, 104, "normalised step"), (10, 50, "limiter"), (0.1, 10, "safety net"))
    for (low, high, name), alpha in zip(bands, (0.20, 0.12, 0.06)):
        axes.axhspan(low, high, color=SAVED, alpha=alpha, linewidth=0)
        axes.text(norms[-1] * 2.1, (low + high) / 2, name, ha="right", va="center", color=SAVED)
    for percentile in (10, 50, 99):
        at = np.percentile(norms, percentile)
        axes.plot(at, 100 - percentile, "o", color=LOST)
        axes.annotate(
            f"p{percentile} = {at:.3g}",
            (at, 100 - percentile),
            xytext=(10, 8),
            textcoords="offset points",
            color=LOST,
        )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("docs/images"), help="a folder")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, draw in (("norm", draw_norm), ("fcos", draw_runs), ("regimes", draw_regimes)):
        path = arguments.output / f"choosing-{name}.png"
        draw(path)
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
