"""What clipped the run that wrote the log."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .log import Array, Log
from .long import Places, stride_of, taken


class InForce(NamedTuple):
    """Attributes:
    max_norm: what the steps were clipped to (the median, where it moved); inf if nothing.
    clipped: the fraction of the finite rows that were clipped.
    moved: whether it moved from step to step, as a chooser's does, or a chooser decided.
    """

    max_norm: float
    clipped: float
    moved: bool


def in_force_of(log: Log, was: float | None) -> InForce | None:
    """What was in force, by the log's clip_coef, its max_norm, or as the user says (was); None
    where nobody says."""
    norm = log.norm
    finite = np.isfinite(norm) & (norm > 0)
    coef, limit = log.clip_coef, log.max_norm
    chosen = log.skipped is not None
    if log.skipped is not None:
        left_out = log.skipped == 1
        if np.any(left_out & finite):
            limit = None  # of SkipStep: steps above it were left out, none was clipped to it
        finite &= ~left_out
    if was is None and coef is not None:
        known = finite & np.isfinite(coef)
        cut = known & (coef < 1 - 1e-9)
        if not known.any():
            return None
        if not cut.any():
            return InForce(_median(limit, known), 0.0, chosen)
        rows = _some(cut)
        limits = norm[rows] * coef[rows]
        if limit is not None:
            limits = np.where(np.isfinite(limit[rows]), limit[rows], limits)
        return _of(limits, int(cut.sum()) / int(known.sum()), chosen)
    if was is None and limit is not None and np.any(np.isfinite(limit)):
        known = finite & np.isfinite(limit)
        if not known.any():
            return None
        over = int((known & (norm > limit)).sum())
        return _of(limit[_some(known)], over / int(known.sum()), chosen)
    if was is not None:
        over = int((finite & (norm > was)).sum())
        return InForce(was, over / max(1, int(finite.sum())), False)
    return None


def _some(chosen: Array) -> Array:
    """The rows that are chosen, or of very many evenly spread ones."""
    stride = stride_of(int(chosen.sum()))
    rows = stride * np.flatnonzero(chosen[::stride])
    return rows if len(rows) else np.flatnonzero(chosen)


def applied_of(log: Log, force: InForce | None, rows: Places) -> Array:
    """The norms with which the steps of some rows were taken: after clipping."""
    norm = taken(log.norm, rows)
    if force is None or not force.clipped:
        return norm
    if log.clip_coef is not None:
        coef = taken(log.clip_coef, rows)
        return norm * np.where(np.isfinite(coef), coef, 1.0)
    limit = force.max_norm if log.max_norm is None else taken(log.max_norm, rows)
    return np.fmin(norm, limit)


def _of(limits: Array, clipped: float, chosen: bool) -> InForce:
    low, high = np.percentile(limits, (10, 90))
    return InForce(float(f"{np.median(limits):.4g}"), clipped, chosen or bool(high > 1.05 * low))


def _median(limit: Array | None, known: Array) -> float:
    if limit is None or not np.any(np.isfinite(limit[known])):
        return float("inf")
    return float(np.nanmedian(limit[known]))
