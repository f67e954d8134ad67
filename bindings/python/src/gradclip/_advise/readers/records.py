"""Records (JSON objects) as rows: which keys are taken is decided from the first of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from ..log import Log, LogError
from ..log import Rows as RowKind
from .columns import Columns, choose
from .numbers import number, step_number
from .rows import KINDS, NORM, SKIPPED, STEP, Rows, skipped, tensor_row

_LOOKAHEAD = 1000


def log_of(
    records: Iterable[Mapping[str, Any]],
    column: str | None,
    source: str,
    kind: str,
    hint: RowKind | None,
    notes: list[str],
    loss: str | None = None,
) -> Log:
    """The log of records. notes may still grow while records are read.

    Args:
        records: flat or with objects inside, whose keys then become "outer/inner".
        column, loss: the keys of the norm and of the loss, if the user has named them.
        source, kind, hint: see Log.
    """
    stream: Iterator[dict[str, Any]] = iter(flat(record) for record in records)
    first = list(islice(stream, _LOOKAHEAD))
    names = _names_of(first)
    if names is not None:
        stream, kind = _by_step(chain(first, stream), names, notes), "a list of keys and values"
        first = list(islice(stream, _LOOKAHEAD))
    if not first:
        return Rows([True] * len(KINDS)).log(source=source, format=kind, notes=notes)
    columns = choose(chain.from_iterable(first), column, loss)
    while columns.norm is None and not columns.tensors:
        more = list(islice(stream, _LOOKAHEAD))
        if not more:
            raise LogError(_nothing(source, column, first))
        first = first[-1:] + more
        columns = choose(chain.from_iterable(more), column, loss)
    rows = _rows(chain(first, stream), columns)
    without = rows.without_norm - rows.unread
    if without > 0:
        notes.append(f"{without} record(s) have no norm and were left out")
    return rows.log(
        source=source,
        format=kind,
        taken=columns.words,
        notes=notes,
        hint=hint,
        after_clipping=columns.after_clipping,
    )


# The keys of a record that holds one value of one metric, as MLflow and Comet give them.
_ONE_VALUE = (("key", "value"), ("metricName", "metricValue"), ("metric", "value"), ("name", "value"))


def _names_of(records: list[dict[str, Any]]) -> tuple[str, str] | None:
    """Under which keys each record has the name of a metric and its value, beside a step."""
    for name, value in _ONE_VALUE:
        if records and all("step" in r and isinstance(r.get(name), str) and value in r for r in records):
            return name, value
    return None


def _by_step(
    records: Iterable[dict[str, Any]], names: tuple[str, str], notes: list[str]
) -> Iterator[dict[str, Any]]:
    """A record for each step, with the values of all metrics."""
    steps: dict[Any, dict[str, Any]] = {}
    again = 0
    for record in records:
        step, name = str(record.get("step")), str(record.get(names[0]))
        known = steps.setdefault(step, {"step": record.get("step")})
        again += name in known
        known[name] = record.get(names[1])
    if again:
        notes.append(
            f"{again} value(s) come again for a step, as when a run is resumed: the later ones count"
        )
    yield from steps.values()


_DEEPEST = 8  # objects inside objects


def flat(record: Mapping[str, Any], depth: int = _DEEPEST) -> dict[str, Any]:
    """Objects inside objects are laid open: {"train": {"loss": 1}} has "train/loss"."""
    if not any(isinstance(value, dict) for value in record.values()):
        return dict(record)
    out: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            inside = flat(value, depth - 1) if depth > 1 else value
            out.update((f"{key}/{inner}", number) for inner, number in inside.items())
        else:
            out[key] = value
    return out


def _rows(records: Iterable[dict[str, Any]], columns: Columns) -> Rows:
    names = [columns.norm, *(columns.others.get(kind) for kind in KINDS[1:])]
    rows = Rows(
        [True, *(name is not None for name in names[1:])], list(columns.tensors.values()), columns.p
    )
    rows.step_name = columns.others.get("step")
    keys, culprit = list(columns.tensors), columns.others.get("culprit")
    for record in records:
        row = [None if name is None else number(record.get(name)) for name in names]
        action = names[SKIPPED]
        if action is not None:
            row[SKIPPED] = skipped(record.get(action))
        step = names[STEP]
        if row[STEP] is None and step is not None:
            row[STEP] = step_number(record.get(step))
        if row[NORM] is None and columns.norm is not None:
            rows.not_read(record.get(columns.norm))
        tensor_norms = None
        if keys and (row[NORM] is not None or any(key in record for key in keys)):
            tensor_norms = tensor_row([record.get(key) for key in keys])
        added = rows.add(row, tensor_norms)
        if added and culprit and isinstance(record.get(culprit), str):
            rows.culprits[len(rows) - 1] = record[culprit]
    return rows


def _nothing(source: str, column: str | None, records: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(chain.from_iterable(records)))
    if column is None and {"current_steps", "total_steps", "percentage"} <= set(names):
        return (
            f"{source} is LLaMA-Factory's trainer_log.jsonl, which has no gradient norms: read "
            "trainer_state.json beside it, or what the run printed"
        )
    shown = ", ".join(repr(str(name)[:60]) for name in names[:12])
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    wanted = f"has no {column!r}" if column else "has no gradient norms"
    return f"{source} {wanted}; its records have {shown or 'nothing'}{more}: name one with --column"
