"""TensorBoard event files: every record, read with tensorboardX's protos. (TensorBoard's own
EventAccumulator keeps 10 000 points of a tag, picked at random.)"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np

from ..extra import require
from ..log import Log, LogError
from ..tensors import largest_of, total_of
from .columns import Columns, choose, role_of
from .crc import masked_crc32c
from .rows import in_order
from .source import Source

_BATCH = 8192
_LARGEST = 1 << 30  # bytes of a record
_CHECKED = 1 << 16  # records up to this are checked; larger ones are images and graphs


def looks_like(head: bytes) -> bool:
    """Whether it begins with a TFRecord's length and the right checksum of that."""
    if len(head) < 12:
        return False
    (told,) = struct.unpack("<I", head[8:12])
    return bool(masked_crc32c([head[:8]])[0] == told)


def read(sources: Sequence[Source], column: str | None, name: str) -> Log:
    """Reads the event files of one run, in the order of their names, which is that of time."""
    event = require("tensorboardX.proto.event_pb2", "reading TensorBoard files").Event
    series: dict[str, tuple[array[float], array[float]]] = {}
    notes: list[str] = []
    for source in sources:
        for batch in _batches(source, notes):
            for record in batch:
                _add(event, record, series, {column, source.loss}, notes)
    for tag, (steps, _) in list(series.items()):
        if not steps:
            del series[tag]
    if not series:
        return Log(
            np.empty(0), source=name, format="TensorBoard events without scalars", notes=notes
        )
    columns = choose(series, column, sources[0].loss)
    if columns.norm is None and not columns.tensors:
        tags = ", ".join(repr(tag[:60]) for tag in list(series)[:12])
        wanted = f"has no tag {column!r}" if column else "has no tag of gradient norms"
        raise LogError(f"{name} {wanted}; its scalars are {tags}: name one with --column")
    return _log(series, columns, name, notes)


def event_files(directory: str) -> list[str]:
    """The event files in a directory, in the order of time."""
    names = sorted(name for name in os.listdir(directory) if "tfevents" in name)
    return [os.path.join(directory, name) for name in names]


# ------------------------------------------------------------------ records --


def _batches(source: Source, notes: list[str]) -> Iterator[list[bytes]]:
    """The data of records whose checksums are right, in batches."""
    data: list[bytes] = []
    headers: list[bytes] = []
    sums: list[int] = []
    ended = False
    while not ended:
        header = source.read(12)
        ended = len(header) < 12
        if not ended:
            length = struct.unpack("<Q", header[:8])[0]
            # The checksum of a length is checked with its batch; one out of bounds at once.
            body = source.read(length + 4) if length <= _LARGEST else b""
            if len(body) < length + 4:
                notes.append(f"{source.name} ends in the middle of a record: read up to there")
                ended = True
            else:
                headers.append(header)
                data.append(body[:-4])
                sums.append(struct.unpack("<I", body[-4:])[0])
        elif header:
            notes.append(f"{source.name} ends in the middle of a record: read up to there")
        if len(data) >= _BATCH or ended:
            good, stop = _checked(headers, data, sums, source.name, notes)
            yield good
            headers, data, sums = [], [], []
            if stop:
                return


def _checked(
    headers: list[bytes], data: list[bytes], sums: list[int], name: str, notes: list[str]
) -> tuple[list[bytes], bool]:
    """The records that are whole, and whether the file cannot be followed further."""
    lengths = masked_crc32c([header[:8] for header in headers])
    told = np.array([struct.unpack("<I", header[8:])[0] for header in headers], dtype=np.uint32)
    wrong = np.flatnonzero(lengths != told)
    stop = len(wrong) > 0
    if stop:
        notes.append(f"{name} is damaged (the length of a record is wrong): read up to there")
        data, sums = data[: int(wrong[0])], sums[: int(wrong[0])]
    small = [i for i, record in enumerate(data) if len(record) <= _CHECKED]
    found = masked_crc32c([data[i] for i in small])
    bad = {i for i, value in zip(small, found.tolist()) if value != sums[i]}
    if bad:
        notes.append(f"{name}: {len(bad)} record(s) are damaged (wrong checksum) and were left out")
    return [record for i, record in enumerate(data) if i not in bad], stop


def _add(
    event: Any,
    record: bytes,
    series: dict[str, tuple[array[float], array[float]]],
    wanted: Container[str | None],
    notes: list[str],
) -> None:
    try:
        parsed = event.FromString(record)
    except Exception:  # protobuf's DecodeError, whose place differs between versions
        if not any("no event" in note for note in notes):
            notes.append("a record is no event and was left out")
        return
    for value in parsed.summary.value:
        tag = value.tag
        kept = series.get(tag)
        if kept is None:
            # A tag of no use has an entry that stays empty.
            kept = series[tag] = (array("d"), array("d"))
        if tag not in wanted and role_of(tag) is None and len(kept[0]):
            continue
        number = _number(value)
        if number is not None:
            kept[0].append(parsed.step)
            kept[1].append(number)


_TENSOR_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}  # DT_FLOAT, ...


def _number(value: Any) -> float | None:
    """A scalar, as `simple_value` or as a tensor of one element; None if it is something else."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return float(value.simple_value)
    if kind != "tensor":
        return None
    tensor = value.tensor
    for field in (tensor.float_val, tensor.double_val, tensor.int_val, tensor.int64_val):
        if len(field) == 1:
            return float(field[0])
    dtype = _TENSOR_TYPES.get(tensor.dtype)
    content = tensor.tensor_content
    if dtype and len(content) == np.dtype(dtype).itemsize:
        return float(np.frombuffer(content, dtype)[0])
    if tensor.dtype == 14 and len(content) == 2:  # DT_BFLOAT16: the upper half of a float32
        return float(np.frombuffer(b"\0\0" + content, "<f4")[0])
    return None


# --------------------------------------------------------------------- rows --


def _log(
    series: dict[str, tuple[array[float], array[float]]],
    columns: Columns,
    name: str,
    notes: list[str],
) -> Log:
    tensors = None
    if columns.norm is not None:
        steps, norms = (np.frombuffer(values, "d") for values in series[columns.norm])
    else:
        first = series[next(iter(columns.tensors))][0]
        steps, norms = np.frombuffer(first, "d"), None
    if columns.tensors:
        table = np.stack([_at(series[tag], steps, -1.0) for tag in columns.tensors])
        tensors = largest_of(table, list(columns.tensors.values()), columns.p)
        norms = total_of(table, columns.p) if norms is None else norms
    assert norms is not None
    others = {
        kind: _at(series[tag], steps, np.nan, before=kind != "loss")
        for kind, tag in columns.others.items()
        if kind in ("learning_rate", "loss", "loss_scale", "batch_size")
    }
    return in_order(
        Log(
            norms,
            step=steps,
            tensors=tensors,
            source=name,
            format="TensorBoard events",
            taken=[word for word in columns.words if not word.startswith("step:")],
            notes=notes,
            after_clipping=columns.after_clipping,
            **others,
        )
    )


def _at(
    one: tuple[array[float], array[float]], steps: Any, missing: float, before: bool = False
) -> Any:
    """The values of a tag at steps: of the same step, or of the last one before."""
    own, values = np.frombuffer(one[0], "d"), np.frombuffer(one[1], "d")
    order = np.argsort(own, kind="stable")
    own, values = own[order], values[order]
    place = np.searchsorted(own, steps, side="right") - 1
    found = np.where(place >= 0, values[place], missing)
    return found if before else np.where(own[place] == steps, found, missing)
