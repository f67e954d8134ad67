"""A number is read whole, however it is written, or it is counted as not read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from log_norms import same

from gradclip._advise.readers.numbers import decimal_comma, has_decimal_commas, number, step_number

WRITTEN = {
    "1.5": 1.5, "12,345": 12345.0, "1,234,567.5": 1234567.5, "12.3K": 12300.0, "4M": 4e6,
    "1.5G": 1.5e9, "2B": 2e9, "np.float64(1.5)": 1.5, "tensor(2.5, device='cuda:0')": 2.5,
    "tensor([2.5])": 2.5, "Array(1.5, dtype=float32)": 1.5, "1.5.": 1.5, "nan": math.nan,
    "inf": math.inf, "-1e-3": -1e-3, "'0.25'": 0.25,
}  # fmt: skip


@pytest.mark.parametrize("text", WRITTEN)
def test_a_number_is_read_however_it_is_written(log, text):
    assert same([number(text)], [WRITTEN[text]])
    if not text.startswith(("-", "'")):
        found = log(f"step 1 grad_norm: 1.0\nstep 2 grad_norm: {text}\nstep 3 grad_norm: 2.0\n")
        assert same(found.norm, [1.0, WRITTEN[text], 2.0]) and found.unread == 0


@pytest.mark.parametrize("text", ["12,3456", "1.2.3", "1_5", "0,5", "12,34", "big", "1e", "5x", "3-4"])
def test_what_is_no_number_is_counted_and_no_part_of_it_is_taken(log, text):
    found = log(f"step 1 grad_norm: 1.0\nstep 2 grad_norm: {text}\nstep 3 grad_norm: 2.0\n")
    assert found.norm.tolist() == [1.0, 2.0]
    assert found.unread == 1 and text[:4] in found.notes[0]
    assert "1 row(s) hold a norm that could not be read" in found.notes[0]


@pytest.mark.parametrize("text", ["N/A", "", "None", "-"])
def test_a_blank_is_no_norm_but_nothing_unread(log, text):
    found = log(f"step,grad_norm\n1,1.0\n2,{text}\n3,2.0\n")
    assert found.norm.tolist() == [1.0, 2.0] and found.unread == 0
    assert "a blank cell" in found.notes[0]


def test_words_in_a_table_are_counted(log):
    found = log("step,grad_norm\n1,1.0\n2,12 apples\n3,2.0\n")
    assert found.unread == 1 and "12 apples" in found.notes[0]


def test_a_step_of_so_many():
    assert step_number("5/2000") == 5 and step_number("7") == 7 and step_number("a/b") is None


def test_decimal_commas_where_they_cannot_be_anything_else(log):
    assert decimal_comma("1.234,5") == 1234.5 and decimal_comma("2,2076") == 2.2076
    assert not has_decimal_commas(["1,234", "12.5"])
    rng = np.random.default_rng(1)
    norms = [round(float(x), 4) for x in rng.lognormal(0, 1, 200)]
    lines = [f"{i};2,5;{norm}".replace(".", ",") for i, norm in enumerate(norms)]
    found = log("step;loss;grad_norm\n" + "\n".join(lines) + "\n")
    assert found.norm.tolist() == norms and set(found.loss.tolist()) == {2.5}
    assert found.step.tolist() == list(range(200))


def test_minus_one_is_deepspeeds_overflow(log):
    found = log("step,grad_norm\n1,1.0\n2,-1\n3,2.0\n4,-2.0\n")
    assert same(found.norm, [1.0, math.inf, 2.0])
    assert any("DeepSpeed" in note for note in found.notes)
    assert any("1 row(s) hold a negative number" in note for note in found.notes)


def test_commas_in_lines_of_text_make_no_table(log):
    found = log("".join(f"step {i:,} | loss 2.5 | grad norm {15000 + i:,.1f} | lr 1e-3\n" for i in range(990, 1010)))
    assert found.norm.tolist() == [15000.0 + i for i in range(990, 1010)]
    assert found.step.tolist() == list(range(990, 1010))
