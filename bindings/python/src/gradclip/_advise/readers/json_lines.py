"""JSON lines: one object a line, as mmengine's scalars.json and many loggers write; also behind what a
logger puts before it (a time, its level), among lines of text."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from ..log import Log
from .columns import choose
from .records import flat, log_of
from .source import Source


_BARE = re.compile(r"(?<=[:,\[ ])(?:nan|-?inf)(?=\s{0,9}[,}\]])", re.I)
_JSON = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_SAMPLE = 10  # lines that tell what program wrote them
_RLLIB = "RLlib's result.json"
_BEHIND = re.compile(r"[^{]{1,300}\{")  # what may stand before an object


def looks_like(head: str) -> bool:
    """Whether the first line that is not blank is a whole object, and no table of lists, or a later
    one ends in an object with a norm."""
    line = next((line for line in head.splitlines() if line.strip()), "")
    value = _object(line)
    if value is None:
        return any(_has_norm(_behind(line)) for line in head.splitlines()[:1000])
    if not isinstance(value, dict):
        return False
    if "log_history" in value:
        return False  # a whole trainer_state.json on one line
    if any(isinstance(cells, list) and cells and isinstance(cells[0], dict) for cells in value.values()):
        return len([one for one in head.splitlines()[:3] if one.strip()]) > 1
    norm = choose(map(str, value)).norm
    return norm is None or not isinstance(value[norm], list)


def _behind(line: str) -> Any:
    """The object at the end of a line; None where there is none."""
    found = _BEHIND.match(line)
    return None if found is None or not line.rstrip().endswith("}") else _object(line[found.end() - 1 :])


def _has_norm(value: Any) -> bool:
    return isinstance(value, dict) and choose(flat({str(k): v for k, v in value.items()})).norm is not None


def read(source: Source, column: str | None) -> Log:
    notes: list[str] = []
    first = next((line for line in _decoded(source.head) if line.strip()), "{}")
    if _object(first) is None:
        unread: list[str] = []
        kind = "JSON behind the words of a logger"
        log = log_of(_among_text(source, unread), column, source.name, kind, None, notes, source.loss)
        if unread:
            log.notes.append(f"{len(unread)} line(s) begin an object and are none: left out")
        log.unread += len(unread)
        return log
    kind, hint = _kind_of(_decoded(source.head)[:_SAMPLE])
    unreadable: list[int] = []
    records = _objects(source, notes, unreadable)
    if kind == _RLLIB:
        records = map(_of_rllib, records)
    log = log_of(records, column, source.name, kind, hint, notes, source.loss)
    log.unread += sum(unreadable)
    if kind == _RLLIB and "grad_gnorm" in log.taken[0] and log.max_norm is not None:
        if not np.any(log.norm[np.isfinite(log.norm)] > 1.001 * np.nanmax(log.max_norm)):
            log.notes.append(
                "RLlib logs the smaller of the norm and its grad_clip: for norms from before "
                "clipping, run a pilot with grad_clip=None"
            )
    return log


def _of_rllib(record: dict[str, Any]) -> dict[str, Any]:
    """Ray writes a NaN of NumPy's as the string "null". Its grad_clip is a max_norm if it clips
    the global norm, as it does unless grad_clip_by says otherwise."""
    out = {key: math.nan if value == "null" else value for key, value in flat(record).items()}
    if out.get("config/grad_clip_by", "global_norm") != "global_norm":
        out.pop("config/grad_clip", None)
    return out


def _kind_of(lines: list[str]) -> tuple[str, Any]:
    """What program wrote the lines, and what a row is. mmdetection's first line is about the run."""
    found = (_object(line) for line in lines if line.strip())
    keys = set(chain.from_iterable(value for value in found if isinstance(value, dict)))
    # mmengine writes means over the last 10 steps or more even if it writes every step;
    # mmdetection 2 writes means over its log interval.
    if {"data_time", "memory", "time"} & keys and {"epoch", "iter"} & keys:
        return "JSON lines of mmengine or mmdetection", "averaged"
    if "training_iteration" in keys and {"info", "learners"} & keys:
        return _RLLIB, "averaged"
    return "JSON lines", "every" if {"nonfinite_count", "clip_coef"} <= keys else None


def _among_text(source: Source, unread: list[str]) -> Iterator[dict[str, Any]]:
    """The objects behind words; other lines are text, but for those that begin one with a norm."""
    for line in source.lines():
        value = _behind(line)
        if isinstance(value, dict):
            yield value
        elif "norm" in line and _BEHIND.match(line) and not source.cut:
            unread.append(line[:60])


def _objects(
    source: Source, notes: list[str], unread: list[int]
) -> Iterator[dict[str, Any]]:
    """The objects; how many lines are no JSON goes to unread, at the end."""
    unreadable = other = 0
    cut = False
    for line in source.lines():
        if not line.strip("\0 \t\r"):
            continue
        value = _object(line)
        if isinstance(value, dict):
            yield value
        elif source.cut:
            cut = True
        elif value is None:
            unreadable += 1
        else:
            other += 1
    if cut:
        notes.append("the file ends in the middle of a line, which was left out")
    unread.append(unreadable)
    if unreadable + other:
        notes.append(f"{unreadable + other} line(s) are no JSON objects and were left out")
    if source.too_long:
        notes.append(f"{source.too_long} line(s) are longer than 4 MiB and were left out")


def _object(line: str) -> Any:
    """The line's value; None if it cannot be read. nan and inf are numbers, too, as Python writes them."""
    for text in (line, _BARE.sub(lambda found: _JSON[found[0].lower()], line)):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    return None


def _decoded(head: bytes) -> list[str]:
    return head.decode("utf-8", "replace").lstrip("\ufeff").splitlines()
