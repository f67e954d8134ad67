"""Logs from anywhere, by hypothesis: advice or one clear line, in bounded memory and time.

GRADCLIP_EXAMPLES is how many examples each property gets (100); for a long run
GRADCLIP_EXAMPLES=100000 python -m pytest tests/advise/test_fuzzed_logs.py.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import tempfile
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradclip._advise.readers.crc import masked_crc32c
from gradclip._cli import main

EXAMPLES = int(os.environ.get("GRADCLIP_EXAMPLES", "100"))
fuzzed = settings(max_examples=EXAMPLES, deadline=None)


def advised(data, *options, is_measured=True):
    """What `gradclip advise` returns for a file with these bytes; its words, its time and, if
    that is measured, its memory are looked at."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "log")
        with open(path, "wb") as file:
            file.write(data)
        out, err = io.StringIO(), io.StringIO()
        if is_measured:
            tracemalloc.start()
        began = time.process_time()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main(["advise", path, "--json", *options])
        finally:
            took = time.process_time() - began
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert took < 200, f"{took} s for {len(data)} bytes"  # for what never ends: none takes a second
    assert peak < 40e6 + 20 * len(data), f"{peak} bytes for {len(data)} of the file"
    assert status in (0, 1, 2)
    if status == 2:
        text = err.getvalue()
        assert text.startswith("gradclip: ") and text.count("\n") == 1 and len(text) < 2000
        assert out.getvalue() == ""
    else:
        assert json.loads(out.getvalue())["rows"] >= 0
    return status


NAMES = [
    "step", "grad_norm", "grad_norm/layer.0", "total_norm", "norm", "lr", "learning_rate", "loss",
    "epoch", "loss_scale", "global_batch_size", "first_tensor", "nonfinite_count", "iteration",
    "train/grad_norm", "log_history", "_step", "x",
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "1.5", "1e-45", "1e308", "1e999", "nan", "inf", "-inf", "NaN", "Infinity",
    "9" * 400, "0x10", "1_000", "\u0661", "1e", "tensor(2.5)", "",
]  # fmt: skip
number = st.sampled_from(NUMBERS) | st.floats().map(str) | st.integers(-10, 10**18).map(str)
word = st.sampled_from(NAMES) | st.text(max_size=4)
piece = st.one_of(
    word, number,
    st.sampled_from([
        " ", ",", "\t", ";", "|", ":", "=", "\n", "\r", "\r\n", "[", "]", "{", "}", '"', "'", "#",
        "\0", "\ufeff", "\x1b[0m", "\\", "\\ud800", "null", "true", "step 1/9 | loss 1 | norm ",
        "iteration 1/ 9 | grad norm: ", "{'loss': 1, 'grad_norm': ", "Epoch(train) [1][1/2] ",
        "step: 1 loss: 2 grad_norm: ", "gnorm=", "[1, 2, ", '{"log_history": [', "2024-01-01 ",
    ]),
)  # fmt: skip


@fuzzed
@given(st.lists(piece, max_size=60).map("".join), st.sampled_from([(), ("--column", "grad_norm")]))
def test_text_of_pieces(text, options):
    advised(text.encode("utf-8", "surrogatepass"), *options)


@fuzzed
@given(st.lists(word, min_size=1, max_size=6), st.sampled_from(",\t; "), st.data())
def test_tables(header, delimiter, data):
    rows = data.draw(st.lists(st.lists(number, max_size=len(header) + 1), max_size=30))
    lines = [delimiter.join(header), *(delimiter.join(row) for row in rows)]
    advised("\n".join(lines).encode("utf-8", "surrogatepass"))


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | number
    | st.sampled_from([10**400, -(10**400), 2**63, 1e308])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(word, inner, max_size=4),
    max_leaves=12,
)
records = st.lists(
    st.dictionaries(st.sampled_from(NAMES), scalars | values, max_size=5) | values, max_size=12
)


@fuzzed
@given(records, st.integers(0, 3), st.integers(0, 40))
def test_documents_and_lines_of_json(rows, form, cut):
    if form == 0:
        text = json.dumps({"log_history": rows})
    elif form == 1:
        text = json.dumps(rows)
    elif form == 2:
        text = "\n".join(map(json.dumps, rows))
    else:
        text = json.dumps({name: rows for name in NAMES[:6]})
    data = text.encode()
    advised(data[: len(data) - cut] if cut < 20 else data)


def event_record(body):
    length = struct.pack("<Q", len(body))
    sums = [struct.pack("<I", int(masked_crc32c([part])[0])) for part in (length, body)]
    return length + sums[0] + body + sums[1]


def field(tag, kind, body):
    """One field of protobuf: a varint, 8 or 4 bytes, or a length and bytes."""
    head = bytes([tag << 3 | kind])
    return head + (bytes([len(body)]) if kind == 2 else b"") + body


@st.composite
def events(draw):
    """Bodies as an Event has them (step 2, summary 5, value 1: tag 1, simple_value 2, tensor 8)."""
    tag = draw(st.sampled_from(NAMES) | st.text(max_size=5)).encode("utf-8", "surrogatepass")[:100]
    value = draw(
        st.floats(width=32).map(lambda x: field(2, 5, struct.pack("<f", x)))
        | st.binary(max_size=20).map(lambda x: field(8, 2, x))
        | st.binary(max_size=20)
    )
    step = draw(st.binary(min_size=1, max_size=9))  # made a varint
    step = bytes(byte | 128 for byte in step[:-1]) + bytes([step[-1] & 127])
    body = field(2, 0, step) + field(5, 2, field(1, 2, field(1, 2, tag[:50]) + value)[:120])
    return draw(st.sampled_from([body, body, body, draw(st.binary(max_size=40))]))


@fuzzed
@given(st.lists(events(), min_size=1, max_size=10), st.data())
def test_event_files(bodies, data):
    whole = bytearray(b"".join(map(event_record, bodies)))
    for _ in range(data.draw(st.integers(0, 2))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    end = data.draw(st.just(len(whole)) | st.integers(0, len(whole)))
    advised(bytes(whole[:end]))


def test_the_length_of_a_record_takes_no_memory():
    """A file of 16 bytes that says a gigabyte follows, with the right checksum."""
    length = struct.pack("<Q", 1 << 30)
    advised(length + struct.pack("<I", int(masked_crc32c([length])[0])) + b"1234")


@fuzzed
@given(st.binary(max_size=400))
def test_bytes(data):
    advised(data)


OVER_AND_OVER = [
    "iteration 1/ 1 | ", "{'loss': ", "step 1/1 | loss 1 ", "step:1 loss:", "Iter(train) [",
    "grad_norm", "max_", "1.", "[", "(", '"', ",", "\x1b[0", "lr ", "\r",
]  # fmt: skip
BLANKS = ["norm", "gnorm", "step", "iteration", "lr", "loss", "Epoch", "iteration 1/", "["]


@pytest.mark.parametrize("unit", [*OVER_AND_OVER, *(word + " " for word in BLANKS)])
@pytest.mark.parametrize("before", ["", "grad_norm: 1 "])
def test_no_line_takes_long(unit, before):
    """Regular expressions that look from each place of a line to its end took hours for 4 MiB."""
    size = 100_000
    line = unit + " " * size if unit[:-1] in BLANKS else unit * (size // len(unit))
    advised((before + line + "x\n").encode(), is_measured=False)
