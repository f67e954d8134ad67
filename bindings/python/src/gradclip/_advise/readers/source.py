"""A file or standard input, read once from front to back in bounded memory."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO, Callable

from ..log import LogError

HEAD = 1 << 16
LONGEST = 1 << 22  # bytes of a line; a longer one is left out
_BUFFER = 1 << 20
_BLOCK = 1 << 20

# Called with the bytes read so far, now and then.
Progress = Callable[[int], None]


class _Chained(io.RawIOBase):
    """What has been read of a stream already, and then the rest of it."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        if self._head:
            count = min(len(self._head), len(into))
            into[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        chunk = self._rest.read(len(into))
        into[: len(chunk)] = chunk
        return len(chunk)


class Source:
    """The bytes of a log: `head`, its first 64 KiB, and then lines() or read().

    After lines() has come to its end, `too_long` is how many lines were left out for
    their length, and `cut` whether the last line has no end.
    """

    def __init__(
        self, path: str, progress: Progress | None = None, loss: str | None = None
    ) -> None:
        self.loss = loss  # the name of its column, key or tag, if the user says it
        self.name = "standard input" if path == "-" else os.path.basename(path) or path
        self.size = 0
        self.cut = False
        self.too_long = 0
        self.done = 0
        self._next = _BUFFER
        self._progress = progress or (lambda done: None)
        try:
            raw: BinaryIO = sys.stdin.buffer if path == "-" else open(path, "rb", buffering=_BUFFER)
            if path != "-":
                self.size = os.fstat(raw.fileno()).st_size
            self.head = _fully(raw, HEAD)
        except OSError as error:
            raise LogError(f"{path} cannot be read: {error.strerror or error}") from error
        self._raw = raw
        self._file = io.BufferedReader(_Chained(self.head, raw), _BUFFER)

    def close(self) -> None:
        if self._raw is not sys.stdin.buffer:
            self._raw.close()

    def read(self, count: int) -> bytes:
        """The next count bytes, or fewer at the end.

        Memory is taken for what is there, not for what count says.
        """
        if count <= _BUFFER:
            chunk = self._file.read(count)
        else:
            chunk = b"".join(self._pieces(count))
        self._advance(len(chunk))
        return chunk

    def _pieces(self, count: int) -> Iterator[bytes]:
        while count > 0:
            piece = self._file.read(min(count, _BUFFER))
            if not piece:
                return
            count -= len(piece)
            yield piece

    def lines(self) -> Iterator[str]:
        """The lines without their ends; bytes that are not UTF-8 are replaced."""
        readline = self._file.readline
        while True:
            line = readline(LONGEST)
            if not line:
                return
            self.done += len(line)
            if self.done >= self._next:
                self._tell()
            self.cut = line[-1] != 10  # a line feed
            if self.cut and len(line) == LONGEST:
                self.too_long += 1
                self._skip_line()
                continue
            if self.done == len(line) and line.startswith(b"\xef\xbb\xbf"):
                line = line[3:]
            yield line_of(line)

    def blocks(self) -> Iterator[bytes]:
        """The rest in blocks of whole lines. After the last one `cut` says
        whether its last line has no end."""
        while True:
            block = self._file.read(_BLOCK)
            if not block:
                return
            if block[-1] != 10:
                block += self._file.readline(LONGEST)
            begin = block.rfind(b"\n", 0, -1) + 1
            too_long = len(block) - begin > LONGEST
            self._advance(len(block))
            if too_long:
                self.too_long += 1
                if block[-1] != 10:
                    self._skip_line()
                block = block[:begin]
            self.cut = bool(block) and block[-1] != 10
            if block:
                yield block

    def _skip_line(self) -> None:
        while True:
            part = self._file.readline(LONGEST)
            self._advance(len(part))
            if not part or part.endswith(b"\n"):
                self.cut = not part
                return

    def _advance(self, count: int) -> None:
        self.done += count
        if self.done >= self._next:
            self._tell()

    def _tell(self) -> None:
        self._next = self.done + _BUFFER
        self._progress(self.done)


def line_of(line: bytes) -> str:
    """A line without its end; bytes that are not UTF-8 are replaced."""
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _fully(raw: BinaryIO, count: int) -> bytes:
    """The first count bytes of a stream; a pipe gives them in pieces."""
    parts, have = [], 0
    while have < count:
        part = raw.read(count - have)
        if not part:
            break
        parts.append(part)
        have += len(part)
    return b"".join(parts)
