"""A character-level network under FSDP (fully_shard) on CPUs, its gradients clipped exactly.

    torchrun --nproc-per-node 3 bindings/python/examples/fsdp_char.py \
        bindings/c/examples/data/asyoulik.txt build/fsdp.csv

The log of loss and norm is the same, to the last digit, for any number of ranks. The norm is by
itself: gradclip's is exact. For the sums of gradients the example takes care: a step has
MICRO_BATCHES micro-batches, whoever works on them, and the gradient of each is rounded to
a multiple of 2**-GRID. Such numbers can be added in float32 without rounding (as long as the
sum is below 2**(24 - GRID)), so that it does not matter in which order FSDP adds them.
"""

# mypy: allow-subclassing-any
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from gradclip.torch.distributed import clip_grad_norm_

CONTEXT, HIDDEN, MICRO_BATCHES, EXAMPLES, GRID = 6, 96, 12, 16, 20


class OnGrid(torch.autograd.Function):
    """The identity, whose gradient is rounded to multiples of 2**-GRID."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return (grad * 2.0**GRID).round() * 2.0**-GRID


class Linear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, OnGrid.apply(self.weight), OnGrid.apply(self.bias))


def read(path: Path) -> tuple[Tensor, int]:
    """The text as symbols 0 ... vocabulary - 1."""
    data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    values, symbols = data.unique(return_inverse=True)
    return symbols, len(values)


def micro_batch(symbols: Tensor, number: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Inputs (EXAMPLES, CONTEXT * vocabulary) and targets (EXAMPLES,); the same for any rank."""
    drawn = torch.Generator().manual_seed(number)
    start = torch.randint(len(symbols) - CONTEXT, (EXAMPLES, 1), generator=drawn)
    window = symbols[start + torch.arange(CONTEXT + 1)]
    return nn.functional.one_hot(window[:, :-1], vocabulary).flatten(1).float(), window[:, -1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("log", type=Path, nargs="?", help="write step, loss and norm here")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--max-norm", type=float, default=0.3)
    parser.add_argument("--learning-rate", type=float, default=1.0)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    symbols, vocabulary = read(arguments.text)
    torch.manual_seed(0)
    model = nn.Sequential(
        Linear(CONTEXT * vocabulary, HIDDEN), nn.Tanh(), Linear(HIDDEN, vocabulary)
    )
    mesh = init_device_mesh("cpu", (ranks,))
    parts: list[Any] = [model[0], model[2], model]
    for part in parts:
        fully_shard(part, mesh=mesh)
    for part in parts:
        # The sum over ranks, not its mean: clipping divides, in its own pass.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    names = [name for name, _ in model.named_parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=arguments.learning_rate)

    lines = ["step,loss,total_norm"]
    rounds = -(-MICRO_BATCHES // ranks)
    for step in range(arguments.steps):
        optimizer.zero_grad()
        losses = torch.zeros(MICRO_BATCHES, dtype=torch.float64)
        for i in range(rounds):
            # All ranks go through as many rounds, for FSDP talks in each; one without a
            # micro-batch left counts nothing.
            number = i * ranks + rank
            inputs, targets = micro_batch(
                symbols, step * MICRO_BATCHES + number % MICRO_BATCHES, vocabulary
            )
            loss = nn.functional.cross_entropy(model(inputs), targets)
            (loss * (1.0 if number < MICRO_BATCHES else 0.0)).backward()
            if number < MICRO_BATCHES:
                losses[number] = loss.item()
        dist.all_reduce(losses)  # each is 0 on all ranks but one: no rounding

        total_norm = clip_grad_norm_(
            model.parameters(),
            arguments.max_norm,
            grad_scale=MICRO_BATCHES,
            nonfinite="leave",
            names=names,
        )
        if total_norm.isfinite():
            optimizer.step()
        lines.append(f"{step},{losses.mean().item()!r},{total_norm.item()!r}")
    if rank == 0:
        text = "\n".join(lines) + "\n"
        print(text if arguments.log is None else lines[-1])
        if arguments.log is not None:
            arguments.log.write_text(text)
    dist.destroy_process_group()
    # Not through the interpreter's end: gloo's threads may still be letting go of tensors, and
    # torch aborts a process in which they do so then (one run in ten on a busy machine).
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
