"""JSON documents: the trainer_state.json of Hugging Face's Trainer, lists of records or
numbers, and tables by column. Lists are read element by element, so that a document of any
length takes little memory, and one whose end is missing is read up to there."""

from __future__ import annotations

import codecs
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
_CHUNK = 1 << 20
_LONGEST = 1 << 24  # characters of one record, and of a table by column
_decoder = json.JSONDecoder()


def looks_like(head: str) -> bool:
    return head.lstrip().startswith(("{", "["))


def read(source: Source, column: str | None) -> Log:
    text = _Text(source)
    text.fill(1)
    notes: list[str] = []
    if text.buffer.lstrip()[:1] == "[":
        text.drop(text.buffer.index("[") + 1)
        return _list(text, column, source.name, notes)
    if text.seek(_HISTORY):
        log = log_of(
            _elements(text, notes, dict),
            column,
            source.name,
            "trainer_state.json",
            "sampled",
            notes,
        )
        if log.loss is not None:
            _hidden_nan(log)
        return log
    return _table(text, column, source.name)


class _Text:
    """A window on the document: buffer holds what has been read and not yet dropped."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.buffer = ""
        self.ended = False
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")

    def fill(self, wanted: int) -> None:
        """Reads until the buffer holds `wanted` characters, or the document ends."""
        parts, have = [self.buffer], len(self.buffer)
        while have < wanted and not self.ended:
            chunk = self._source.read(_CHUNK)
            self.ended = not chunk
            parts.append(self._decoder.decode(chunk, self.ended))
            have += len(parts[-1])
        self.buffer = "".join(parts)

    def drop(self, count: int) -> None:
        self.buffer = self.buffer[count:]

    def seek(self, pattern: re.Pattern[str]) -> bool:
        """Goes to the end of the first match. Within the first 16 MiB, or the buffer stays."""
        wanted = _CHUNK
        while True:
            self.fill(wanted)
            found = pattern.search(self.buffer)
            if found:
                self.drop(found.end())
                return True
            if self.ended or wanted >= _LONGEST:
                return False
            wanted *= 2


def _elements(text: _Text, notes: list[str], kind: type | tuple[type, ...]) -> Iterator[Any]:
    """The elements of the list that text stands in, of one type; others are counted."""
    other = at = 0
    while True:
        at = _skip(text.buffer, at)
        if at >= len(text.buffer) - 64 and not text.ended:
            text.drop(at)
            text.fill(_CHUNK)
            at = 0
            continue
        if at >= len(text.buffer):
            notes.append("the file ends in the middle of its list: read up to there")
            break
        if text.buffer[at] == "]":
            break
        try:
            value, end = _decoder.raw_decode(text.buffer, at)
        except RecursionError as error:
            raise LogError("the document is nested too deeply to be a log") from error
        except ValueError as error:
            rest = len(text.buffer) - at
            if not text.ended and rest < _LONGEST:
                text.drop(at)
                text.fill(2 * max(rest, _CHUNK))
                at = 0
                continue
            if text.ended and getattr(error, "pos", 0) >= len(text.buffer) - 16:
                notes.append("the file ends in the middle of a record, which was left out")
            else:
                notes.append("the list holds something that is no JSON: read up to there")
            break
        # A number at the buffer's end may go on in the next chunk.
        if end == len(text.buffer) and not text.ended:
            text.drop(at)
            text.fill(len(text.buffer) + _CHUNK)
            at = 0
            continue
        if end == len(text.buffer) and isinstance(value, (int, float)):
            notes.append("the file ends in the middle of its list: read up to there")
            break
        at = end
        if isinstance(value, kind) and not isinstance(value, bool):
            yield value
        else:
            other += 1
    if other:
        notes.append(f"{other} element(s) are no records and were left out")


def _skip(buffer: str, at: int) -> int:
    while at < len(buffer) and buffer[at] in " \t\r\n,":
        at += 1
    return at


def _list(text: _Text, column: str | None, source: str, notes: list[str]) -> Log:
    text.fill(_CHUNK)
    start = text.buffer[_skip(text.buffer, 0) : _skip(text.buffer, 0) + 1]
    if start == "{":
        return log_of(_elements(text, notes, dict), column, source, "a JSON list", None, notes)
    if start == "[":
        return _points(text, source, notes)
    rows = Rows([place == NORM for place in range(len(KINDS))])
    row: list[float | None] = [None] * len(KINDS)
    for value in _elements(text, notes, (float, int)):
        row[NORM] = number(value)
        rows.add(row)
    if not len(rows) and start not in ("", "]"):
        raise LogError(f"{source} is a JSON list, but neither of records nor of numbers")
    return rows.log(
        source=source, format="a JSON list", taken=["norm: the list's numbers"], notes=notes
    )


def _points(text: _Text, source: str, notes: list[str]) -> Log:
    """[[wall time, step, value], ...], which TensorBoard downloads."""
    rows = Rows([place in (NORM, STEP) for place in range(len(KINDS))])
    row: list[float | None] = [None] * len(KINDS)
    for point in _elements(text, notes, list):
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


def _table(text: _Text, column: str | None, source: str) -> Log:
    """{"grad_norm": [...], "lr": [...]}"""
    text.fill(_LONGEST + 1)
    if len(text.buffer) > _LONGEST:
        raise LogError(f"{source} is a JSON document of more than 16 MiB without a log_history")
    try:
        value = json.loads(text.buffer)
    except RecursionError as error:
        raise LogError(f"{source} is nested too deeply to be a log") from error
    except ValueError as error:
        raise LogError(f"{source} is no JSON that could be read: {error}") from error
    lists = {key: cells for key, cells in value.items() if isinstance(cells, list)}
    columns = choose(lists, column)
    if columns.norm is None:
        keys = ", ".join(repr(str(key)[:60]) for key in list(value)[:12])
        raise LogError(
            f"{source} has neither a log_history nor a list of gradient norms; its keys are {keys}"
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
    return rows.log(source=source, format="a JSON table", taken=columns.words)


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
