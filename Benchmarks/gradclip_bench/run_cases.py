"""Runs cases and rows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from . import driver, peers, roof
from .arena import Arena
from .asked import Asked
from .cases import Case
from .pairs import Row
from .rounds import Contestant, Effort, measure
from .workload import MOST_CALLS, Workload


def _in_turn(run, workload: Workload, in_place: bool) -> Contestant:
    """One batch: the gradients made ready, the steps worked out, and then the calls."""

    def batch(calls: int) -> float:
        workload.renew()
        return run(workload.steps(calls) if in_place else workload.same_steps(calls))

    return batch


def _exact(workload: Workload, threads: int) -> dict[str, Contestant]:
    def norm(exact: bool) -> Contestant:
        options = driver.options(threads, exact)

        def run(calls: int) -> float:
            limits = [10 * workload.first_limit] * calls
            return driver.clip_grad_norm(workload.arena.tensors, 2.0, options, limits, None, False)[0]

        return run

    return {"gradclip": norm(False), "exact_f64": norm(True)}


def _plain(workload: Workload) -> dict[str, Contestant]:
    arena = workload.arena
    options = driver.options(num_threads=1)

    def check(norm: float) -> None:
        if abs(norm / workload.first_limit - 1) > 1e-6:
            raise driver.NotMeasuredError(f"total_norm {norm}, expected {workload.first_limit}")

    def exact_norm(calls: int) -> float:
        limits = [10 * workload.first_limit] * calls
        seconds, norm = driver.clip_grad_norm(arena.tensors, 2.0, options, limits, None, False)
        check(norm)
        return seconds

    def plain_norm(calls: int) -> float:
        found = [driver.plain_norm(arena.address, arena.elements, prefetch, calls) for prefetch in (False, True)]
        check(found[0][1])
        return min(seconds for seconds, _ in found)

    return {"gradclip": exact_norm, "plain float64 loop": plain_norm}


def _contestants(case: Case, arena: Arena, loaded, variants, threads: int):
    workload = Workload(case, arena)
    if case.job == "exact":
        return _exact(workload, threads), {}
    if case.job == "plain":
        return _plain(workload), {}
    found: dict[str, Contestant] = {}
    refused: dict[str, str] = {}
    for peer in loaded:
        try:
            run = peer.prepare(workload, threads)
        except peers.NotAvailable as reason:
            refused[peer.NAME] = str(reason)
            continue
        found[peer.NAME] = _in_turn(run, workload, getattr(peer, "IN_PLACE", True))
    for kind in case.roof:
        found[f"roof: {kind}"] = roof.contestant(kind, variants, arena, threads)
    return found, refused


def run(
    cases: list[Case],
    loaded: list,
    effort: Effort,
    threads: int,
    variants: dict[str, int],
    announce: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """One dictionary per case, as it goes into the JSON."""
    arena = None
    for case in cases:
        announce(case.name)
        if arena is None or (arena.shapes, arena.dtype) != (case.shapes, case.dtype):
            arena = None
            gc.collect()
            arena = Arena(case.shapes, case.dtype)
        contestants, refused = _contestants(case, arena, loaded, variants, threads)
        yield {
            "case": case.name,
            "tensors": len(case.shapes),
            "elements": arena.elements,
            "bytes": arena.bytes,
            "dtype": case.dtype,
            "norm_type": str(case.norm_type),
            "passes": list(case.roof),
            "threads": 1 if case.job == "plain" else threads,
            "not measured": refused,
            **measured(contestants, effort, case.asked),
        }
        del contestants


def run_rows(
    rows: list[Row], effort: Effort, threads: int, announce: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """The same for rows that hold gradclip against itself."""
    short = replace(effort, rounds=20 * effort.rounds, batch=0.0003, checks=False)
    for row in rows:
        announce(row.name)
        gc.collect()
        with row.prepare(threads) as contestants:
            yield {
                "case": row.name,
                "elements": row.elements,
                "passes": [],
                "threads": row.threads or threads,
                **measured(contestants, short if row.keeps_all else effort, row.asked),
            }


def measured(contestants: dict[str, Contestant], effort: Effort, asked: list[Asked]) -> dict[str, Any]:
    # Looking through all that the peers have loaded takes Python 0.1 s, and would hit
    # whoever makes the next objects.
    gc.collect()
    gc.freeze()
    found = measure(contestants, effort, MOST_CALLS)
    gc.unfreeze()
    return {
        "seconds": found.seconds,
        "quartiles": found.spread,
        "least": {name: min(times[name] for times in found.rounds) for name in found.seconds},
        "rounds kept": found.kept,
        "rounds made": found.made,
        "spin gain": found.gain,
        # (Of peers that are not there nothing is asked.)
        "asked": [one.judge(found.rounds) for one in asked if all(name in contestants for name in one.needs)],
    }
