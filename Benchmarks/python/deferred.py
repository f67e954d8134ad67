"""What clip_and_step saves: an optimizer step, with clipping deferred into it, and before it.

    python Benchmarks/python/deferred.py [--rounds N] [--threads N] [--millions N]

The model is a list of matrices of a GPT-2's sizes (124M parameters by default). The
candidates, each on parameters and a state of its own:

    step       optimizer.step() alone (fused)
    deferred   gradclip.torch.clip_and_step
    in place   gradclip.torch.clip_grad_norm_, then step
    torch      torch.nn.utils.clip_grad_norm_, then step

Gradients are new in each call and are clipped (max_norm is half the norm). Needs 16 bytes
of memory a parameter for AdamW and twice that while it starts.
"""

from __future__ import annotations

import argparse
import os

import torch
from rounds import fastest_ratio, interleaved, milliseconds, ratio

import gradclip.torch
from gradclip._native import ffi

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-3, fused=True),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, fused=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-3, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, fused=True),
}


def shapes(millions: float) -> list[tuple[int, ...]]:
    """Twelve layers of 768, and an embedding of what is left of 124 million; or a share of that."""
    width = max(8, round(768 * (millions / 124) ** 0.5))
    layer = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    layer += [(3 * width,), (width,), (4 * width,)] + [(width,)] * 5
    return [(50257 * width // 768, width), (1024, width), *layer * 12, (width,), (width,)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--millions", type=float, default=124)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ffi.gradclip_set_num_threads(options.threads)
    sizes = shapes(options.millions)
    total = sum(torch.Size(size).numel() for size in sizes)
    print(
        f"{len(sizes)} tensors, {total / 1e6:.0f}M float32; torch {torch.__version__}, "
        f"{options.threads} of {os.cpu_count()} cores; libgradclip "
        f"{ffi.gradclip_version_string().decode()}, {ffi.gradclip_isa().decode()}"
    )
    print(
        "ms".ljust(20)
        + "step   deferred   in place      torch   in place/deferred        torch/deferred"
        "        (in a round, quartiles; of the fastest)"
    )
    for name, make in OPTIMIZERS.items():
        print(line(name, make, sizes, options.rounds))


def line(name: str, make, sizes: list[tuple[int, ...]], rounds: int) -> str:
    torch.manual_seed(1)
    parameters = [torch.nn.Parameter(torch.randn(size) * 0.02) for size in sizes]
    noise = [torch.randn(size) * 1e-3 for size in sizes]
    for p in parameters:
        p.grad = torch.empty_like(p)
    optimizer = make(parameters)
    max_norm = gradclip.torch.get_total_norm(noise).item() / 2

    def backward(_: str) -> None:
        for p, grad in zip(parameters, noise):
            p.grad.copy_(grad)

    def in_place() -> None:
        gradclip.torch.clip_grad_norm_(parameters, max_norm)
        optimizer.step()

    def by_torch() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()

    times = interleaved(
        {
            "step": optimizer.step,
            "deferred": lambda: gradclip.torch.clip_and_step(optimizer, max_norm),
            "in place": in_place,
            "torch": by_torch,
        },
        rounds,
        backward,
    )
    cells = [name.ljust(18), *(f"{milliseconds(times[key]):8.1f}" for key in times)]
    for of in ("in place", "torch"):
        middle, low, high = ratio(times, of, "deferred")
        cells.append(
            f"{middle:6.2f} ({low:.2f}-{high:.2f}) {fastest_ratio(times, of, 'deferred'):5.2f}"
        )
    return "  ".join(cells)


if __name__ == "__main__":
    main()
