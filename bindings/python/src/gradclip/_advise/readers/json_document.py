"""JSON documents: the trainer_state.json of Hugging Face's Trainer, lists of records or
numbers, and tables by column. Lists are read element by element, so that one whose end is
missing is read up to there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ..log import Log, LogError
from .columns import choose
from .records import log_of
from .numbers import number
from .rows import KINDS, NORM, SKIPPED, STEP, Rows, skipped
from .source import Source

_HISTORY = re.compile(r'"log_history"\s*:\s*\[')
_BEGIN = re.compile(r"[\s,]*")
_LARGEST = 1 << 30  # bytes
_decoder = json.JSONDecoder()


def looks_like(head: str) -> bool:
    return head.lstrip().startswith(("{", "["))


def read(source: Source, column: str | None) -> Log:
    data = source.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise LogError(f"{source.name} is a JSON document of more than a GiB: make lines of it")
    text = data.decode("utf-8-sig", "replace")
    del data
    notes: list[str] = []
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] == "[":
        return _list(text, start + 1, column, source, notes)
    history = _HISTORY.search(text)
    if history is None:
        if _several(text, start):
            records = _elements(text, start, notes, dict, closed=False)
            return log_of(records, column, source.name, "JSON objects", None, notes, source.loss)
        return _table(text, column, source)
    records = _elements(text, history.end(), notes, dict)
    name = "trainer_state.json"
    log = log_of(records, column, source.name, name, "sampled", notes, source.loss)
    if log.loss is not None:
        _hidden_nan(log)
    return log


def _several(text: str, at: int) -> bool:
    """Whether one object stands behind the other, each on lines of its own."""
    try:
        return text.startswith("{", _skip(text, _decoder.raw_decode(text, at)[1]))
    except (ValueError, RecursionError):
        return False


def _elements(
    text: str, at: int, notes: list[str], kind: type | tuple[type, ...], closed: bool = True
) -> Iterator[Any]:
    """The elements, of one type, of the list that begins before `at`; others are counted. One
    that is not closed ends with the text."""
    other = 0
    while True:
        at = _skip(text, at)
        if at >= len(text):
            if closed:
                notes.append("the file ends in the middle of its list: read up to there")
            break
        if text[at] == "]":
            break
        try:
            value, at = _decoder.raw_decode(text, at)
        except RecursionError as error:
            raise LogError("the document is nested too deeply to be a log") from error
        except ValueError as error:
            if getattr(error, "pos", 0) >= len(text) - 16:
                notes.append("the file ends in the middle of a record, which was left out")
            else:
                notes.append("the list holds something that is no JSON: read up to there")
            break
        if at == len(text) and isinstance(value, (int, float)):
            notes.append("the file ends in the middle of its list: read up to there")
            break  # its last digits may be missing
        if isinstance(value, kind) and not isinstance(value, bool):
            yield value
        else:
            other += 1
    if other:
        notes.append(f"{other} element(s) are no records and were left out")


def _skip(text: str, at: int) -> int:
    found = _BEGIN.match(text, at)
    return at if found is None else found.end()


def _list(text: str, at: int, column: str | None, source: Source, notes: list[str]) -> Log:
    start = text[_skip(text, at) : _skip(text, at) + 1]
    if start == "{":
        records = _elements(text, at, notes, dict)
        return log_of(records, column, source.name, "a JSON list", None, notes, source.loss)
    if start == "[":
        return _points(text, at, source.name, notes)
    rows = Rows([place == NORM for place in range(len(KINDS))])
    row: list[float | None] = [None] * len(KINDS)
    for value in _elements(text, at, notes, (float, int)):
        row[NORM] = number(value)
        rows.add(row)
    if not len(rows) and start not in ("", "]"):
        raise LogError(f"{source.name} is a JSON list, but neither of records nor of numbers")
    return rows.log(
        source=source.name, format="a JSON list", taken=["norm: the list's numbers"], notes=notes
    )


def _points(text: str, at: int, source: str, notes: list[str]) -> Log:
    """[[wall time, step, value], ...], which TensorBoard downloads."""
    rows = Rows([place in (NORM, STEP) for place in range(len(KINDS))])
    row: list[float | None] = [None] * len(KINDS)
    for point in _elements(text, at, notes, list):
        if len(point) != 3:
            raise LogError(f"{source} is a JSON list, but neither of records nor of numbers")
        row[STEP], row[NORM] = number(point[1]), number(point[2])
        if row[NORM] is None:
            rows.not_read(point[2])
        rows.add(row)
    return rows.log(
        source=source,
        format="a TensorBoard download",
        taken=["norm: the only metric of this download"],
        notes=notes,
    )


def _table(text: str, column: str | None, source: Source) -> Log:
    """{"grad_norm": [...], "lr": [...]}"""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise LogError(f"{source.name} is nested too deeply to be a log") from error
    except ValueError as error:
        raise LogError(f"{source.name} is no JSON that could be read: {error}") from error
    lists = {key: cells for key, cells in value.items() if isinstance(cells, list)}
    for records in lists.values():
        if records and all(isinstance(record, dict) for record in records):
            return log_of(records, column, source.name, "a JSON list", None, [], source.loss)
    columns = choose(lists, column, source.loss)
    if columns.norm is None:
        keys = ", ".join(repr(str(key)[:60]) for key in list(value)[:12])
        raise LogError(
            f"{source.name} has neither a log_history nor a list of gradient norms; its keys are {keys}"
        )
    names = [columns.norm, *(columns.others.get(kind) for kind in KINDS[1:])]
    rows = Rows([True, *(name is not None for name in names[1:])])
    actions = None if names[SKIPPED] is None else lists[names[SKIPPED]]
    for place, norm in enumerate(lists[columns.norm]):
        cells = (lists[name] if name is not None else () for name in names[1:])
        row = [number(norm), *(number(c[place]) if place < len(c) else None for c in cells)]
        if actions is not None and place < len(actions):
            row[SKIPPED] = skipped(actions[place])
        rows.add(row)
    return rows.log(source=source.name, format="a JSON table", taken=columns.words)


def _hidden_nan(log: Log) -> None:
    """The Trainer leaves NaN losses out of its mean, which is then 0."""
    import numpy as np

    assert log.loss is not None
    hidden = int(np.sum((log.loss == 0) & ~np.isfinite(log.norm)))
    if hidden:
        log.notes.append(
            f"in {hidden} row(s) the loss is 0.0 beside a norm that is not finite: "
            "the Trainer hides NaN losses (logging_nan_inf_filter)"
        )
