"""A step whose gradients arrive in chunks: what clipping costs when it is done as they come.

    python offload.py                      # prints a step's time with and without clipping
    python offload.py --csv offload.csv --draw offload.svg

As in a program whose model is on a GPU and whose optimizer is not (prime-rl, torchao's
CPUOffloadOptimizer, an offload loop of one's own): a thread copies gradients to CPU
memory, chunk by chunk, at the rate of the bus. Here the "GPU" is other memory, and the
thread waits to keep the rate. Each chunk is added to a gradclip.Accumulator by a second thread,
while the bus is busy with the next one. When the last is there the norm is known, and torch's
fused AdamW is handed its factor. No pass over the gradients is added.

Handing over the factor as grad_scale has a price in torch's kernel, which writes the gradients
back then. DeferredAdamW pays none: it hands it over in betas, lr and eps. So four kinds of steps
are compared, and three quotients drawn:

    nothing to clip / without         what the norm costs
    clipped / without                 norm and factor, by DeferredAdamW
    clipped, grad_scale / without     norm and factor, by torch's kernel
"""

from __future__ import annotations

import argparse
import csv
import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import inf, sqrt
from statistics import median
from typing import Any

import gradclip
import numpy
import torch


class DeferredAdamW:
    """Steps of torch.optim.AdamW on factor * gradients, which no step multiplies by it.

    A step with a factor reads and writes what one without does, and does what clipping the
    gradients before it would do, up to rounding. The optimizer keeps M and V instead of
    AdamW's moments m = s M and v = u V. With the numbers

        s' = beta1 s + (1 - beta1) factor       M' = (beta1 s / s') M + (1 - beta1 s / s') g
        u' = beta2 u + (1 - beta2) factor^2     V' = (beta2 u / u') V + (1 - beta2 u / u') g^2

    it is a step of AdamW with other betas; lr, eps and weight_decay of that step make good for
    s, u and the other bias corrections. s and u are in the optimizer's groups, and so in its
    state_dict(): for another optimizer, multiply exp_avg by s and exp_avg_sq by u. They begin as
    1, and are 1 for as long as nothing is clipped.

    A factor below 1/1000 would leave float32 too few of the digits of 1 - beta: such a step
    multiplies the gradients. (float64 parameters keep some 8 digits.) Refused are factors above
    1, amsgrad, whose maximum is over V of several steps, and, where s and u matter, a group whose
    parameters do not all step together.
    """

    FIELDS = ("betas", "lr", "eps", "weight_decay")

    def __init__(self, optimizer: torch.optim.AdamW) -> None:
        if not isinstance(optimizer, torch.optim.AdamW):
            raise TypeError(f"{type(optimizer).__name__} is not torch.optim.AdamW")
        self.optimizer: Any = optimizer

    def step(self, factor: float = 1.0) -> None:
        """Updates the parameters by factor * gradients, 0 < factor <= 1.

        Raises:
            ValueError: factor is out of its range, or what is refused. Nothing was written.
        """
        factor = float(factor)
        if not 0 < factor <= 1:
            raise ValueError(f"factor is {factor}: not in (0, 1]")
        groups = self.optimizer.param_groups
        is_small = factor < 1e-3
        deferred = [self.deferred(group, 1.0 if is_small else factor) for group in groups]
        if is_small:
            parameters = (parameter for group in groups for parameter in group["params"])
            grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
            torch._foreach_mul_(grads, factor)
        kept = [{name: group[name] for name in self.FIELDS} for group in groups]
        try:
            for group, fields in zip(groups, deferred):
                group.update({name: fields[name] for name in self.FIELDS if fields})
            self.optimizer.step()
        finally:
            for group, fields in zip(groups, kept):
                group.update(fields)
        for group, fields in zip(groups, deferred):
            group.update({name: fields[name] for name in ("first", "second") if fields})

    def deferred(self, group: dict[str, Any], factor: float) -> dict[str, Any]:
        """What a step by factor * gradients is made with: s, u, and the optimizer's fields."""
        if group["amsgrad"]:
            raise ValueError("amsgrad=True: its maximum cannot be deferred")
        s, u = group.get("first", 1.0), group.get("second", 1.0)
        if factor == s == u == 1 or all(parameter.grad is None for parameter in group["params"]):
            return {}
        step = 1 + self.steps(group["params"])
        beta1, beta2 = group["betas"]
        first = beta1 * s + (1 - beta1) * factor
        second = beta2 * u + (1 - beta2) * factor**2
        betas = beta1 * s / first, beta2 * u / second
        # What AdamW divides its moments by, and what torch will divide M and V by.
        m, v, M, V = (1 - beta**step for beta in (beta1, beta2, *betas))
        root = sqrt(second * (V / v))
        ratio = first * (M / m) / root
        return {
            "first": first,
            "second": second,
            "betas": betas,
            "lr": float(group["lr"]) * ratio,
            "eps": group["eps"] / root,
            "weight_decay": group["weight_decay"] / ratio,
        }

    def steps(self, parameters: list[torch.nn.Parameter]) -> int:
        """How many steps each of them has made."""
        made = set()
        for parameter in parameters:
            state = self.optimizer.state.get(parameter)
            if parameter.grad is not None:
                made.add(int(state["step"]) if state else 0)
            elif state:
                raise ValueError(
                    "a parameter that made steps with others of its group has no gradient"
                )
        if len(made) > 1:
            raise ValueError(f"parameters of one group have made {sorted(made)} steps: not as many")
        return made.pop()


class Offload:
    """Parameters in CPU memory, and the thread that brings their gradients."""

    def __init__(self, sizes: list[int], chunk: int, rate: float) -> None:
        self.parameters = [torch.nn.Parameter(torch.randn(size) * 0.02) for size in sizes]
        self.there = [torch.randn(size) * 1e-3 for size in sizes]  # the gradients on the "GPU"
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        adamw = torch.optim.AdamW(self.parameters, lr=1e-4, fused=True)
        self.optimizer = DeferredAdamW(adamw)
        self.chunk, self.rate = chunk, rate
        self.threads = ThreadPoolExecutor(2)

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
        adding = self.threads.submit(self.add, accumulator, there)
        try:
            self.bring(accumulator, there)
        finally:
            there.put(None)
            adding.result()  # raises what it raised

    def bring(
        self, accumulator: gradclip.Accumulator | None, there: queue.SimpleQueue[Any]
    ) -> None:
        due = time.perf_counter()
        for i, source, target in self.chunks():
            # By this thread alone: a GPU's copy engine needs none.
            numpy.copyto(target.numpy(), source.numpy())
            if accumulator is not None:
                there.put((i, target))
            due += 4 * source.numel() / self.rate
            while (left := due - time.perf_counter()) > 0:  # the bus is still at it
                time.sleep(left)

    def add(self, accumulator: gradclip.Accumulator | None, there: queue.SimpleQueue[Any]) -> None:
        while (chunk := there.get()) is not None:
            assert accumulator is not None
            accumulator.add(chunk[1].numpy(), index=chunk[0])

    def step(self, max_norm: float | None, by_torch: bool = False) -> gradclip.Norm | None:
        """A whole step: the gradients come, and the optimizer updates the parameters.

        Without max_norm nothing is clipped. by_torch: the factor goes to grad_scale.
        """
        accumulator = None if max_norm is None else gradclip.Accumulator()
        bus = self.threads.submit(self.copy, accumulator)
        bus.result()  # after the backward pass; raises what the thread raised
        norm, factor = None, 1.0
        if accumulator is not None and max_norm is not None:
            norm = accumulator.finish(max_norm)
            if norm.nonfinite:
                return norm  # the step is left out
            factor = norm.factor
        adamw = self.optimizer.optimizer
        if by_torch and factor < 1:
            adamw.grad_scale = torch.tensor(1 / factor, dtype=torch.float32)
            factor = 1.0
        self.optimizer.step(factor)
        adamw.grad_scale = None
        return norm


# The limit as a share of the norm, and how the factor is handed over.
KINDS: dict[str, dict[str, Any]] = {
    "without": {"share": None},
    "nothing to clip": {"share": 2.0},
    "clipped": {"share": 0.5},
    "clipped, grad_scale": {"share": 0.5, "by_torch": True},
}
CLIPPING = tuple(KINDS)[1:]


def measure(offload: Offload, steps: int) -> list[tuple[str, float]]:
    """Seconds of steps of each kind, one of each in turn, so that what else the machine does
    meets all alike."""
    found = []
    total = gradclip.get_total_norm([grad.numpy() for grad in offload.there])
    for step in range(steps + 1):
        for kind, how in KINDS.items():
            max_norm = None if how["share"] is None else how["share"] * total
            begin = time.perf_counter()
            norm = offload.step(max_norm, how.get("by_torch", False))
            if step:  # the first one touches the optimizer's memory for the first time
                found.append((kind, time.perf_counter() - begin))
            assert norm is None or norm.clipped == kind.startswith("clipped")
    return found


Row = tuple[float, str, float]  # rate in GB/s, kind, seconds


def duration(rows: list[Row], rate: float, kind: str) -> float:
    """The median of one kind's steps, in seconds."""
    return median(seconds for r, k, seconds in rows if r == rate and k == kind)


def quotient(rows: list[Row], rate: float, kind: str) -> float:
    """That over the median of steps without clipping."""
    return duration(rows, rate, kind) / duration(rows, rate, "without")


def table(rows: list[Row]) -> str:
    """Medians in ms, and the three quotients, for each rate."""
    heads = [*(f"{kind}, ms" for kind in KINDS), *(f"{kind} / without" for kind in CLIPPING)]
    lines = [f"| GB/s | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for rate in sorted({rate for rate, _, _ in rows}):
        cells = [f"{rate:g}", *(f"{1e3 * duration(rows, rate, kind):.1f}" for kind in KINDS)]
        cells += [f"{quotient(rows, rate, kind):.3f}" for kind in CLIPPING]
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
    for kind, colour in zip(CLIPPING, ("#009E73", "#0072B2", "#D55E00")):
        heights = [quotient(rows, rate, kind) for rate in rates]
        axes.plot(rates, heights, "o-", color=colour, label=f"{kind} / without")
    axes.axhline(1.02, color="grey", linestyle=":", label="1.02")
    axes.set(xlabel="rate of the bus, GB/s", ylabel="median step, with / without")
    axes.set_xscale("log", base=2)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def positive(kind: type) -> Any:
    """Of an argument: numbers above 0."""

    def number(text: str) -> Any:
        if not 0 < (value := kind(text)) < inf:
            raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
        return value

    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    real, whole = positive(float), positive(int)
    parser.add_argument("--rates", type=real, nargs="+", default=[1.0], help="of the bus, in GB/s")
    parser.add_argument("--million", type=real, default=32.0, help="parameters, in millions")
    parser.add_argument("--chunk", type=whole, default=1 << 18, help="elements of a chunk")
    parser.add_argument("--steps", type=whole, default=9)
    parser.add_argument("--csv", help="write every step's time there")
    parser.add_argument("--read", help="such a file, instead of steps")
    parser.add_argument("--draw", help="draw there (.svg, .png)")
    options = parser.parse_args()
    rows: list[Row] = []
    layers = 12
    sizes = [max(1, int(options.million * 1e6 / layers))] * layers
    if options.read:
        try:
            rows, options.rates = read(options.read), []
        except (OSError, KeyError, ValueError) as error:
            parser.error(f"--read {options.read}: {error!r}")
    written = open(options.csv, "w", newline="") if options.csv else None
    for rate in options.rates:
        offload = Offload(sizes, options.chunk, rate * 1e9)
        found = measure(offload, options.steps)
        rows += [(rate, kind, seconds) for kind, seconds in found]
    if not options.read:
        print(f"{options.million:g}M parameters, medians of {options.steps} steps")
    print(table(rows))
    if written:
        with written:
            csv.writer(written, lineterminator="\n").writerows(
                [("rate", "kind", "seconds"), *((r, k, f"{s:.5f}") for r, k, s in rows)]
            )
    if options.draw:
        draw(rows, options.draw)


if __name__ == "__main__":
    main()
