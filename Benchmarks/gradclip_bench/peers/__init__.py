"""Who is measured. A peer is a module with a NAME, a version(), and

    prepare(workload, threads) -> run

where run(steps) makes one call per step and returns seconds per call. prepare raises
NotAvailable, with the reason, where the peer cannot do a case. IN_PLACE = False says
that it returns new gradients and leaves those it is given alone.
"""

from __future__ import annotations

import importlib
from time import perf_counter

MODULES = ("gradclip_c", "gradclip_plan", "gradclip_python", "torch", "numpy", "openblas", "optax", "tensorflow")
QUICK_MODULES = ("gradclip_c", "gradclip_plan", "gradclip_python", "numpy")


class NotAvailable(Exception):
    """A peer cannot do a case; the message says why."""


def load(quick: bool) -> tuple[list, dict[str, str]]:
    """The peers that can be imported, and why others cannot."""
    loaded, missing = [], {}
    for name in QUICK_MODULES if quick else MODULES:
        try:
            loaded.append(importlib.import_module(f"{__name__}.{name}"))
        except Exception as error:  # an import may fail in any way; the report says how
            missing[name] = f"{type(error).__name__}: {error}"
    return loaded, missing


def seconds_per_call(call, steps) -> float:
    """call(limit, scale) for every step."""
    steps = list(steps)
    start = perf_counter()
    for limit, scale in steps:
        call(limit, scale)
    return (perf_counter() - start) / len(steps)
