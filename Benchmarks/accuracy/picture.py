"""Draws the errors: one panel per p, both axes logarithmic."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402: the backend comes first

# Okabe and Ito's palette, told apart by all forms of colour vision; markers too, of
# different sizes because some points coincide.
STYLES = {
    "torch": ("#D55E00", "o", 6),
    "NumPy": ("#E69F00", "s", 8),
    "TensorFlow": ("#009E73", "^", 5),
    "gradclip": ("#0072B2", "D", 6),
}
EXACT = 1e-17  # where an error of 0 is drawn, below half an ulp of float64
OVERFLOW = 10.0  # where an infinite norm is drawn
LEAST_LABELLED = 1e-3  # errors at the largest N that are written beside their point


def height(error: float) -> float:
    return OVERFLOW if not math.isfinite(error) else max(abs(error), EXACT)


def title(dtype: str, names: list[str], errors: dict) -> str:
    """What was found at the largest N, in one line."""
    largest = max(length for _, _, length in errors)
    found = {name: errors.get((name, 2, largest)) for name in names}
    elements = f"1e{round(math.log10(largest))} {dtype} elements"
    if "torch" in names and found["torch"]:
        off = f"torch's norm is off by {abs(found['torch']):.1%} (p = 2)"
    else:
        off = "errors grow with the size"
    ours = "gradclip's is exact" if found["gradclip"] == 0 else f"gradclip's by {abs(found['gradclip']):.0e}"
    return f"At {elements} {off}; {ours}"


def draw(path: Path, dtype: str, orders: list[int], names: list[str], errors: dict) -> None:
    figure, panels = plt.subplots(
        1, len(orders), figsize=(3.5 * len(orders) + 1, 4.4), sharey=True, squeeze=False, layout="constrained"
    )
    for panel, p in zip(panels[0], orders):
        lengths = sorted(length for name, order, length in errors if name == "gradclip" and order == p)
        for name in names:
            points = [(n, errors[name, p, n]) for n in lengths if errors[name, p, n] is not None]
            color, marker, size = STYLES[name]
            panel.plot(
                [n for n, _ in points], [height(error) for _, error in points],
                color=color, marker=marker, label=name, clip_on=False, zorder=3, linewidth=1.8, markersize=size,
            )  # fmt: skip
            if points and LEAST_LABELLED < height(points[-1][1]) < OVERFLOW:
                n, error = points[-1]
                top = all(height(errors[other, p, n] or 0) <= height(error) for other in names)
                panel.annotate(
                    f"{abs(error):.{1 if abs(error) >= 0.01 else 2}%}", (n, height(error)), ha="right", color="0.2",
                    xytext=(-7, 7) if top else (4, -17), textcoords="offset points", fontsize=9,
                )  # fmt: skip
        panel.axhline(2.0**-53, color="0.6", linewidth=0.8, linestyle=":", zorder=1)
        panel.axhline(2.0**-24, color="0.6", linewidth=0.8, linestyle=":", zorder=1)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.xaxis.minorticks_off()
        panel.set_title(f"p = {p}")
        panel.set_xlabel("elements of the gradient")
        panel.grid(axis="y", color="0.9", linewidth=0.6)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    axis = panels[0][0]
    worst = max(height(error) for error in errors.values() if error is not None)
    axis.set_ylim(EXACT, max(1.0, worst))
    ticks = {EXACT: "exact", 1e-15: "1e-15", 1e-12: "1e-12", 1e-9: "1e-9", 1e-6: "1e-6", 1e-3: "0.1%", 1.0: "100%"}
    if worst == OVERFLOW:
        ticks[OVERFLOW] = "overflow"
    axis.set_yticks(list(ticks), labels=list(ticks.values()))
    axis.minorticks_off()
    axis.set_ylabel("relative error of total_norm")
    last = panels[0][-1]
    for level, label in ((2.0**-53, "float64\nrounding"), (2.0**-24, "float32\nrounding")):
        last.annotate(
            label, (1.02, level), xycoords=("axes fraction", "data"), va="center", fontsize=8, color="0.4"
        )
    figure.suptitle(title(dtype, names, errors), fontsize=12, fontweight="bold")
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
