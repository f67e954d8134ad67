"""A step whose gradients arrive in chunks: what clipping costs when it is done as they come.

    python offload.py                      # prints a step's time with and without clipping
    python offload.py --csv offload.csv --draw offload.svg

As in a program whose model is on a GPU and whose optimizer is not (prime-rl, torchao's
CPUOffloadOptimizer, an offload loop of one's own): a thread copies gradients to CPU
memory, chunk by chunk, at the rate of the bus. Here the "GPU" is other memory, and the
thread waits to keep the rate. Each chunk is added to a gradclip.Accumulator by a second thread,
while the bus is busy with the next one. When the last is there the norm is known; its factor goes
into the grad_scale of torch's fused AdamW, which divides by it where it reads the gradients
anyway. So no pass over the gradients is added.

Handing over a grad_scale costs time of its own in torch's kernel, which writes the gradients back
then, whatever the scale: a trainer with a loss scale pays for that already. So four kinds of
steps are compared, and three quotients drawn:

    nothing to clip / without             what the norm costs
    clipped / without, scaled             what the norm costs where there is a grad_scale anyway
    clipped / without                     norm and grad_scale together
"""

from __future__ import annotations

import argparse
import csv
import queue
import threading
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import gradclip
import torch


class Offload:
    """Parameters in CPU memory, and the thread that brings their gradients."""

    def __init__(self, sizes: list[int], chunk: int, rate: float) -> None:
        self.parameters = [torch.nn.Parameter(torch.randn(size) * 0.02) for size in sizes]
        self.there = [torch.randn(size) * 1e-3 for size in sizes]  # the gradients on the "GPU"
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer: Any = torch.optim.AdamW(self.parameters, lr=1e-4, fused=True)
        self.chunk, self.rate = chunk, rate

    def chunks(self) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
        """The number of the gradient, and each chunk of it there and here; the last layer first."""
        for i in reversed(range(len(self.parameters))):
            here = self.parameters[i].grad
            assert here is not None
            for source, target in zip(
                torch.split(self.there[i], self.chunk), torch.split(here, self.chunk)
            ):
                yield i, source, target

    def copy(self, accumulator: gradclip.Accumulator | None) -> None:
        """Brings all gradients at the rate of the bus; a second thread adds up what is there."""
        there: queue.SimpleQueue[tuple[int, torch.Tensor] | None] = queue.SimpleQueue()
        adding = threading.Thread(target=self.add, args=(accumulator, there))
        adding.start()
        due = time.perf_counter()
        for i, source, target in self.chunks():
            target.copy_(source)
            if accumulator is not None:
                there.put((i, target))
            due += 4 * source.numel() / self.rate
            while (left := due - time.perf_counter()) > 0:  # the bus is still at it
                time.sleep(left)
        there.put(None)
        adding.join()

    def add(self, accumulator: gradclip.Accumulator | None, there: queue.SimpleQueue[Any]) -> None:
        while (chunk := there.get()) is not None:
            assert accumulator is not None
            accumulator.add(chunk[1].numpy(), index=chunk[0])

    def step(self, max_norm: float | None, scale: float | None = None) -> gradclip.Norm | None:
        """A whole step: the gradients come, and the optimizer updates the parameters.

        Without max_norm nothing is clipped; the optimizer is handed `scale`, if there is one.
        """
        accumulator = None if max_norm is None else gradclip.Accumulator()
        bus = threading.Thread(target=self.copy, args=(accumulator,))
        bus.start()  # the backward pass runs here
        bus.join()
        norm = None
        self.optimizer.grad_scale = None if scale is None else torch.tensor(scale)
        if accumulator is not None and max_norm is not None:
            norm = accumulator.finish(max_norm)
            if norm.nonfinite:
                return norm  # the step is left out
            if norm.clipped:
                self.optimizer.grad_scale = torch.tensor(1 / norm.factor, dtype=torch.float32)
        self.optimizer.step()
        return norm


KINDS: dict[str, dict[str, float]] = {
    "without": {},
    "without, scaled": {"scale": 1.0},
    "nothing to clip": {"max_norm": 1e9},
    "clipped": {"max_norm": 0.1},
}
QUOTIENTS = (
    ("nothing to clip", "without"),
    ("clipped", "without, scaled"),
    ("clipped", "without"),
)


def measure(offload: Offload, steps: int) -> list[tuple[str, float]]:
    """Seconds of steps of each kind, one of each in turn, so that what else the machine does
    meets all alike."""
    found = []
    for step in range(steps + 1):
        for kind, how in KINDS.items():
            begin = time.perf_counter()
            norm = offload.step(how.get("max_norm"), how.get("scale"))
            if step:  # the first one touches the optimizer's memory for the first time
                found.append((kind, time.perf_counter() - begin))
            assert norm is None or norm.clipped == (kind == "clipped")
    return found


Row = tuple[float, str, float]  # rate in GB/s, kind, seconds


def quotient(rows: list[Row], rate: float, of: str, by: str) -> float:
    """The median of one kind's steps over that of another's."""
    times = {k: [s for r, name, s in rows if r == rate and name == k] for k in (of, by)}
    return median(times[of]) / median(times[by])


def table(rows: list[Row]) -> str:
    """Medians in ms, and the three quotients, for each rate."""
    quotients = [f"{of} / {by}" for of, by in QUOTIENTS]
    lines = [f"| GB/s | {' | '.join([*(f'{kind}, ms' for kind in KINDS), *quotients])} |"]
    lines.append("|---" * (1 + len(KINDS) + len(QUOTIENTS)) + "|")
    for rate in sorted({rate for rate, _, _ in rows}):
        cells = [f"{rate:g}"]
        for kind in KINDS:
            cells.append(f"{1e3 * median([s for r, k, s in rows if r == rate and k == kind]):.1f}")
        cells += [f"{quotient(rows, rate, of, by):.3f}" for of, by in QUOTIENTS]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read(path: str) -> list[Row]:
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        return [(float(row["rate"]), row["kind"], float(row["seconds"])) for row in rows]


def draw(rows: list[Row], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "offload"  # the same bytes each time
    from matplotlib import pyplot

    rates = sorted({rate for rate, _, _ in rows})
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for (of, by), colour in zip(QUOTIENTS, ("#009E73", "#0072B2", "#D55E00")):
        heights = [quotient(rows, rate, of, by) for rate in rates]
        axes.plot(rates, heights, "o-", color=colour, label=f"{of} / {by}")
    axes.axhline(1.02, color="grey", linestyle=":", label="1.02")
    axes.set(xlabel="rate of the bus, GB/s", ylabel="median step, with / without")
    axes.set_xscale("log", base=2)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0], help="of the bus, in GB/s")
    parser.add_argument("--million", type=float, default=32.0, help="parameters, in millions")
    parser.add_argument("--chunk", type=int, default=1 << 18, help="elements of a chunk")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--csv", help="write every step's time there")
    parser.add_argument("--read", help="such a file, instead of steps")
    parser.add_argument("--draw", help="draw there (.svg, .png)")
    options = parser.parse_args()
    rows: list[Row] = []
    layers = 12
    sizes = [int(options.million * 1e6 / layers)] * layers
    if options.read:
        rows, options.rates = read(options.read), []
    for rate in options.rates:
        offload = Offload(sizes, options.chunk, rate * 1e9)
        found = measure(offload, options.steps)
        rows += [(rate, kind, seconds) for kind, seconds in found]
    if not options.read:
        print(f"{options.million:g}M parameters, medians of {options.steps} steps")
    print(table(rows))
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [("rate", "kind", "seconds"), *((r, k, f"{s:.5f}") for r, k, s in rows)]
            )
    if options.draw:
        draw(rows, options.draw)


if __name__ == "__main__":
    main()
