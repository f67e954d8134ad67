"""A step whose gradients arrive in chunks: what clipping costs when it is done as they come.

    python offload.py                      # prints a step's time with and without clipping
    python offload.py --csv steps.csv --png offload.png

As in a program whose model is on a GPU and whose optimizer is not (prime-rl, torchao's
CPUOffloadOptimizer, an offload loop of one's own): a thread copies gradients to CPU
memory, chunk by chunk, at the rate of the bus. Here the "GPU" is other memory, and the
thread waits to keep the rate. Each chunk is added to a gradclip.Accumulator by the thread that
copied it, while it is in cache and the bus is busy with the next one. When the last is there
the norm is known; its factor goes into the grad_scale of torch's fused AdamW, which divides by
it where it reads the gradients anyway. So no pass over the gradients is added.
"""

from __future__ import annotations

import argparse
import csv
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch

import gradclip


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
            for source, target in zip(torch.split(self.there[i], self.chunk), torch.split(here, self.chunk)):
                yield i, source, target

    def copy(self, accumulator: gradclip.Accumulator | None) -> None:
        """Brings all gradients at the rate of the bus, and adds each chunk up as it is there."""
        due = time.perf_counter()
        for i, source, target in self.chunks():
            target.copy_(source)
            if accumulator is not None:
                accumulator.add(target.numpy(), index=i)
            due += 4 * source.numel() / self.rate
            while (left := due - time.perf_counter()) > 0:  # the bus is still at it
                time.sleep(left)

    def step(self, max_norm: float | None) -> gradclip.Norm | None:
        """A whole step: the gradients come, and the optimizer updates the parameters."""
        accumulator = None if max_norm is None else gradclip.Accumulator()
        bus = threading.Thread(target=self.copy, args=(accumulator,))
        bus.start()  # the backward pass runs here
        bus.join()
        norm = None
        self.optimizer.grad_scale = None
        if accumulator is not None and max_norm is not None:
            norm = accumulator.finish(max_norm)
            if norm.nonfinite:
                return norm  # the step is left out
            if norm.clipped:
                self.optimizer.grad_scale = torch.tensor(1 / norm.factor, dtype=torch.float32)
        self.optimizer.step()
        return norm


def measure(offload: Offload, steps: int) -> list[tuple[str, float]]:
    """Seconds of steps without clipping, with a max_norm above the norm, and with one below:
    one of each in turn, so that what else the machine does meets all alike. The fastest of
    each are compared."""
    found = []
    for step in range(steps + 1):
        for kind, max_norm in (("without", None), ("nothing to clip", 1e9), ("clipped", 0.1)):
            begin = time.perf_counter()
            norm = offload.step(max_norm)
            if step:  # the first one touches the optimizer's memory for the first time
                found.append((kind, time.perf_counter() - begin))
            assert norm is None or norm.clipped == (kind == "clipped")
    return found


def draw(rows: list[tuple[float, str, float]], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rates = sorted({rate for rate, _, _ in rows})
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for kind in ("nothing to clip", "clipped"):
        ratios = []
        for rate in rates:
            of = {
                k: [s for r, name, s in rows if r == rate and name == k] for k in (kind, "without")
            }
            ratios.append(min(of[kind]) / min(of["without"]))
        axes.plot(rates, ratios, "o-", label=kind)
    axes.axhline(1.02, color="grey", linestyle=":", label="1.02")
    axes.set(xlabel="rate of the bus, GB/s", ylabel="a step, with clipping / without")
    axes.set_xscale("log", base=2)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0], help="of the bus, in GB/s")
    parser.add_argument("--million", type=float, default=32.0, help="parameters, in millions")
    parser.add_argument("--chunk", type=int, default=1 << 18, help="elements of a chunk")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--csv", help="write every step's time there")
    parser.add_argument("--png", help="draw there")
    options = parser.parse_args()
    rows: list[tuple[float, str, float]] = []
    layers = 12
    sizes = [int(options.million * 1e6 / layers)] * layers
    for rate in options.rates:
        offload = Offload(sizes, options.chunk, rate * 1e9)
        found = measure(offload, options.steps)
        rows += [(rate, kind, seconds) for kind, seconds in found]
        best = {k: min(s for name, s in found if name == k) for k, _ in found}
        print(
            f"{options.million:g}M parameters at {rate:g} GB/s: the fastest step takes "
            + ", ".join(f"{1e3 * s:.1f} ms {kind}" for kind, s in best.items())
            + "".join(
                f", {best[kind] / best['without']:.3f} {kind}"
                for kind in ("nothing to clip", "clipped")
            ),
            flush=True,
        )
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(
                [("rate", "kind", "seconds"), *((r, k, f"{s:.5f}") for r, k, s in rows)]
            )
    if options.png:
        draw(rows, options.png)


if __name__ == "__main__":
    main()
