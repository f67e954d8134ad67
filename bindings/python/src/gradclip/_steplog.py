"""A line for every step, in a file that survives a crash and that a resumed run goes on with."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import Any

from ._history import Row

COLUMNS = Row._fields


class StepLog:
    """Appends rows to a file: CSV, or JSON lines if its name ends in .jsonl or .ndjson.

    Each line goes to the operating system in one write as soon as its step is over: a
    program that is killed loses none (a machine that loses power may). A file that is
    there already must be such a log; of its rows, `rows` are read back, and the next
    ones follow. A last line without an end, which only a crash leaves, is removed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._json = self.path.endswith((".jsonl", ".ndjson"))
        if not self._json and not self.path.endswith(".csv"):
            raise ValueError(
                f"log must be the name of a .csv, .jsonl or .ndjson file (got {self.path!r})"
            )
        self._file: io.FileIO | None = None
        is_new = not os.path.exists(self.path) or not os.path.getsize(self.path)
        if not is_new:
            self._check()
        self._file = open(self.path, "ab", buffering=0)
        if is_new:
            if not self._json:
                self._write(_csv(COLUMNS))
        else:
            os.truncate(self.path, _complete(self.path))

    def rows(self) -> Iterator[Row]:
        """The rows that the file has, oldest first."""
        with open(self.path, encoding="utf-8", newline="") as file:
            if self._json:
                for line in file:
                    found = json.loads(line)
                    yield Row(*(found.get(name) for name in COLUMNS))
            else:
                reader = csv.reader(file)
                next(reader, None)
                for fields in reader:
                    yield _row(fields)

    def write(self, row: Row) -> None:
        if self._json:
            self._write(json.dumps(row._asdict()) + "\n")
        else:
            self._write(_csv(row))

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

    def _check(self) -> None:
        with open(self.path, encoding="utf-8", errors="replace", newline="") as file:
            first = file.readline(1 << 16)
        if self._json:
            try:
                found = json.loads(first)
            except ValueError:
                found = None
            fits = isinstance(found, dict) and {"step", "grad_norm"} <= found.keys()
        else:
            fits = tuple(first.rstrip("\r\n").split(",")) == COLUMNS
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


def _row(fields: list[str]) -> Row:
    step, norm, coef, rate, loss, count, tensor, element = fields
    return Row(
        int(step),
        float(norm),
        float(coef),
        float(rate) if rate else None,
        float(loss) if loss else None,
        int(count),
        tensor or None,
        int(element) if element else None,
    )
