"""How long clipping many small gradients takes: torch, gradclip.torch, and its Plan.

    python Benchmarks/python/torch_overhead.py [--rounds N] [--threads N] [--case COUNT SIZE]

Each call finds gradients that a backward pass has just put in the place of the last
ones, as after zero_grad(set_to_none=True), unless --keep leaves them in place. All
three clip (max_norm is half the norm). The norms are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import platform

import torch
from rounds import fastest_ratio, interleaved, milliseconds, ratio

import gradclip.torch
from gradclip._native import ffi


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--keep", action="store_true", help="the same gradients in each call")
    parser.add_argument("--case", type=int, nargs=2, action="append", metavar=("COUNT", "SIZE"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ffi.gradclip_set_num_threads(options.threads)
    print(
        f"torch {torch.__version__}, {options.threads} of {os.cpu_count()} cores, "
        f"Python {platform.python_version()}; libgradclip "
        f"{ffi.gradclip_version_string().decode()}, {ffi.gradclip_isa().decode()}"
    )
    print(
        "gradients"
        + " " * 12
        + "torch     gradclip          with a Plan      (ms; times torch in a round, quartiles; of the fastest)"
    )
    for count, size in options.case or [(2000, 16), (10_000, 1000), (148, 840_000)]:
        print(line(count, size, options.rounds, options.keep))


def line(count: int, size: int, rounds: int, keep: bool) -> str:
    torch.manual_seed(1)
    parameters = [torch.nn.Parameter(torch.zeros(size)) for _ in range(count)]
    noise = torch.randn(size)
    plan = gradclip.torch.Plan(parameters)

    def backward(name: str = "") -> None:
        if keep and parameters[0].grad is not None:
            torch._foreach_copy_([p.grad for p in parameters], [noise] * count)
            return
        for p in parameters:
            p.grad = None
        # The engine makes the gradients, so they have no Python object yet.
        products = torch._foreach_mul(parameters, [noise] * count)
        torch.autograd.backward(products, [torch.ones(size)] * count)

    backward()
    exact = gradclip.torch.get_total_norm([p.grad for p in parameters]).item()
    assert (
        abs(torch.nn.utils.get_total_norm([p.grad for p in parameters]).item() / exact - 1) < 1e-2
    )
    times = interleaved(
        {
            "torch": lambda: torch.nn.utils.clip_grad_norm_(parameters, exact / 2),
            "gradclip": lambda: gradclip.torch.clip_grad_norm_(parameters, exact / 2),
            "plan": lambda: plan.clip_grad_norm_(exact / 2),
        },
        rounds,
        backward,
    )
    cells = [f"{count} x {size}".ljust(18), f"{milliseconds(times['torch']):8.2f}"]
    for name in ("gradclip", "plan"):
        middle, low, high = ratio(times, "torch", name)
        cells.append(
            f"{milliseconds(times[name]):8.2f} {middle:5.1f}x ({low:.1f}-{high:.1f}) {fastest_ratio(times, 'torch', name):5.1f}x"
        )
    return "  ".join(cells)


if __name__ == "__main__":
    main()
