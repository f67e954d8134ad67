"""Reads the logs that people have. What a file is, its content tells, not its name."""

from __future__ import annotations

import os
import re

from ..log import Log, LogError
from . import delimited, json_document, json_lines, tensorboard, text
from .source import Progress, Source

# A list of records or numbers; "[2024-01-01 ..." and "[INFO]" are text.
_JSON_LIST = re.compile(
    r"\s*\[\s*(?:\{|\]|\[\s*[\d.e+]+\s*,\s*\d+\s*,|(?:-?[\d.]+(?:e[-+]?\d+)?|NaN|-?Infinity|null)\s*(?:,|\]\s*$))", re.I
)
_TAG = re.compile(r"\s*\[[^\[\]{}\n]*\][ \t]*\S")  # "[1,0]<stdout>: step ..." of mpirun
_JSON_OBJECT = re.compile(r'\s*\{\s*(?:"|\}|$)')
_IN_DIRECTORY = ("trainer_state.json", "vis_data/scalars.json", "scalars.json", "metrics.csv")
_SAVED = {
    b"\x93NUMPY": "a NumPy array",
    b"PK\x03\x04": "a zip archive (.npz, .pt)",
    b"\x80\x02": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}


def read(
    path: str,
    column: str | None = None,
    pattern: str | None = None,
    progress: Progress | None = None,
    loss: str | None = None,
) -> Log:
    """Reads a log.

    Args:
        path: a file; a directory with event files, or with one of the usual logs; "-"
            for standard input.
        column: the name (without a header the number) of the norm's column, key or tag.
        pattern: a regular expression for lines of text, see text.read_pattern.
        loss: the name of the loss's column, key or tag.
        progress: called with the bytes read so far.

    Raises:
        LogError: what the file is, why it cannot be read, and what to do.
    """
    if path != "-" and os.path.isdir(path):
        return _directory(path, column, pattern, progress, loss)
    source = Source(path, progress, loss)
    try:
        return _file(source, column, pattern)
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error.strerror or error}") from error
    finally:
        source.close()


def _file(source: Source, column: str | None, pattern: str | None) -> Log:
    head = source.head
    if tensorboard.looks_like(head):
        return tensorboard.read([source], column, source.name)
    _refuse(source.name, head)
    if pattern is not None:
        return text.read_pattern(source, pattern)
    start = head.decode("utf-8", "replace").lstrip("\ufeff")
    if json_lines.looks_like(start):
        return json_lines.read(source, column)
    if (_JSON_LIST.match(start) and not _TAG.match(start)) or _JSON_OBJECT.match(start):
        return json_document.read(source, column)
    if delimited.looks_like(start) or (column is not None and "," in start.partition("\n")[0]):
        return delimited.read(source, column)
    return text.read(source)


def _refuse(name: str, head: bytes) -> None:
    """Files that are certainly no logs."""
    for magic, what in _SAVED.items():
        if head.startswith(magic):
            raise LogError(f"{name} is {what}, not a log: gradclip inspect reads saved gradients")
    if head.startswith(b"\x1f\x8b"):
        raise LogError(f"{name} is compressed: zcat it to `gradclip advise -`")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LogError(f"{name} is UTF-16 text: convert it with iconv -f utf-16 -t utf-8")
    controls = sum(byte < 9 or 13 < byte < 27 for byte in head[:4096])
    if controls > len(head[:4096]) // 20:
        raise LogError(
            f"{name} is binary, and no TensorBoard event file: no log that could be read"
        )


def _directory(
    path: str,
    column: str | None,
    pattern: str | None,
    progress: Progress | None,
    loss: str | None,
) -> Log:
    files = tensorboard.event_files(path)
    if files:
        sources = [Source(file, progress, loss) for file in files]
        try:
            return tensorboard.read(sources, column, os.path.basename(os.path.abspath(path)))
        finally:
            for source in sources:
                source.close()
    for name in _IN_DIRECTORY:
        if os.path.isfile(os.path.join(path, name)):
            return read(os.path.join(path, name), column, pattern, progress, loss)
    runs = [name for name in sorted(os.listdir(path)) if _is_run(os.path.join(path, name))]
    if runs:
        shown = ", ".join(repr(name) for name in runs[:5])
        more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
        raise LogError(
            f"{path} holds runs: {shown}{more}: name one, as in "
            f"`gradclip advise {os.path.join(path, runs[0])}`"
        )
    raise LogError(
        f"{path} is a directory that holds neither event files nor {', '.join(_IN_DIRECTORY)}: "
        "name the log itself"
    )


def _is_run(path: str) -> bool:
    """Whether it is a directory that read() reads."""
    if not os.path.isdir(path):
        return False
    return bool(tensorboard.event_files(path)) or any(
        os.path.isfile(os.path.join(path, name)) for name in _IN_DIRECTORY
    )
