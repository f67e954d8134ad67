"""Free text: what a trainer printed, or lines that the user's own pattern finds."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..log import Log, LogError
from . import dialects
from .columns import role_of
from .dialects import DIALECTS, Dialect, field
from .numbers import number, plain
from .rows import BATCH, EPOCH, KINDS, LOSS, LR, NORM, RANK, SCALE, STEP, Rows
from .source import Source

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PREFIX = re.compile(r"[\w./]*\Z")
_WORD = re.compile(r"[\w./]{1,30} \Z")
_CLOSING = re.compile(r"[^()]{0,40}\)")  # the rest of a repr: "]), dtype=float32)"
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
            rows, notes, marked = _read(source, line, lines, dialect, recent)
            return rows.log(
                marked=marked,
                source=source.name,
                format=f"text as {dialect.name} prints it" if dialect.name != "text" else "text",
                taken=[
                    f"norm: {_excerpt(line, dialect.norm)}",
                    *_also(rows),
                ],
                notes=notes,
                hint=dialect.hint,
                after_clipping=_norms_of(line, dialect.norm)[0].after_clipping,
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
) -> tuple[Rows, list[str], int]:
    rows = Rows([True] * len(KINDS))
    wanted = _norms_of(first, dialect.norm)[0].name
    numbering = _Numbering(dialect.steps)
    others = [
        (LR, dialects.RATE.search),
        (LOSS, (dialects.LOSS if source.loss is None else field(re.escape(source.loss))).search),
        (SCALE, dialects.SCALE.search),
        (BATCH, dialects.BATCH.search),
        (EPOCH, dialect.epoch.search),
        (RANK, dialects.RANK.search),
    ]
    cut, summaries, sentences, marks = False, 0, 0, 0
    above = epoch = None
    for earlier in recent:
        above = numbering.of(earlier, above) if dialect.above else None
        epoch = _epoch(dialect, earlier, epoch)
    marked = False
    line: str | None = first
    while line is not None:
        found = _norm_in(line, dialect.norm, wanted)
        following = next(lines, None)
        if dialect.above:
            above = numbering.of(line, above)
        epoch = _epoch(dialect, line, epoch)
        if found is None:
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
            row[EPOCH] = epoch if row[EPOCH] is None else row[EPOCH]
            row[STEP] = above if dialect.above else numbering.of(line)
            if row[STEP] is not None and row[RANK] is None:
                label = dialects.LABEL.match(line)
                if label is not None:
                    row[RANK], rows.labelled = float(label[1]), True
            if not numbering.repeats_last(line, norm):
                rows.add(row)
            was, marked = marked, dialects.MARK.match(line, found.end()) is not None
            marks += marked and not was and math.isfinite(norm)
        line = following
    return rows, _notes(source, cut, summaries, sentences, marks), sentences + marks


def _epoch(dialect: Dialect, line: str, otherwise: float | None) -> float | None:
    """The epoch that begins with this line; what is given otherwise where none does."""
    match = dialect.epoch_above.search(line)
    return otherwise if match is None else float(match[1])


class _Numbering:
    """The steps of lines, by the first of several marks that one of the first lines has."""

    def __init__(self, marks: Sequence[re.Pattern[str]]) -> None:
        self._marks, self._left = marks, 100
        self._mark: re.Pattern[str] | None = None
        self._last = (-1, math.nan)

    def of(self, line: str, otherwise: float | None = None) -> float | None:
        """The step; what is given otherwise where the line has none."""
        if self._mark is None and self._left:
            self._left -= 1
            self._mark = next((mark for mark in self._marks if mark.search(line)), None)
        match = None if self._mark is None else self._mark.search(line)
        return otherwise if match is None else _step(match)

    def repeats_last(self, line: str, norm: float) -> bool:
        """Whether a bar of progress has come to its end, N/N, and shows the norm of N-1 again, or
        begins anew, 0/N, and still shows the one before."""
        if self._mark is not dialects.BAR:
            return False
        match = dialects.BAR.search(line)
        if match is None:
            return False
        was, now = self._last, int(match[1])
        same = norm == was[1] or (math.isnan(norm) and math.isnan(was[1]))
        if now == 0 < was[0] and same:
            return True
        self._last = now, norm
        return now == int(match["of"]) and same and was[0] == now - 1


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


class _Named(NamedTuple):
    """A norm in a line: its name with what stands before it, the better the lower the rank."""

    rank: int
    place: int
    name: str
    shown: str
    after_clipping: bool


def _norms_of(line: str, pattern: re.Pattern[str]) -> list[_Named]:
    """The norms in a line, the one to take first: from before clipping, a total, as they come."""
    found = []
    for match in pattern.finditer(line):
        name = _name(line, match)
        role = role_of(re.sub(r"[()\[\]]", "", name))
        known = role is not None and role.kind == "norm"
        closing = _CLOSING.match(line, match.end()) if "(" in match[0] else None
        shown = (_before(line, match.start()) + match[0] + (closing[0] if closing else ""))[:80]
        rank = role.rank if role is not None and known else 3
        after = role is not None and known and role.after_clipping
        found.append(_Named(rank, match.start(), name, shown, after))
    if len({one.name for one in found}) < len(found):  # "D grad norm: 1.5 G grad norm: 2.5"
        found = [one._replace(shown=_word(line, one.place) + one.shown) for one in found]
    return sorted(found)


def _name(line: str, match: re.Match[str]) -> str:
    """The name that a norm has, with what stands before it: "actor/grad_norm"."""
    given = line[match.start() : match.start(1)]
    return (_before(line, match.start()) + re.split(r"[:=|'\"]", given)[0].strip()).lower()


def _norm_in(line: str, pattern: re.Pattern[str], name: str) -> re.Match[str] | None:
    """The norm that has the same name as that of the first line: actor/grad_norm, and no
    critic/grad_norm."""
    return next((m for m in pattern.finditer(line) if _name(line, m) == name), None)


def _before(line: str, at: int) -> str:
    """What stands before a name without a blank between: "actor/" of "actor/grad_norm"."""
    return _required(_PREFIX.search(line, max(0, at - 80), at))[0]


def _word(line: str, at: int) -> str:
    """The word before a name, with the blank between; "" where there is none."""
    found = _WORD.search(line, max(0, at - 40), at)
    return "" if found is None else found[0]


def _step(match: re.Match[str]) -> float:
    groups = match.groupdict()
    if "iter" not in groups:
        return plain(match[1])
    epoch = groups.get("epoch0") or groups.get("epoch1")
    if epoch is None:
        if groups.get("epoch") is None:
            return float(groups["iter"])
        epoch = str(int(groups["epoch"]) - 1)
    return float(epoch) * float(groups["length"]) + float(groups["iter"])


def _also(rows: Rows) -> list[str]:
    """What else was found."""
    return [
        KINDS[place].replace("_", " ") + " too"
        for place in (LR, LOSS)
        if rows.has(place)
    ]


def _excerpt(line: str, pattern: re.Pattern[str]) -> str:
    """The norm in the line that was taken, with what stands before it, and the others."""
    first, *rest = (repr(one.shown) for one in _norms_of(line, pattern)[:4])
    return f"{first}" + (f", not {', '.join(rest)}" if rest else "")
