"""scaling.py MEASURED.csv [--picture FILE]: the cost model of docs/scaling.md.

Takes its constants from what measure.sh measured, prints them and what follows for up to
10 000 ranks, beside what was measured, and draws both (which needs matplotlib).
"""

from __future__ import annotations

import argparse
import csv
from math import ceil, log2
from pathlib import Path

RANKS = (1, 2, 8, 64, 512, 4096, 10_000)
PROCESSORS = 2  # of the machine that measured
EXPORT = 1032  # bytes of an accumulator in the gathering of other orders
TRANSPORTS = ("shared memory", "TCP")


class Measured:
    """The fastest of all repeats, in microseconds."""

    def __init__(self, path: Path) -> None:
        self.best: dict[tuple[str, str, int, int], float] = {}
        with path.open() as file:
            for row in csv.DictReader(file):
                key = (row["transport"], row["what"], int(row["ranks"]), int(row["bytes"]))
                self.best[key] = min(self.best.get(key, 1e99), float(row["minimum_us"]))

    def __call__(self, transport: str, what: str, ranks: int, size: int) -> float:
        return self.best[transport, what, ranks, size]


class Model:
    """Times in microseconds."""

    def __init__(self, measured: Measured) -> None:
        self.measured = measured
        size = 134_217_728
        self.norm = measured("none", "norm", 1, size) / (size / 4)  # of an element
        self.scale = measured("none", "scale", 1, size) / (size / 4)
        self.call = measured("none", "clip over ranks", 1, 64)
        self.add = measured("none", "import", 1, 208)  # of one rank's accumulator
        # A round of a small all-reduce: two ranks need one.
        self.round = {t: measured(t, "allreduce", 2, 192) for t in TRANSPORTS}
        large, small = 131_072, 8192
        self.byte = {
            t: (
                measured(t, "allreduce by size", 2, large)
                - measured(t, "allreduce by size", 2, small)
            )
            / (large - small)
            for t in TRANSPORTS
        }

    def rounds(self, ranks: int) -> int:
        """Of an all-reduce by recursive doubling."""
        return ceil(log2(ranks))

    def message(self, ranks: int, transport: str) -> float:
        """192 bytes: norm_type 1 and 2 of float32, float16 and bfloat16."""
        return self.rounds(ranks) * self.round[transport]

    def gather(self, ranks: int, transport: str) -> float:
        """What other orders and float64 send after that, and put together on every rank."""
        sent = (
            self.rounds(ranks) * self.round[transport] + (ranks - 1) * EXPORT * self.byte[transport]
        )
        return 2 * self.message(ranks, transport) + sent + ranks * self.add

    def taking_turns(self, ranks: int, transport: str) -> float:
        """More ranks than processors: each needs its turn in every round. The length of a turn is
        what 4 ranks took."""
        turn = self.measured(transport, "allreduce", 4, 192) / (self.rounds(4) * 4 / PROCESSORS)
        return self.rounds(ranks) * ranks / PROCESSORS * turn


def table(model: Model) -> None:
    print(
        f"norm: {model.norm * 1e3:.3f} ns an element; scaling: {model.scale * 1e3:.3f} ns (one thread)"
    )
    print(
        f"a call without neighbours: {model.call:.2f} us; adding one gathered accumulator: {model.add:.2f} us"
    )
    for t in TRANSPORTS:
        print(
            f"{t}: {model.round[t]:.2f} us a round, {model.byte[t] * 1e3:.2f} ns a byte, "
            f"8 bytes {model.measured(t, 'allreduce by size', 2, 8):.2f} us, a whole call {model.measured(t, 'clip over ranks', 2, 64):.2f} us"
        )
    print(
        "\n| ranks | rounds | "
        + " | ".join(f"p = 2, {t}" for t in TRANSPORTS)
        + " | "
        + " | ".join(f"p = 3, {t}" for t in TRANSPORTS)
        + " |"
    )
    print("|---" * (2 + 2 * len(TRANSPORTS)) + "|")
    for n in RANKS:
        cells = [f"{model.message(n, t):.1f} us" for t in TRANSPORTS] + [
            f"{model.gather(n, t) / 1e3:.2f} ms" for t in TRANSPORTS
        ]
        print(f"| {n} | {model.rounds(n)} | " + " | ".join(cells) + " |")
    print(
        "\n| ranks on 2 processors | "
        + " | ".join(f"{t}: measured | model" for t in TRANSPORTS)
        + " |"
    )
    print("|---" * (1 + 2 * len(TRANSPORTS)) + "|")
    for n in (4, 8, 16):
        cells = [
            f"{model.measured(t, 'allreduce', n, 192):.0f} us | {model.taking_turns(n, t):.0f} us"
            for t in TRANSPORTS
        ]
        print(f"| {n} | " + " | ".join(cells) + " |")


def draw(model: Model, picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    many = sorted({round(10 ** (i / 50)) for i in range(201)} - {1})
    crowd = [4, 8, 16, 32, 64]
    fig, axes = plt.subplots(figsize=(8, 6), layout="constrained")
    for t, colour in zip(TRANSPORTS, ("tab:blue", "tab:orange")):
        axes.plot(
            many,
            [model.message(n, t) for n in many],
            color=colour,
            label=f"p = 2, a processor each, {t}: model",
        )
        axes.plot(
            [2],
            [model.measured(t, "allreduce", 2, 192)],
            "o",
            color=colour,
            label=f"measured, and what the model is made of, {t}",
        )
        axes.plot(
            crowd,
            [model.taking_turns(n, t) for n in crowd],
            ":",
            color=colour,
            label=f"p = 2, taking turns on 2 processors, {t}: model",
        )
        axes.plot(
            [4, 8, 16],
            [model.measured(t, "allreduce", n, 192) for n in (4, 8, 16)],
            "s",
            mfc="none",
            color=colour,
            label=f"measured, taking turns, {t}",
        )
    axes.plot(
        many,
        [model.gather(n, "TCP") for n in many],
        "--",
        color="tab:red",
        label="p = 3 or float64, TCP: model",
    )
    for elements, name in ((10**6, "10⁶"), (10**8, "10⁸")):
        axes.axhline(elements * model.norm, color="grey", linewidth=0.8)
        axes.text(
            1e4,
            elements * model.norm * 1.1,
            f"the norm of {name} float32 on the rank",
            ha="right",
            color="grey",
            fontsize=8,
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="ranks",
        ylabel="time of the messages, µs",
        xlim=(1.7, 1.2e4),
        ylim=(0.2, 1e6),
        title="What a clip over ranks adds to the work on each rank",
    )
    fig.legend(fontsize=7, loc="outside lower center", ncols=2)
    axes.grid(alpha=0.3)
    fig.savefig(picture, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("measured", type=Path)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    model = Model(Measured(arguments.measured))
    table(model)
    if arguments.picture:
        draw(model, arguments.picture)


if __name__ == "__main__":
    main()
