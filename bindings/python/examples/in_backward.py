"""AdaGC inside the backward pass, against clipping by the global norm after it, and none.

    python in_backward.py --csv in_backward.csv --png in_backward.png
    python in_backward.py --read in_backward.csv     # the table of a file that is there

An optimizer that steps inside the backward pass updates each tensor as soon as its gradient is
there, and drops the gradient: no two gradients exist at a time, and no global norm can be known.
AdaGC has a threshold for each tensor, from that tensor's own history, so it can clip there:

    factor = adagc.feed_tensor(i, parameter.grad)

Two small models of characters, at rates at which they spike: a recurrent network, and a
transformer of two layers (max_norm_tasks.py). Ways:

    none         no clipping
    global       max_norm = 1, after the backward pass
    AdaGC        all tensors together until the warm-up ends, each by its own threshold then; after
                 the backward pass
    in backward  AdaGC, each tensor as it comes
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import gradclip.torch
import max_norm_tasks as tasks
import torch

WAYS = ("none", "global", "AdaGC", "in backward")
EVERY = 10  # steps of a line of the file
WARMUP = 20


class Task(NamedTuple):
    """Something that spikes: SGD at a rate that is too large."""

    model: Callable[[], Any]
    losses: Callable[[Any, int], Any]
    rate: float
    momentum: float


class Recurrent(torch.nn.Module):
    """One layer of 128 units with tanh: gradients through 32 steps explode now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(128, 32)
        self.rnn = torch.nn.RNN(32, 128, batch_first=True)
        self.head = torch.nn.Linear(128, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = self.head(self.rnn(self.embedding(x))[0])
        return made


TASKS = {
    "recurrent": Task(Recurrent, tasks.text_losses, 0.5, 0.9),
    "transformer": Task(tasks.transformer, tasks.text_losses, 0.8, 0.9),
}


def step_in_backward(parameters: list[Any], optimizer: Callable[[list[Any]], Any]) -> None:
    """Every parameter is clipped and updated as soon as its gradient is there.

    In the warm-up no total norm is known. Each of n tensors is clipped to 1 / sqrt(n) then, which
    keeps that of all within 1.
    """
    adagc = gradclip.torch.AdaGC(lambda_abs=len(parameters) ** -0.5, warmup_steps=WARMUP)

    def hook(index: int) -> Callable[[Any], None]:
        own = optimizer([parameters[index]])

        def update(parameter: Any) -> None:
            factor = adagc.feed_tensor(index, parameter.grad)
            if factor is not None:  # otherwise it is not finite: this tensor's step is left out
                if factor != 1:
                    parameter.grad.mul_(factor)
                own.step()
            parameter.grad = None

        return update

    for index, parameter in enumerate(parameters):
        parameter.register_post_accumulate_grad_hook(hook(index))


def step_after(way: str, parameters: list[Any], optimizer: Any) -> Callable[[], None]:
    adagc = gradclip.torch.AdaGC(warmup_steps=WARMUP)

    def update() -> None:
        skip = False
        if way == "global":
            norm = gradclip.torch.clip_grad_norm_(parameters, 1.0, nonfinite="leave")
            skip = not norm.isfinite()
        elif way == "AdaGC":
            skip = adagc.clip_(parameters).skip
        if not skip:
            optimizer.step()
        optimizer.zero_grad()

    return update


def train(name: str, way: str, seed: int, steps: int) -> list[float]:
    """The losses of a run."""
    task = TASKS[name]
    torch.manual_seed(seed)
    model = task.model()
    parameters = list(model.parameters())

    def optimizer(listed: list[Any]) -> Any:
        return torch.optim.SGD(listed, lr=task.rate, momentum=task.momentum)

    update: Callable[[], None] | None = None
    if way == "in backward":
        step_in_backward(parameters, optimizer)
    else:
        update = step_after(way, parameters, optimizer(parameters))
    losses = []
    for _, loss in zip(range(steps), task.losses(model, seed)):
        loss.backward()
        if update is not None:
            update()
        losses.append(loss.item())
    return losses


class Line(NamedTuple):
    """What EVERY steps of a run came to."""

    task: str
    way: str
    seed: int
    step: int  # the last of them
    loss: float  # their mean
    worst: float  # the largest


def lines(task: str, way: str, seed: int, losses: list[float]) -> list[Line]:
    made = []
    for start in range(0, len(losses) - EVERY + 1, EVERY):
        part = losses[start : start + EVERY]
        worst = max(part) if all(map(math.isfinite, part)) else math.nan
        made.append(Line(task, way, seed, start + EVERY, sum(part) / EVERY, worst))
    return made


def table(found: list[Line]) -> str:
    """For each task and way: the last loss, and the largest after the warm-up, of each seed."""
    seeds = sorted({line.seed for line in found})
    made = ["| task | clipping | last loss | largest loss after step 50 |", "|---|---|---|---|"]
    for task in dict.fromkeys(line.task for line in found):
        for way in WAYS:
            last, worst = [], []
            for seed in seeds:
                run = [
                    line for line in found if (line.task, line.way, line.seed) == (task, way, seed)
                ]
                last.append(run[-1].loss)
                later = [line.worst for line in run if line.step > 50]
                worst.append(math.nan if any(map(math.isnan, later)) else max(later))
            cells = [", ".join(f"{value:.2f}" for value in of) for of in (last, worst)]
            made.append(f"| {task} | {way} | {cells[0]} | {cells[1]} |")
    return "\n".join(made)


def draw(found: list[Line], path: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(line.task for line in found))
    colours = dict(zip(WAYS, ("#D55E00", "#999999", "#009E73", "#0072B2")))
    figure, axes = pyplot.subplots(1, len(names), figsize=(9, 3.6))
    for axis, name in zip(axes, names):
        for way in WAYS:
            for seed in sorted({line.seed for line in found}):
                run = [
                    line for line in found if (line.task, line.way, line.seed) == (name, way, seed)
                ]
                axis.plot(
                    [line.step for line in run],
                    [line.loss for line in run],
                    color=colours[way],
                    linewidth=0.9,
                    label=way if seed == 1 else None,
                )
        axis.set(title=name, xlabel="step", ylabel=f"loss, mean of {EVERY} steps", yscale="log")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def read(path: str) -> list[Line]:
    with open(path, newline="") as file:
        return [
            Line(
                r["task"],
                r["way"],
                int(r["seed"]),
                int(r["step"]),
                float(r["loss"]),
                float(r["worst"]),
            )
            for r in csv.DictReader(file)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--csv", help="write what the runs came to there")
    parser.add_argument("--png", help="draw there")
    parser.add_argument("--read", help="such a file, instead of runs")
    options = parser.parse_args()
    if options.steps <= 50 or options.seeds < 1:
        parser.error("--steps must be above 50, where the table begins, and --seeds above 0")
    torch.set_num_threads(1)
    found = read(options.read) if options.read else []
    if not found:
        for task in options.tasks:
            for way in WAYS:
                for seed in range(1, options.seeds + 1):
                    found += lines(task, way, seed, train(task, way, seed, options.steps))
    print(table(found))
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            rows = ([*line[:4], f"{line.loss:.4g}", f"{line.worst:.4g}"] for line in found)
            csv.writer(file, lineterminator="\n").writerows([Line._fields, *rows])
    if options.png:
        draw(found, options.png)


if __name__ == "__main__":
    main()
