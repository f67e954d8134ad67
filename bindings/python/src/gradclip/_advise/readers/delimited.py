"""CSV, TSV and columns of numbers, with or without a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from ..log import Log, LogError
from .blocks import edges_of, numbers_of, values_of
from .columns import Columns, choose, only_value
from .dialects import NORM as NORM_IN_TEXT
from .records import log_of
from .numbers import decimal_comma, has_decimal_commas, number, step_number
from .rows import KINDS, LR, NORM, SKIPPED, SKIPPED_BY, STEP, Rows, skipped, tensor_row
from .source import Source, line_of

_PLACES = {kind: place for place, kind in enumerate(KINDS)}
_SAMPLE = 50
_MILLISECONDS = re.compile(r"1\d{12}")  # a time from 2001 to 2033


def looks_like(head: str) -> bool:
    """Whether the first lines are numbers alone, or a header and rows of as many cells."""
    lines = [line for line in head.splitlines()[:_SAMPLE] if line.strip() and line[:1] != "#"]
    if not lines:
        return False
    delimiter = delimiter_of(lines)
    table = [_cells(line, delimiter) for line in lines]
    first, rest = table[0], table[1:-1] or table[1:]  # the last may be cut
    if all(number(cell) is not None for cell in first):
        return True
    if any(number(cell) is not None or "=" in cell or ": " in cell for cell in first):
        return False
    if NORM_IN_TEXT.search(lines[0]):
        return False  # "grad norm 15,968.2": a comma in a number
    if any(len(cells) != len(first) for cells in rest):
        return False
    # Words between blanks make a table only if there are numbers under all of them.
    words = [cell for cells in rest for cell in cells if number(cell) is None]
    return not words if delimiter == " " else True


def delimiter_of(lines: Sequence[str]) -> str:
    """Comma, tab, semicolon or blanks, whichever the first line has most of."""
    best = max(",\t;", key=lines[0].count)
    return best if best in lines[0] else " "


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    try:
        return next(csv.reader([line.replace("\0", "")], delimiter=delimiter), [])
    except csv.Error:
        return []


def read(source: Source, column: str | None) -> Log:
    """Reads a table. Comments ("# ... learning_rate=0.1") may stand before it."""
    comments: list[str] = []
    lines = source.lines()
    first = _first_line(lines, comments)
    if first is None:
        return Rows([True] * len(KINDS)).log(source=source.name, format="an empty file")
    delimiter = delimiter_of([first])
    header = [cell.strip() for cell in _cells(first, delimiter)]
    rate = _rate_in(comments)
    headless: list[str] = []
    if all(number(cell) is not None for cell in header):
        columns, names = (
            _without_header(header, column),
            [str(i) for i in range(1, len(header) + 1)],
        )
        headless = [first]
    else:
        if {"key", "value", "step"} <= set(header) and column not in header:
            return _long(source, lines, header, delimiter, column)
        names, value = header, only_value(header)
        columns = choose(header, column or value, source.loss)
        if column is None and value is not None:
            columns.words[0] = f"norm: {value!r}, the only metric of this download"
    if columns.norm is None and not columns.tensors:
        wanted = f"has no column {column!r}" if column else "has no column of gradient norms"
        raise LogError(
            f"{source.name} {wanted}; its columns are {_listed(names)}: name one with --column"
        )
    table = _Table(names, columns, delimiter, rate, source)
    table.add(headless)
    table.read(source)
    rows, short = table.rows, table.short
    notes = _notes(source, rows, short)
    kind = {",": "CSV", "\t": "TSV", ";": "CSV (semicolons)"}.get(delimiter, "columns of numbers")
    if len(names) == 1:
        kind = "a column of numbers"
    if rate is not None and "learning_rate" not in columns.others:
        columns.words.append(f"learning rate: {rate:g}, from the comment at the top")
    log = rows.log(
        source=source.name,
        format=kind,
        taken=columns.words,
        notes=notes,
        hint="every" if {"clip_coef", "nonfinite_count"} <= set(names) else None,
        after_clipping=columns.after_clipping,
    )
    log.unread += short - bool(source.cut and short)
    return log


def _first_line(lines: Iterator[str], comments: list[str]) -> str | None:
    for line in lines:
        if line.startswith("#"):
            comments.append(line)
        elif line.strip():
            return line
    return None


def _rate_in(comments: list[str]) -> float | None:
    """The learning rate of a comment like "# char_rnn seed=1 learning_rate=0.008"."""
    for word in " ".join(comments).split():
        key, _, value = word.partition("=")
        if key in ("learning_rate", "lr"):
            return number(value)
    return None


def _without_header(cells: list[str], column: str | None) -> Columns:
    place = "1" if column is None and len(cells) == 1 else column
    if place is None and len(cells) == 3 and _MILLISECONDS.fullmatch(cells[0]):
        words = ["norm: column 2, as in a metric's file of MLflow", "step: column 3"]
        return Columns("2", False, {"step": "3"}, {}, 2.0, words)
    if place is None:
        raise LogError(
            f"the columns have no names, and there are {len(cells)}: say which one holds the norm, "
            f"--column 1 ... {len(cells)}"
        )
    if not place.isdigit() or not 1 <= int(place) <= len(cells):
        raise LogError(f"--column must be a number from 1 to {len(cells)} here (got {column!r})")
    why = "the only one" if len(cells) == 1 else "as asked for"
    return Columns(place, False, {}, {}, 2.0, [f"norm: column {place}, {why}"])


def _long(
    source: Source, lines: Iterator[str], header: list[str], delimiter: str, column: str | None
) -> Log:
    """A table with a row for each value, as MLflow exports it: key,value,timestamp,step."""
    key, value, step = (header.index(name) for name in ("key", "value", "step"))
    run = next((header.index(name) for name in ("run_id", "run_uuid") if name in header), None)
    steps: dict[str, dict[str, str]] = {}
    runs: set[str] = set()
    short = again = 0
    for cells in _split(lines, delimiter):
        if len(cells) < len(header):
            short += bool(cells)
            continue
        known = steps.setdefault(cells[step], {"step": cells[step]})
        again += cells[key] in known
        known[cells[key]] = cells[value]
        if run is not None:
            runs.add(cells[run])
    if len(runs) > 1:
        shown = ", ".join(sorted(runs)[:5])
        raise LogError(f"{source.name} holds {len(runs)} runs ({shown}): make a file of each")
    notes = [f"{short} line(s) have too few cells and were left out"] if short else []
    if again:
        notes.append(
            f"{again} value(s) come again for a step, as when a run is resumed: the later ones count"
        )
    kind = "a table of keys and values"
    log = log_of(steps.values(), column, source.name, kind, None, notes, source.loss)
    log.unread += short
    return log


class _Table:
    """The lines of a table as rows. short: how many lines have too few cells."""

    def __init__(
        self, names: list[str], columns: Columns, delimiter: str, rate: float | None, source: Source
    ) -> None:
        at = {name: place for place, name in reversed(list(enumerate(names)))}
        places = [-1] * len(KINDS)
        if columns.norm is not None:
            places[NORM] = at[columns.norm]
        for role, name in columns.others.items():
            if role in _PLACES:
                places[_PLACES[role]] = at[name]
        self._tensors = {at[name]: tensor for name, tensor in columns.tensors.items()}
        self._culprit = at.get(columns.others.get("culprit", ""), -1)
        present = [place >= 0 for place in places]
        present[NORM] = True
        present[LR] = present[LR] or rate is not None
        self.rows = Rows(present, list(self._tensors.values()), columns.p)
        self.rows.step_name = columns.others.get("step")
        self.short = 0
        self._taken = [(kind, place) for kind, place in enumerate(places) if place >= 0]
        self._last = max([place for _, place in self._taken] + list(self._tensors) + [0])
        self._action = places[SKIPPED]
        if self._action >= 0:
            self._taken.remove((SKIPPED, self._action))
        self._width, self._delimiter = len(names), delimiter
        self._row: list[float | None] = [None] * len(KINDS)
        self._row[LR] = self._rate = rate
        commas = _commas(source, delimiter)
        self._read_cell = decimal_comma if commas else number
        # What parts the cells, where the table can be read in blocks.
        self._edge = "\n" if self._width == 1 else delimiter if delimiter != " " else ""
        if self._tensors or columns.norm is None or commas:
            self._edge = ""

    def read(self, source: Source) -> None:
        """Reads the rest of a file."""
        for block in source.blocks():
            whole = block[: block.rfind(b"\n") + 1] if source.cut else block
            if whole and not self._add_block(whole):
                self.add(line_of(line) for line in whole.splitlines(keepends=True))
            if source.cut:
                self.add([line_of(block[len(whole) :])], is_cut=True)

    def add(self, lines: Iterable[str], is_cut: bool = False) -> None:
        """Adds lines; of one that was cut the last cell may have lost digits."""
        least, row = min(self._width, self._last + 2), self._row
        for cells in _split(lines, self._delimiter):
            if len(cells) < least or (is_cut and self._is_cut_short(cells)):
                self.short += bool(cells)
                continue
            for kind, place in self._taken:
                try:
                    row[kind] = float(cells[place])
                except ValueError:
                    row[kind] = (step_number if kind == STEP else self._read_cell)(cells[place])
                    if kind == NORM and row[kind] is None:
                        self.rows.not_read(cells[place])
            if self._action >= 0:
                row[SKIPPED] = skipped(cells[self._action])
            tensors = None
            if self._tensors:
                tensors = tensor_row([cells[place] for place in self._tensors])
            if self.rows.add(row, tensors):
                self._name_culprit(len(self.rows) - 1, cells)

    def _is_cut_short(self, cells: list[str]) -> bool:
        """Whether the last line, which has no end, may have lost digits of what is taken."""
        return self._width > 1 and (len(cells) < self._width or self._last == self._width - 1)

    def _name_culprit(self, row: int, cells: list[str]) -> None:
        if 0 <= self._culprit < len(cells) and cells[self._culprit]:
            self.rows.culprits[row] = cells[self._culprit].strip()

    def _add_block(self, block: bytes) -> bool:
        """Adds the lines of a block, if it can be read as a whole."""
        if not self._edge:
            return False
        edges = edges_of(block, self._edge, self._width)
        needed = {place for kind, place in self._taken if kind in (NORM, LR)}
        found = edges is not None and numbers_of(
            block, edges, [place for _, place in self._taken], needed
        )
        if edges is None or not found:
            return False
        columns = dict(zip((kind for kind, _ in self._taken), found))
        if np.any(columns[NORM] < 0):
            return False
        if self._action >= 0:
            columns[SKIPPED] = values_of(block, edges, self._action, SKIPPED_BY)
        if self._rate is not None and LR not in columns:
            columns[LR] = np.full(edges.shape[1], self._rate)
        first = len(self.rows)
        self.rows.extend(columns)
        if self._culprit >= 0:
            begin, end = edges[self._culprit] + 1, edges[self._culprit + 1]
            for row in np.flatnonzero(end > begin).tolist():
                name = block[begin[row] : end[row]].decode("utf-8", "replace").strip()
                self.rows.culprits[first + row] = name
        return True


def _commas(source: Source, delimiter: str) -> bool:
    """Whether the table has decimal commas."""
    if delimiter == ",":
        return False
    lines = source.head.decode("utf-8", "replace").splitlines()[:_SAMPLE]
    return has_decimal_commas([cell for line in lines for cell in _cells(line, delimiter)])


def _split(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    if delimiter == " ":
        return map(str.split, lines)
    # A line at a time: a stray quotation mark must not swallow the lines after it.
    return (_cells(line, delimiter) if '"' in line else line.split(delimiter) for line in lines)


def _notes(source: Source, rows: Rows, short: int) -> list[str]:
    notes = []
    if source.cut and short:
        notes.append("the file ends in the middle of a line, which was left out")
        short -= 1
    if short:
        notes.append(f"{short} line(s) have too few cells and were left out")
    without = rows.without_norm - rows.unread
    if without > 0:
        notes.append(f"{without} row(s) have no norm (a blank cell) and were left out")
    if source.too_long:
        notes.append(f"{source.too_long} line(s) are longer than 4 MiB and were left out")
    return notes


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in islice(names, 12))
    return shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")
