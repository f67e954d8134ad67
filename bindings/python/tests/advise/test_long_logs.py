"""A table that is read in blocks says what it says read by its cells."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_norms import same

from gradclip._advise.log import Log
from gradclip._advise.readers import column, read, source
from gradclip._advise.readers.blocks import edges_of, numbers_of
from gradclip._advise.readers.column import Column

CELLS = st.one_of(
    st.floats(width=64).map(repr), st.floats(width=32).map(lambda x: f"{x:.6g}"),
    st.integers(-5, 10**18).map(str), st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"-?[0-9]{0,9}\.[0-9]{1,9}", fullmatch=True), st.from_regex(r"[0-9]{1,17}\.?", fullmatch=True),
    st.sampled_from(["1.", ".5", "-1", "+2", "1e-05", "nan", "inf", "0.30000000000000004", "007"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=20))
def test_numbers_of_a_block_are_those_of_float(rows):
    block = "".join(f"{a},x,{b}\n" for a, b in rows).encode()
    edges = edges_of(block, ",", 3)
    assert edges is not None
    found = numbers_of(block, edges, [0, 2], {0, 2})
    assert found is not None
    for numbers, cells in zip(found, zip(*rows)):
        assert same(numbers, [float(cell) for cell in cells])


@pytest.mark.parametrize("row", ["1,x,", "1,x,abc", "1,x,1.2.3", "1,x,.", "1,x,5-", "1,x,0x1", "1,x,--1", "1,x,.234567.", "1,x,-"])
def test_a_block_with_what_is_no_number_is_read_by_its_cells(row):
    block = f"1,x,2.5\n{row}\n".encode()
    edges = edges_of(block, ",", 3)
    assert edges is not None and numbers_of(block, edges, [0, 2], {0, 2}) is None


@pytest.mark.parametrize("block", ["1,2\n1\n", "1,2\n1,2,3\n", '"1",2\n', "1,2\r\n", "1,2\n3,4", "1,2\n\n3,4\n"])
def test_a_block_with_unequal_lines_has_no_columns(block):
    assert edges_of(block.encode(), ",", 2) is None


def test_blocks_with_and_without_numbers_follow_each_other(log, monkeypatch):
    monkeypatch.setattr(source, "_BLOCK", 1000)
    monkeypatch.setattr(source, "HEAD", 1000)
    cells = [f"{1 + i % 7 / 8}" for i in range(2000)]
    cells[700], cells[1300], cells[1999] = "12,3456", "nan", ""
    text = "".join(f'{i},"{c}",0.1,w{i}\n' if "," in c else f"{i},{c},0.1,\n" for i, c in enumerate(cells))
    found = log("step,grad_norm,lr,first_tensor\n" + text)
    wanted = {i: float(c) for i, c in enumerate(cells) if c and "," not in c}
    assert same(found.norm, list(wanted.values())) and found.step.tolist() == list(wanted)
    assert found.learning_rate.tolist() == [0.1] * 1998 and found.unread == 1


def test_names_of_tensors_are_found_in_blocks(log):
    rows = "".join(f"{i},{'nan' if i == 5 else 1.5},{'head.weight' if i == 5 else ''},0\n" for i in range(9))
    found = log("step,grad_norm,first_tensor,x\n" + rows)
    assert found.culprits == {5: "head.weight"} and math.isnan(found.norm[5])


def test_blanks_and_actions_in_blocks(log):
    """A chooser's threshold is blank in its first steps, and a loss may be."""
    rows = ["0,1.5,,,pass", "1,2.5,2.0,0.7,clip", "2,3.5,2.0,,skip"]
    found = log("step,grad_norm,threshold,loss,action\n" + "\n".join(rows) + "\n")
    assert same(found.max_norm, [math.nan, 2.0, 2.0]) and found.skipped.tolist() == [0, 0, 1]
    assert same(found.loss, [math.nan, np.float32(0.7), math.nan]) or same(found.loss, [math.nan, 0.7, math.nan])


PIECES = {
    "even": [[1, 2, 3], [4, 5], [6, 7]],
    "equal": [[0.1, 0.1], [0.1, 0.1, 0.1]],
    "nothing": [[math.nan] * 3, [math.nan] * 2],
    "not quite": [[1, 2, 3], [4, 6], [7, 8]],
    "infinite": [[math.inf, math.inf], [1, 2]],
    "large": [[1.5, 2.5], [1e300, 1e-300], [3, 4]],
    "one": [[1], [2, 3], [4]],
}


@pytest.mark.parametrize("long", [2, 4, 10**6])
@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
def test_a_column_holds_what_it_is_given(pieces, long, monkeypatch):
    monkeypatch.setattr(column, "LONG", long)
    one = Column("d")
    for piece in pieces:
        one.extend(np.array(piece, float))
    one.tail.append(7.0)
    wanted = [*(x for piece in pieces for x in piece), 7.0]
    assert len(one) == len(wanted)
    assert np.allclose(one.values(), wanted, rtol=1e-7, atol=0, equal_nan=True)


def test_a_long_log_is_read_and_judged_in_little_memory(tmp_path, monkeypatch):
    """4 bytes a number, and no more than a few arrays of them at a time."""
    from gradclip._advise import advise_log, long

    monkeypatch.setattr(column, "LONG", 50_000)
    monkeypatch.setattr(long, "ENOUGH", 20_000)
    monkeypatch.setattr(source, "_BLOCK", 1 << 16)
    rows = 400_000
    norms = np.exp(0.3 * np.random.default_rng(0).standard_normal(10_000)).round(5).tolist()
    path = tmp_path / "run.csv"
    with path.open("w") as file:
        file.write("step,grad_norm,clip_coef,learning_rate,loss\n")
        for begin in range(0, rows, 10_000):
            file.write("".join(f"{begin + i},{n},1,0.1,{n}\n" for i, n in enumerate(norms)))
    advise_log(Log(np.ones(200)))  # imports what it needs
    tracemalloc.start()
    try:
        log = read(str(path))
        advice = advise_log(log)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert advice.rows == rows and advice.verdict == "steady" and advice.every
    assert advice.percentiles["p50"] == pytest.approx(float(np.median(norms)), rel=1e-6)
    assert isinstance(log.step, range) and log.step_of(rows - 1) == rows - 1
    assert peak < 14 * rows + 5e6, peak  # which is for parts of a fixed size
