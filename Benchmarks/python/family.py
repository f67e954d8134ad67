"""Adaptive clipping of a ResNet-50 against timm, and clipping by example against Opacus.

    make test-peers-family          # makes the environment build/venv-family
    build/venv-family/bin/python Benchmarks/python/family.py [adaptive] [examples]

Each round takes both sides once, so that what else the machine does meets both. Prints the
median of the ratios, then the medians of the times, the shortest, and the least time of
processors, all threads together: what a busy machine changes least. Under two minutes.
OMP_NUM_THREADS says how many threads both take.
"""

import os
import statistics
import sys
import time
from pathlib import Path

import torch

os.environ["GRADCLIP_NUM_THREADS"] = str(torch.get_num_threads())
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bindings/python/examples"))
from fcos_model import import_torchvision

import_torchvision()

import timm
import timm.utils
from opacus.optimizers import DPOptimizer

import gradclip
import gradclip.torch as gt

ROUNDS = 15


def interleaved(what, ours, theirs, before):
    ratios, mine, other, processor = [], [], [], []
    for _ in range(ROUNDS):
        times = []
        for call in (ours, theirs):
            before()
            start, started = time.perf_counter(), time.process_time()
            call()
            times.append(time.perf_counter() - start)
            processor.append(time.process_time() - started)
        mine.append(times[0])
        other.append(times[1])
        ratios.append(times[1] / times[0])
    spread = sorted(ratios)
    print(
        f"{what}: {statistics.median(ratios):.1f} times as fast "
        f"({spread[len(spread) // 4]:.1f} to {spread[-len(spread) // 4]:.1f} for half of {ROUNDS} rounds); "
        f"{statistics.median(mine) * 1e3:.1f} ms and {statistics.median(other) * 1e3:.1f} ms, "
        f"at best {min(mine) * 1e3:.1f} ms and {min(other) * 1e3:.1f} ms; "
        f"of processors {min(processor[::2]) * 1e3:.1f} ms and {min(processor[1::2]) * 1e3:.1f} ms"
    )


def resnet50():
    torch.manual_seed(1)
    parameters = list(timm.create_model("resnet50").parameters())
    values = [torch.randn_like(p) for p in parameters]
    for scale, text in [(1e-5, "nothing to clip"), (1.0, "every unit clipped")]:
        grads = [value * scale for value in values]
        for p in parameters:
            p.grad = torch.empty_like(p)

        def fresh(grads=grads):
            for p, grad in zip(parameters, grads):
                p.grad.copy_(grad)

        interleaved(
            f"adaptive_clip_grad on a ResNet-50, {text}",
            lambda: gt.adaptive_clip_grad(parameters, 0.01),
            lambda: timm.utils.adaptive_clip_grad(parameters, 0.01),
            fresh,
        )


def per_example(examples=256):
    """A million parameters, in layers of a convolutional network and in one matrix."""
    torch.manual_seed(1)
    for text, shapes in [
        (
            "ten layers",
            [(64, 3, 3, 3), (64,), (128, 64, 3, 3), (128,), (256, 128, 3, 3), (256,)]
            + [(256, 256, 3, 3)]
            + [(256,), (10, 256), (10,)],
        ),
        ("one matrix", [(1000, 1000)]),
    ]:
        parameters = []
        for shape in shapes:
            p = torch.nn.Parameter(torch.zeros(shape))
            p.grad_sample = torch.randn(examples, *shape) * 0.01
            parameters.append(p)
        optimizer = DPOptimizer(
            torch.optim.SGD(parameters, lr=1.0),
            noise_multiplier=0.0,
            max_grad_norm=1.0,
            expected_batch_size=examples,
        )
        samples = [p.grad_sample for p in parameters]

        def reset(parameters=parameters):
            for p in parameters:
                p.summed_grad = None
                p.grad_sample = p.grad_sample.detach()
                p.grad_sample.__dict__.pop("_processed", None)

        count = sum(p.numel() for p in parameters)
        reads = []
        for _ in range(ROUNDS):
            start, started = time.perf_counter(), time.process_time()
            for sample in samples:
                sample.sum()
            reads.append((time.perf_counter() - start, time.process_time() - started))
        wall, processor = (min(times) * 1e3 for times in zip(*reads))
        size = count * examples * 4 / 1e9
        print(
            f"reading {size:.2f} GB once (sum()): at best {wall:.1f} ms, of processors {processor:.1f} ms"
        )
        interleaved(
            f"clip_per_example, {count / 1e6:.2f} M parameters in {text}, B = {examples}",
            lambda: gt.clip_per_example(samples, 1.0, eps=1e-6),
            optimizer.clip_and_accumulate,
            reset,
        )


if __name__ == "__main__":
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; gradclip {gradclip.__version__}"
    )
    chosen = sys.argv[1:] or ["adaptive", "examples"]
    if "adaptive" in chosen:
        resnet50()
    if "examples" in chosen:
        per_example()
