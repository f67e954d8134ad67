"""Rows that hold gradclip against itself: one thing that it does against another, in the same rounds."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from math import inf

from . import driver, shapes
from .arena import Arena
from .asked import Asked, nanoseconds, times_as_long
from .rounds import Contestant

IN_L2 = 65_536
LARGE = 100_000_000


@dataclass(frozen=True)
class Row:
    """`prepare(threads)` gives the contestants for as long as they are measured."""

    name: str
    prepare: Callable[[int], AbstractContextManager[dict[str, Contestant]]]
    asked: list[Asked] = field(default_factory=list)
    elements: int = 0
    threads: int | None = None  # None: as many as everyone
    # Calls on one thread in the caches, or beside a program that spins (Effort.checks).
    keeps_all: bool = False


def _norm(arena: Arena, threads: int, norm_type: float = 2.0, **how) -> Contestant:
    options = driver.options(threads)
    return lambda calls: driver.total_norm(arena.tensors, norm_type, options, calls, **how)


def _tensor_norms(list_) -> Callable:
    @contextmanager
    def prepare(threads: int) -> Iterator[dict[str, Contestant]]:
        arena = Arena(list_, "float32")
        yield {"not asked": _norm(arena, threads), "tensor_norms": _norm(arena, threads, asks_for_each=True)}

    return prepare


@contextmanager
def _inspect(threads: int) -> Iterator[dict[str, Contestant]]:
    arena = Arena(shapes.equal(1, LARGE), "float32")
    options = driver.options(threads)
    yield {
        "inspect": lambda calls: driver.inspect(arena.tensors, options, calls),
        "norm": _norm(arena, threads),
    }


def _write(dtype: str) -> Callable:
    @contextmanager
    def prepare(threads: int) -> Iterator[dict[str, Contestant]]:
        arena = Arena(shapes.equal(1, IN_L2), dtype)
        options = driver.options(1)
        # Up and down, so that the values stay.
        yield {
            "scale": lambda calls: (
                driver.scale(arena.tensors, 0.5, options, calls) + driver.scale(arena.tensors, 2.0, options, calls)
            )
            / 2
        }

    return prepare


@contextmanager
def _one_element(threads: int) -> Iterator[dict[str, Contestant]]:
    arena = Arena(shapes.equal(1, 1), "float32")
    options = driver.options(0)

    def clip(calls: int) -> float:
        return driver.clip_grad_norm(arena.tensors, 2.0, options, [1e9] * calls, None, False)[0]

    yield {"clip": clip}


@contextmanager
def _other_core_busy(threads: int) -> Iterator[dict[str, Contestant]]:
    arena = Arena(shapes.equal(12, 2_000_000), "float32")
    last = max(os.sched_getaffinity(0))

    def each(run: Contestant) -> Contestant:
        return lambda calls: statistics.median(run(1) for _ in range(calls))

    spinning = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{last}])\nwhile True: pass"]
    )
    try:
        yield {"two threads": each(_norm(arena, 2)), "one thread": each(_norm(arena, 1))}
    finally:
        spinning.kill()
        spinning.wait()


def _in_l2(dtype: str, norm_type: float, exact: bool = False) -> Callable:
    @contextmanager
    def prepare(threads: int) -> Iterator[dict[str, Contestant]]:
        arena = Arena(shapes.equal(1, IN_L2), dtype)
        options = driver.options(1, exact)
        yield {"gradclip": lambda calls: driver.total_norm(arena.tensors, norm_type, options, calls)}

    return prepare


def _at_baseline(dtype: str, scale: float, exact: bool = False) -> Callable:
    """In a process of its own, since a process chooses its kernels once."""

    @contextmanager
    def prepare(threads: int) -> Iterator[dict[str, Contestant]]:
        child = subprocess.Popen(
            [sys.executable, "-m", "gradclip_bench.level", dtype, str(IN_L2), str(scale), str(int(exact))],
            env={**os.environ, "GRADCLIP_ISA": "baseline"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

        def run(calls: int) -> float:
            child.stdin.write(f"{calls}\n")
            child.stdin.flush()
            return float(child.stdout.readline())

        try:
            yield {"baseline": run}
        finally:
            child.stdin.close()
            child.wait()

    return prepare


def table() -> list[Row]:
    many, tiny = shapes.equal(160, 150_000), shapes.equal(2000, 16)
    per_tensor = Asked(
        "ns a tensor", lambda t: (t["tensor_norms"] - t["not asked"]) / 2000 * 1e9, ("tensor_norms", "not asked"), 60
    )
    rows = [
        Row("tensor_norms: one tensor of 1e8", _tensor_norms(shapes.equal(1, LARGE)),
            [times_as_long("tensor_norms", "not asked", most=1.05)], LARGE),
        Row("tensor_norms: 160 x 150k", _tensor_norms(many),
            [times_as_long("tensor_norms", "not asked", most=1.05)], 24_000_000),
        Row("tensor_norms: 2000 x 16", _tensor_norms(tiny), [per_tensor], 32_000, 1, True),
        Row("inspect: one tensor of 1e8", _inspect, [times_as_long("norm", "inspect", least=0.8)], LARGE),
        Row("write pass: bf16 in L2, one thread", _write("bfloat16"),
            [nanoseconds("scale", IN_L2, 0.12)], IN_L2, 1, True),
        Row("write pass: fp32 in L2, one thread", _write("float32"), [], IN_L2, 1, True),
        Row("one element, from C", _one_element, [nanoseconds("clip", 1, 250, "ns a call")], 1, 1, True),
        Row("other core busy: 12 x 2M", _other_core_busy,
            [times_as_long("two threads", "one thread", most=1.3)], 24_000_000, 2, True),
    ]  # fmt: skip
    for scale in (1e-6, 1e-4, 1e-2, 100):
        rows.append(
            Row(f"baseline: fp16 of {scale:g} in L2", _at_baseline("float16", scale),
                [nanoseconds("baseline", IN_L2, 1.6)], IN_L2, 1, True)
        )  # fmt: skip
    rows += [
        Row("baseline: bf16 in L2", _at_baseline("bfloat16", 0.01),
            [nanoseconds("baseline", IN_L2, 0.8)], IN_L2, 1, True),
        Row("baseline: fp32 in L2", _at_baseline("float32", 0.01), [], IN_L2, 1, True),
        Row("baseline: exact_f64 in L2", _at_baseline("float64", 0.01, True),
            [nanoseconds("baseline", IN_L2, 5)], IN_L2, 1, True),
    ]  # fmt: skip
    for dtype, short in (("float32", "fp32"), ("bfloat16", "bf16"), ("float16", "fp16"), ("float64", "fp64")):
        for p in (1.0, 2.0, 3.0, 2.7, inf):
            rows.append(Row(f"in L2, one thread: {short}, p = {p:g}", _in_l2(dtype, p), [], IN_L2, 1, True))
    rows.append(
        Row("in L2, one thread: fp64, p = 2, exact_f64", _in_l2("float64", 2.0, True), [], IN_L2, 1, True)
    )
    return rows
