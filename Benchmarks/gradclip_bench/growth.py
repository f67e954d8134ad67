"""How the cost grows: with elements, with tensors, with threads. Nothing is clipped:
one pass over the gradients, so that gradclip, torch and the roof can be compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from . import driver, peers, roof, shapes
from .arena import Arena
from .cases import Case
from .rounds import Effort, measure
from .workload import MOST_CALLS, Workload

NAMES = ("gradclip", "gradclip Plan", "torch", "NumPy")
ELEMENTS_PER_TENSOR = 100


def _decades(least: int, most: int) -> list[int]:
    """1, 10, ... and `most` itself."""
    values = []
    while least < most:
        values.append(least)
        least *= 10
    return [*values, most]


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


def _threads(most: int) -> list[int]:
    values = [1]
    while values[-1] * 2 < most:
        values.append(values[-1] * 2)
    return [*values, most] if most > 1 else values


def _measure(shapes_, loaded, effort: Effort, threads: int, variants, only=None) -> dict[str, Any]:
    arena = Arena(shapes_, "float32")
    workload = Workload(Case("growth", shapes_), arena)
    contestants = {}
    for peer in loaded:
        if peer.NAME in (only or NAMES):
            try:
                run = peer.prepare(workload, threads)
            except peers.NotAvailable:
                continue
            contestants[peer.NAME] = lambda calls, run=run: run(workload.steps(calls))
    if only is None and threads > 1:
        single = driver.options(num_threads=1)
        contestants["gradclip, 1 thread"] = lambda calls: driver.clip_grad_norm(
            arena.tensors, 2.0, single, workload.steps(calls).limits, None, False
        )[0]
    # Below that a loop is not limited by memory, and below 2 MiB nobody uses two threads.
    if arena.bytes >= 64 * 1024:
        readers = threads if arena.bytes >= 2 * 1024 * 1024 else 1
        contestants["roof: read"] = roof.contestant("read", variants, arena, readers)
    measured = measure(contestants, effort, MOST_CALLS)
    return {
        "tensors": len(shapes_),
        "elements": arena.elements,
        "bytes": arena.bytes,
        "threads": threads,
        "seconds": measured.seconds,
        "rounds kept": measured.kept,
        "rounds made": measured.made,
    }


def run(
    loaded: list, effort: Effort, threads: int, variants, quick: bool, announce: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"elements": [], "tensors": [], "threads": []}
    # The norm that is expected is worked out in float64, which takes as much again and more.
    most = min(10_000_000 if quick else 500_000_000, _memory() // 16)
    for length in _decades(100, most):
        announce(f"growth: one tensor of {length} elements")
        found["elements"].append(_measure(shapes.equal(1, length), loaded, effort, threads, variants))
    for count in _decades(1, 10_000 if quick else 100_000):
        announce(f"growth: {count} tensors of {ELEMENTS_PER_TENSOR} elements")
        list_ = shapes.equal(count, ELEMENTS_PER_TENSOR)
        found["tensors"].append(_measure(list_, loaded, effort, threads, variants))
    for number in _threads(threads):
        announce(f"growth: {number} threads")
        list_ = shapes.equal(1, 24_000_000)
        found["threads"].append(_measure(list_, loaded, effort, number, variants, only=("gradclip", "torch")))
    return found
