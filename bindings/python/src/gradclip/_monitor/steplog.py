"""A line for every step, in a file that survives a crash and that a resumed run goes on with."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .._json import plain
from .history import Entry

COLUMNS = Entry._fields
_BEFORE_CHOOSERS = COLUMNS[:8]  # what logs had that are older than the columns of choosers


class StepLog:
    """Appends lines to a file: CSV, or JSON lines if its name ends in .jsonl or .ndjson.

    Each line goes to the operating system in one write as soon as its step is over: a
    program that is killed loses none (a machine that loses power may). A file that is
    there already must be such a log: `entries` reads back what it has, and after `open` the
    next ones follow, with the columns that the file has. A last line without an end, which only a
    crash leaves, is removed then.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"log must be the name of a file (got {path!r})")
        self.path = os.fspath(path)
        self._json = self.path.endswith((".jsonl", ".ndjson"))
        if not self._json and not self.path.endswith(".csv"):
            raise ValueError(
                f"log must be the name of a .csv, .jsonl or .ndjson file (got {self.path!r})"
            )
        self._file: io.FileIO | None = None
        self._columns: tuple[str, ...] = COLUMNS
        if self._is_there():
            self._check()

    def entries(self) -> Iterator[Entry]:
        """The entries that the file has, oldest first.

        Raises:
            ValueError: a line is none.
        """
        if not self._is_there():
            return
        with open(self.path, encoding="utf-8", newline="") as file:
            lines = (line for line in file if line.endswith("\n"))
            if self._json:
                for number, line in enumerate(lines, 1):
                    yield self._read(number, line)
            else:
                reader = csv.reader(lines)
                next(reader, None)
                for fields in reader:
                    yield self._read(reader.line_num, fields)

    def open(self) -> None:
        """Makes the file ready for the next entry; it is made if it is not there."""
        self._file = open(self.path, "ab", buffering=0)
        complete = _complete(self.path)
        os.truncate(self.path, complete)
        if not complete and not self._json:
            self._write(_csv(self._columns))

    def write(self, entry: Entry) -> None:
        if self._json:
            line = plain(dict(zip(self._columns, entry)))
            self._write(json.dumps(line, allow_nan=False) + "\n")
        else:
            self._write(_csv(entry[: len(self._columns)]))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        # Nothing waits to be written, so a program need not close a log before it ends.
        if getattr(self, "_file", None) is not None:
            self.close()

    def _write(self, line: str) -> None:
        if self._file is None:
            raise ValueError(f"the log {self.path!r} is closed")
        data = line.encode("utf-8")
        written = self._file.write(data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes could be written")

    def _is_there(self) -> bool:
        return os.path.exists(self.path) and os.path.getsize(self.path) > 0

    def _read(self, number: int, line: Any) -> Entry:
        try:
            if self._json:
                found = json.loads(line)
                return _entry(found.get(name) for name in self._columns)
            if len(line) != len(self._columns):
                raise ValueError(f"it must have {len(self._columns)} fields, and has {len(line)}")
            return _entry(line)
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"log: line {number} of {self.path!r} is no row of a Monitor's log, and the file "
                f"is left alone: {error} (got {line!r:.80})"
            ) from None

    def _check(self) -> None:
        with open(self.path, encoding="utf-8", errors="replace", newline="") as file:
            first = file.readline(1 << 16)
        if self._json:
            try:
                found = json.loads(first)
            except ValueError:
                found = None
            fits = isinstance(found, dict) and {"step", "grad_norm"} <= found.keys()
            if fits and "action" not in found:
                self._columns = _BEFORE_CHOOSERS
        else:
            plain = first.replace("\r", "")
            if plain == _csv(_BEFORE_CHOOSERS):
                self._columns = _BEFORE_CHOOSERS
            header = _csv(self._columns)
            # Without an end it may have been cut off.
            fits = plain == header or ("\n" not in first and header.startswith(first))
        if not fits:
            raise ValueError(
                f"log: {self.path!r} is there already and was not written by a Monitor; "
                f"it is left alone (its first line is {first[:80]!r})"
            )


def _complete(path: str) -> int:
    """How many bytes of a file are lines with an end."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def _csv(fields: tuple[Any, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(
        [
            "" if field is None else repr(field) if isinstance(field, float) else field
            for field in fields
        ]
    )
    return line.getvalue()


# What each cell is read with, and whether it may be blank (in JSON: null).
_READ: tuple[tuple[Callable[[Any], Any], bool], ...] = (
    (int, False), (float, False), (float, False), (float, True), (float, True), (int, True),
    (str, True), (int, True), (float, True), (str, True),
)  # fmt: skip


def _entry(cells: Iterable[Any]) -> Entry:
    """The entry that a line says, of text, or of what JSON has ("NaN" is a number in both)."""
    values: list[Any] = [
        None if may_be_blank and cell in ("", None) else read(cell)
        for (read, may_be_blank), cell in zip(_READ, cells)
    ]
    return Entry(*values)
