"""Free text: what a trainer printed, or lines that the user's own pattern finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..log import Log, LogError
from . import dialects
from .dialects import DIALECTS, Dialect
from .rows import BATCH, KINDS, LOSS, LR, NORM, SCALE, STEP, Rows, number
from .source import Source

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_GROUPS = {"norm": NORM, "step": STEP, "lr": LR, "learning_rate": LR, "loss": LOSS}


def read(source: Source) -> Log:
    """Reads text: the dialect is that of the first line in which one finds a norm."""
    lines = _lines(source)
    for line in lines:
        dialect = _dialect_of(line)
        if dialect is not None:
            rows, notes = _read(source, line, lines, dialect)
            return rows.log(
                source=source.name,
                format=f"text as {dialect.name} prints it" if dialect.name != "text" else "text",
                taken=[
                    f"norm: {_excerpt(line, dialect.norm)!r}, the first of its kind",
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
    source: Source, first: str, lines: Iterator[str], dialect: Dialect
) -> tuple[Rows, list[str]]:
    rows = Rows([place != KINDS.index("epoch") for place in range(len(KINDS))])
    find_norm, find_step = dialect.norm.search, dialect.step.search
    others = [
        (LR, dialects.RATE.search),
        (LOSS, dialects.LOSS.search),
        (SCALE, dialects.SCALE.search),
        (BATCH, dialects.BATCH.search),
    ]
    cut = False
    line: str | None = first
    while line is not None:
        found = find_norm(line)
        following = next(lines, None)
        if (
            found is not None
            and following is None
            and source.cut
            and found.end() >= len(line.rstrip())
        ):
            cut = True  # its last digits may be missing
        elif found is not None:
            row: list[float | None] = [None] * len(KINDS)
            row[NORM] = float(found[1])
            for place, find in others:
                match = find(line)
                if match is not None:
                    row[place] = float(match[1])
            match = find_step(line)
            if match is not None:
                row[STEP] = _step(match)
            rows.add(row)
        line = following
    notes = ["the file ends in the middle of a line, which was left out"] if cut else []
    if source.too_long:
        notes.append(f"{source.too_long} line(s) are longer than 4 MiB and were left out")
    return rows, notes


def _step(match: re.Match[str]) -> float:
    groups = match.groupdict()
    if "iter" not in groups:
        return float(match[1])
    if groups["epoch"] is None:
        return float(groups["iter"])
    return (float(groups["epoch"]) - 1) * float(groups["length"]) + float(groups["iter"])


def _also(rows: Rows) -> list[str]:
    """What else was found; NaN alone is nothing."""
    return [
        KINDS[place].replace("_", " ") + " too"
        for place in (LR, LOSS)
        if any(value == value for value in (rows.columns[place] or ())[:1000])
    ]


def _excerpt(line: str, pattern: re.Pattern[str]) -> str:
    found = pattern.search(line)
    return "" if found is None else found[0][:60]
