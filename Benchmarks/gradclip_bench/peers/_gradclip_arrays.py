"""The gradients as the Python package takes them."""

from __future__ import annotations

from . import NotAvailable


def arrays(workload):
    if workload.arena.dtype != "bfloat16":
        return workload.arena.arrays
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        raise NotAvailable("NumPy arrays of bfloat16 need ml_dtypes") from None
    return [a.view(bfloat16) for a in workload.arena.arrays]
