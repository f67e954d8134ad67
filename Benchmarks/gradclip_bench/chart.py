"""The chart: time by elements and by tensors, bandwidth by threads, and the ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import machine, report

COLORS = {
    "gradclip": "#0b6e4f",
    "gradclip, 1 thread": "#6bbf9d",
    "gradclip Plan": "#2a9d8f",
    "gradclip Python": "#8ab17d",
    "torch": "#d1495b",
    "NumPy": "#3d5a80",
    "roof: read": "#888888",
}


def _lines(axes, points: list[dict[str, Any]], by: str, scale) -> None:
    names = list(dict.fromkeys(name for point in points for name in point["seconds"]))
    for name in names:
        pairs = [(p[by], scale(p, name)) for p in points if name in p["seconds"]]
        style = "--" if name.startswith("roof") else "-"
        axes.plot(*zip(*pairs), style, marker="." if style == "-" else None, color=COLORS[name], label=name)
    axes.grid(True, which="major", alpha=0.3)


def _bars(axes, rows: list[dict[str, Any]]) -> None:
    cases = [row for row in rows if "not measured" in row and report.ratio(row, "torch", "gradclip")]
    cases.reverse()
    places = range(len(cases))
    values = [report.ratio(row, "torch", "gradclip") for row in cases]
    axes.barh(places, values, color=COLORS["gradclip"])
    for place, value in zip(places, values):
        axes.text(value, place, f" {value:.3g}", va="center", fontsize=7)
    axes.axvline(1, color=COLORS["torch"], linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(right=max(values) * 2)
    axes.set_yticks(places, [row["case"] for row in cases], fontsize=7)
    axes.set_title("torch's time / gradclip's (from C)")


def draw(results: dict[str, Any], stem: Path) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    growth = results["growth"]
    figure, ((elements, tensors), (threads, bars)) = plt.subplots(2, 2, figsize=(13, 9), layout="constrained")

    def milliseconds(point, name):
        return point["seconds"][name] * 1e3

    def bandwidth(point, name):
        return point["bytes"] / point["seconds"][name] / 1e9

    _lines(elements, growth["elements"], "elements", milliseconds)
    elements.set(xscale="log", yscale="log", xlabel="elements of one float32 tensor", ylabel="ms per call")
    elements.set_title("nothing to clip: time by elements")
    elements.legend(fontsize=7)
    _lines(tensors, growth["tensors"], "tensors", milliseconds)
    tensors.set(xscale="log", yscale="log", xlabel="tensors of 100 elements", ylabel="ms per call")
    tensors.set_title("nothing to clip: time by tensors")
    tensors.legend(fontsize=7)
    _lines(threads, growth["threads"], "threads", bandwidth)
    threads.set(xscale="log", yscale="log", xlabel="threads", ylabel="GB/s")
    threads.set_xticks([p["threads"] for p in growth["threads"]], [str(p["threads"]) for p in growth["threads"]])
    threads.set_title("nothing to clip: 24 million elements")
    threads.legend(fontsize=7)
    if any(report.ratio(row, "torch", "gradclip") for row in results["cases"]):
        _bars(bars, results["cases"])
    else:
        bars.set_axis_off()
    figure.suptitle(f"gradclip: {machine.one_line(results['machine'])}", fontsize=10)
    written = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    for path in written:
        figure.savefig(path, dpi=120)
    plt.close(figure)
    return written
