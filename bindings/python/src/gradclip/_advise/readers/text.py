"""Free text: what a trainer printed, or lines that the user's own pattern finds."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from ..log import Log, LogError
from . import dialects
from .dialects import DIALECTS, Dialect
from .numbers import number, plain
from .rows import BATCH, EPOCH, KINDS, LOSS, LR, NORM, SCALE, STEP, Rows
from .source import Source

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PREFIX = re.compile(r"[\w./]*\Z")
_GROUPS = {"norm": NORM, "step": STEP, "lr": LR, "learning_rate": LR, "loss": LOSS}


def read(source: Source) -> Log:
    """Reads text: the dialect is that of the first line in which one finds a norm."""
    lines = _lines(source)
    recent: deque[str] = deque(maxlen=100)
    for line in lines:
        dialect = _dialect_of(line)
        if dialect is None:
            recent.append(line)
        else:
            rows, notes = _read(source, line, lines, dialect, recent)
            return rows.log(
                source=source.name,
                format=f"text as {dialect.name} prints it" if dialect.name != "text" else "text",
                taken=[
                    f"norm: {_excerpt(line, dialect.norm)}",
                    *_also(rows),
                ],
                notes=notes,
                hint=dialect.hint,
            )
    if not source.done:
        return Rows([True] * len(KINDS)).log(source=source.name, format="an empty file")
    raise LogError(
        f"{source.name} holds no gradient norms in a form that is known (grad_norm: 1.5, "
        "gnorm=1.5, | norm 1.5, ...): say where they stand with --pattern 'REGEX', the norm "
        "being its group 1"
    )


def read_pattern(source: Source, pattern: str) -> Log:
    """Reads the lines in which pattern is found: group "norm" or 1 is the norm; groups "step",
    "lr" and "loss" are taken if there are any."""
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise LogError(f"--pattern is no regular expression: {error} (got {pattern!r})") from error
    if not compiled.groups:
        raise LogError(
            "--pattern must have a group for the norm, as in 'norm=(\\S+)' or "
            f"'(?P<step>\\d+) .* (?P<norm>\\S+)' (got {pattern!r})"
        )
    named = {_GROUPS[name]: name for name in compiled.groupindex if name in _GROUPS}
    groups: list[tuple[int, Any]] = [*named.items()]
    if NORM not in named:
        groups.append((NORM, 1))
    places = {place for place, _ in groups}
    rows = Rows([place in places for place in range(len(KINDS))])
    row: list[float | None] = [None] * len(KINDS)
    wrong = 0
    for line in _lines(source):
        found = compiled.search(line)
        if not found:
            continue
        for place, group in groups:
            row[place] = number(found[group])
        wrong += row[NORM] is None
        rows.add(row)
    notes = [f"in {wrong} line(s) what the pattern finds is no number"] if wrong else []
    return rows.log(
        source=source.name, format="text", taken=[f"norm: by the pattern {pattern!r}"], notes=notes
    )


def _lines(source: Source) -> Iterator[str]:
    """Lines without colours; a progress bar's line is many, with carriage returns between."""
    for line in source.lines():
        if "\x1b" in line:
            line = _COLOUR.sub("", line)
        if "\r" in line:
            yield from line.split("\r")
        else:
            yield line


def _dialect_of(line: str) -> Dialect | None:
    for dialect in DIALECTS:
        if dialect.known.search(line) and dialect.norm.search(line):
            return dialect
    return None


def _read(
    source: Source, first: str, lines: Iterator[str], dialect: Dialect, recent: Iterable[str]
) -> tuple[Rows, list[str]]:
    rows = Rows([True] * len(KINDS))
    find_step = dialect.step.search
    before = _before(first, _required(dialect.norm.search(first)).start())
    others = [
        (LR, dialects.RATE.search),
        (LOSS, dialects.LOSS.search),
        (SCALE, dialects.SCALE.search),
        (BATCH, dialects.BATCH.search),
    ]
    if dialect.step is dialects.STEP:
        others.append((EPOCH, dialects.EPOCH.search))
    cut, summaries, sentences, marks = False, 0, 0, 0
    steps = [_step(m) for m in map(find_step, recent) if m] if dialect.above else []
    above = steps[-1] if steps else None
    marked = False
    line: str | None = first
    while line is not None:
        found = _norm_in(line, dialect, before)
        following = next(lines, None)
        if found is None:
            if dialect.above:
                match = find_step(line)
                above = above if match is None else _step(match)
            if dialects.SENTENCE.search(line):
                sentences += 1
            elif "norm" in line and dialect.norm.search(line) is None:
                named = dialects.NAMED.search(line)
                rows.not_read(None if named is None else named[0])
        elif dialects.SUMMARY.search(line):
            summaries += 1
        elif following is None and source.cut and found.end() >= len(line.rstrip()):
            cut = True  # its last digits may be missing
        else:
            row: list[float | None] = [None] * len(KINDS)
            norm = row[NORM] = plain(found[1])
            for place, find in others:
                match = find(line)
                if match is not None:
                    row[place] = plain(match[1])
            match = find_step(line)
            row[STEP] = above if match is None else _step(match)
            rows.add(row)
            was, marked = marked, dialects.MARK.match(line, found.end()) is not None
            marks += marked and not was and math.isfinite(norm)
        line = following
    return rows, _notes(source, cut, summaries, sentences, marks)


def _notes(source: Source, cut: bool, summaries: int, sentences: int, marks: int) -> list[str]:
    notes = []
    if marks:
        notes.append(
            f"{marks} time(s) the average beside the norm begins to be NaN or infinite: "
            "a step that has no row was not finite"
        )
    if sentences:
        notes.append(f"{sentences} line(s) say in words that the norm was not finite: no rows")
    if summaries:
        notes.append(f"{summaries} line(s) sum up an epoch, and are no rows")
    if cut:
        notes.append("the file ends in the middle of a line, which was left out")
    if source.too_long:
        notes.append(f"{source.too_long} line(s) are longer than 4 MiB and were left out")
    return notes


def _required(found: re.Match[str] | None) -> re.Match[str]:
    assert found is not None  # the dialect is the line's
    return found


def _norm_in(line: str, dialect: Dialect, before: str) -> re.Match[str] | None:
    """The norm that has the same before its name as the first one: actor/, but not critic/."""
    found = dialect.norm.search(line)
    while found is not None and _before(line, found.start()) != before:
        found = dialect.norm.search(line, found.end())
    return found


def _before(line: str, at: int) -> str:
    """What stands before a name without a blank between: "actor/" of "actor/grad_norm"."""
    return _required(_PREFIX.search(line, max(0, at - 80), at))[0]


def _step(match: re.Match[str]) -> float:
    groups = match.groupdict()
    if "iter" not in groups:
        return plain(match[1])
    epoch = groups.get("epoch0")
    if epoch is None:
        if groups.get("epoch") is None:
            return float(groups["iter"])
        epoch = str(int(groups["epoch"]) - 1)
    return float(epoch) * float(groups["length"]) + float(groups["iter"])


def _also(rows: Rows) -> list[str]:
    """What else was found; NaN alone is nothing."""
    return [
        KINDS[place].replace("_", " ") + " too"
        for place in (LR, LOSS)
        if any(value == value for value in (rows.columns[place] or ())[:1000])
    ]


def _excerpt(line: str, pattern: re.Pattern[str]) -> str:
    """The norm in the line that was taken, with what stands before it, and the others."""
    shown = [repr((_before(line, m.start()) + m[0])[:60]) for m in pattern.finditer(line)][:4]
    rest = f", not {', '.join(shown[1:])}" if len(shown) > 1 else ""
    return f"{shown[0]}, the first of its kind{rest}" if shown else ""
