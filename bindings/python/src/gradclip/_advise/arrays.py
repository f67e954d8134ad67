"""Norms that a program has in memory, as a Log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._native.errors import InvalidArgumentError
from .asked import is_number
from .log import Log, Tensors

if TYPE_CHECKING:
    from .log import Array


def log_of(
    norms: Iterable[float],
    learning_rate: float | Iterable[float] | None,
    steps: Iterable[int] | None,
    loss: Iterable[float] | None,
    tensor_norms: Mapping[str, Iterable[float]] | None,
    clip_coef: Iterable[float] | None = None,
    max_norm: Iterable[float] | None = None,
    skipped: Iterable[bool] | None = None,
) -> Log:
    """The Log of columns; each is checked for its numbers and its length."""
    norm = _column("norms", norms, None)
    if np.any(norm < 0):
        row = int(np.argmax(norm < 0))
        raise InvalidArgumentError(f"norms must be >= 0 (norms[{row}] is {float(norm[row])!r})")
    count = len(norm)
    log = Log(norm, format="an array", taken=["norm: the numbers given"], hint="every")
    if steps is not None:
        log.step = _column("steps", steps, count)
        if np.any(~(np.diff(log.step) > 0)) or not np.all(np.isfinite(log.step)):
            raise InvalidArgumentError(
                "steps must be increasing numbers, each larger than the last"
            )
    if loss is not None:
        log.loss = _column("loss", loss, count)
    if clip_coef is not None:
        log.clip_coef = _column("clip_coef", clip_coef, count)
    if max_norm is not None:
        log.max_norm = _column("was", max_norm, count)
    if skipped is not None:
        log.skipped = _column("skipped", skipped, count)
    if learning_rate is not None and not is_number(learning_rate):
        rates: Any = learning_rate
        log.learning_rate = _column("learning_rate", rates, count)
    if tensor_norms:
        log.tensors = _tensors(tensor_norms, count)
    return log


def pilot_of(columns: Mapping[str, Any]) -> Log:
    """The Log of a pilot's columns, "norms" and "loss"."""
    if not isinstance(columns, Mapping) or not {"norms", "loss"} <= set(columns):
        raise InvalidArgumentError(
            f"pilot must have the norms and the loss of a run (got {sorted(columns)!r})"
        )
    return log_of(columns["norms"], None, None, columns["loss"], None)


def _column(name: str, values: Iterable[Any], count: int | None) -> Array:
    if isinstance(values, (str, bytes)):
        raise InvalidArgumentError(
            f"{name} must be numbers (got the {type(values).__name__} {values[:80]!r}); "
            "`gradclip advise FILE` reads files"
        )
    try:
        given = (
            values if hasattr(values, "__array__") or hasattr(values, "__len__") else list(values)
        )
        column = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"{name} must be numbers: {error}") from error
    if column.ndim != 1:
        raise InvalidArgumentError(f"{name} must have one dimension (got {column.ndim})")
    if count is not None and len(column) != count:
        raise InvalidArgumentError(f"{name} must be as long as norms, {count} (got {len(column)})")
    return column


def _tensors(tensor_norms: Mapping[str, Iterable[float]], count: int) -> Tensors:
    columns = [_column(f"tensor_norms[{name!r}]", v, count) for name, v in tensor_norms.items()]
    names = [str(name) for name in tensor_norms]
    if not count:
        return Tensors(names, np.empty(0, dtype=int), np.empty(0))
    from .tensors import largest_of

    return largest_of(np.stack(columns), names, 2.0)
