"""Draws what clipping did to a training run, from the logs of char_rnn.

    python char_rnn_plot.py --output char_rnn.png UNCLIPPED.csv CLIPPED.csv

The logs are those that bindings/c/examples/char_rnn.c writes with --log, of two
runs with the same seed and learning rate, one with --max-norm none. Every
coefficient in them, computed by the library in the C program, is computed again
through the Python package, and must be the same to the bit. Needs gradclip and
matplotlib.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import matplotlib

import gradclip

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

# Okabe and Ito's palette: told apart by all forms of colour vision, and in grey.
UNCLIPPED = "#D55E00"
CLIPPED = "#0072B2"


@dataclass
class Run:
    """One log: the settings of its first line, and its columns as arrays."""

    path: Path
    settings: dict[str, float]
    step: np.ndarray
    loss: np.ndarray
    smooth_loss: np.ndarray
    total_norm: np.ndarray
    clip_coef: np.ndarray

    @classmethod
    def read(cls, path: Path) -> Run:
        with path.open() as file:
            words = file.readline().split()
            if words[:2] != ["#", "char_rnn"]:
                raise SystemExit(f"{path}: not a log of char_rnn")
            settings = {key: float(value) for key, value in (w.split("=") for w in words[3:])}
            table = np.genfromtxt(file, delimiter=",", names=True)
        return cls(path, settings, **{name: table[name] for name in table.dtype.names or ()})

    @property
    def max_norm(self) -> float:
        return self.settings["max_norm"]

    @property
    def clipped(self) -> np.ndarray:
        """Which steps were clipped."""
        return self.clip_coef < 1

    @property
    def final_loss(self) -> float:
        """The mean over the last tenth of the steps, as char_rnn prints it."""
        return float(np.mean(self.loss[-max(1, len(self.loss) // 10) :]))


def check_coefficients(run: Run) -> int:
    """Computes every coefficient of a log again; returns how many there were.

    The gradient is one number, the norm that was logged. The infinity norm gives
    it back unrounded.
    """
    grad = np.zeros(1)
    finite = np.isfinite(run.total_norm)
    with gradclip.Plan([grad]) as plan:
        for step, norm, coef in zip(
            run.step[finite], run.total_norm[finite], run.clip_coef[finite]
        ):
            grad[0] = norm
            ours = plan.clip_grad_norm_(run.max_norm, norm_type=math.inf).clip_coef
            if ours != coef:
                raise SystemExit(
                    f"{run.path}, step {step:.0f}: clip_coef {coef!r} from C, {ours!r} from Python"
                )
    return int(finite.sum())


def draw(unclipped: Run, clipped: Run, output: Path) -> None:
    share = clipped.clipped.mean()
    rate = clipped.settings["learning_rate"]
    plt.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False})
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(9, 7), sharex=True, layout="constrained", height_ratios=[1, 1.25]
    )
    figure.suptitle(
        f"Clipping {share:.1%} of the steps: the loss ends at {clipped.final_loss:.2f}"
        f" instead of {unclipped.final_loss:.2f}",
        fontsize=14,
        fontweight="bold",
    )
    top.set_title(
        f"Character RNN, seed {clipped.settings['seed']:.0f}, learning rate {rate:g},"
        f" the same run without and with max_norm {clipped.max_norm:g}",
        fontsize=11,
        pad=32,
    )

    # Above the axes: wherever they stood inside, some run would have its spike there.
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "frameon": False}
    runs = [
        (unclipped, UNCLIPPED, "no clipping"),
        (clipped, CLIPPED, f"max_norm {clipped.max_norm:g}"),
    ]
    for run, colour, label in runs:
        top.plot(run.step, run.loss, color=colour, alpha=0.2, linewidth=0.5)
        top.plot(run.step, run.smooth_loss, color=colour, linewidth=2, label=label)
        bottom.scatter(run.step, run.total_norm, s=4, color=colour, alpha=0.5, linewidths=0)
    top.set_ylabel("loss, nats per character\n(line: smoothed)")
    # Single steps reach far higher; what matters is where most of them are.
    top.set_ylim(0, 1.05 * max(np.nanpercentile(run.loss, 99.5) for run, _, _ in runs))
    top.legend(**above)

    bottom.set_yscale("log")
    bottom.set_ylabel("total_norm of the gradients\nbefore clipping")
    bottom.set_xlabel("step")
    bottom.set_xlim(0, max(run.step[-1] for run, _, _ in runs))
    bottom.plot(
        clipped.step[clipped.clipped],
        clipped.total_norm[clipped.clipped],
        "^",
        color=CLIPPED,
        markersize=7,
        markeredgecolor="white",
        markeredgewidth=0.6,
        label=f"the {clipped.clipped.sum()} steps that were clipped",
    )
    bottom.axhline(
        clipped.max_norm,
        color="black",
        linestyle="--",
        linewidth=1.2,
        label=f"max_norm {clipped.max_norm:g}",
    )
    bottom.legend(**above)
    figure.savefig(output, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("unclipped", type=Path, help="log of the run with --max-norm none")
    parser.add_argument("clipped", type=Path, help="log of the run with a max_norm")
    parser.add_argument("--output", type=Path, default=Path("char_rnn.png"), help="PNG to write")
    arguments = parser.parse_args()

    unclipped, clipped = Run.read(arguments.unclipped), Run.read(arguments.clipped)
    for run, expected in (unclipped, True), (clipped, False):
        if math.isinf(run.max_norm) != expected:
            raise SystemExit(
                f"{run.path}: max_norm is {run.max_norm:g};"
                " give the run without clipping first, then the one with it"
            )
    checked = check_coefficients(unclipped) + check_coefficients(clipped)
    print(f"gradclip {gradclip.__version__}: {checked} coefficients, the same in C and in Python")
    draw(unclipped, clipped, arguments.output)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
