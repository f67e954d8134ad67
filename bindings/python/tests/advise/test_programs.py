"""Logs of programs that people have: every norm is found, and none that is not there."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_norms import same
from programs import PROGRAMS

from gradclip._advise.log import LogError
from gradclip._advise.readers import read

BY_NAME = pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)


def test_there_are_forty_programs():
    assert len({program.name for program in PROGRAMS}) >= 40


@BY_NAME
def test_every_norm_is_found_once(log, program):
    expected = program.norms()
    found = log(program.log())
    assert same(found.norm, expected) and found.unread == 0
    finite = [norm for norm in expected if math.isfinite(norm)]
    percentiles = np.percentile(found.norm[np.isfinite(found.norm)], [10, 50, 90, 99])
    assert percentiles.tolist() == np.percentile(finite, [10, 50, 90, 99]).tolist()
    if program.numbered:
        assert found.hint == "epoch" or np.all(np.diff(found.step) == 1)
        assert any("resumed" in note for note in found.notes)


@BY_NAME
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_number_comes_out_that_was_not_in_the_log(program, data):
    """Whatever lines are cut, doubled or put elsewhere."""
    seed = data.draw(st.integers(0, 5))
    head, *lines = program.log(seed).splitlines(keepends=True)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["cut", "double", "move", "drop", "halve"]))
        if change == "cut":
            lines[place] = lines[place][: data.draw(st.integers(0, len(lines[place])))]
        elif change == "halve":  # the end of the file is lost
            del lines[max(1, place) :]
            lines[-1] = lines[-1][: data.draw(st.integers(0, len(lines[-1])))]
        elif change == "double":
            lines.insert(place, lines[place])
        elif change == "move":
            lines.append(lines.pop(place))
        elif len(lines) > 1:
            del lines[place]
    whole = [line if line.endswith("\n") else line + "\n" for line in lines[:-1]] + lines[-1:]
    allowed = {repr(norm) for norm in program.norms(seed)}
    allowed.add("77.5")  # what the end of an epoch has
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.log")
        text = head + "".join(whole)
        path.write_text(text)
        try:
            found = read(str(path))
        except LogError:
            return
    cut = {repr(float(value)) for value in found.norm.tolist()} - allowed
    assert all(_is_written(value, text) for value in cut), (cut, found.format)


def _is_written(value: str, text: str) -> bool:
    """Whether a line that was cut within its number ends there with this one."""
    short = value[:-2] if value.endswith(".0") else value
    return short in text.replace(",", "")


def test_a_directory_above_several_runs_names_them(tmp_path):
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        (tmp_path / run / "metrics.csv").write_text("step,grad_norm\n1,2\n")
    with pytest.raises(LogError, match=r"holds runs: 'first', 'second'.*advise .*first"):
        read(str(tmp_path))


def test_llama_factorys_own_log_is_named(log):
    line = '{"current_steps": 5, "total_steps": 120, "loss": 2.5, "lr": 1e-05, "percentage": 4.17}\n'
    with pytest.raises(LogError, match=r"LLaMA-Factory's trainer_log.jsonl.*read trainer_state.json beside it"):
        log(line * 3)


def test_tensorboards_json_download(log):
    found = log("[[1700000000.5, 1, 2.5], [1700000001.5, 2, NaN], [1700000002.5, 3, 1.5]]")
    assert same(found.norm, [2.5, math.nan, 1.5]) and found.step.tolist() == [1, 2, 3]
