"""The adviser on logs of real runs: those of the detector in examples/data.

Each verdict is what a person who knows how the run went would say of it.
"""

import csv
import math
import statistics
from pathlib import Path

import pytest

pytest.importorskip("numpy")

import gradclip  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "examples" / "data"
PILOTS = sorted(DATA.glob("fcos-seed?-x1-none.csv"))
LOST = sorted(DATA.glob("fcos-seed?-x100-none.csv"))


def advice_on(path, **options):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {"steps": "step", "learning_rate": "learning_rate", "loss": "loss"}
    given = {name: [float(row[column]) for row in rows] for name, column in columns.items()}
    given["steps"] = list(map(int, given["steps"]))
    norms = [float(row["grad_norm"]) for row in rows]
    return norms, gradclip.advise(norms, **given, **options)


def test_the_logs_are_there():
    assert PILOTS and LOST


@pytest.mark.parametrize("path", PILOTS, ids=lambda path: path.stem)
def test_a_pilot_is_steady_and_answers_for_the_next_rate(path):
    norms, advice = advice_on(path, next_lr=0.2, optimizer="sgd")
    assert advice.verdict == "steady" and advice.nan == advice.inf == 0
    assert advice.learning_rate == 0.002
    by_intent = {one.intent: one.max_norm for one in advice.recommendations}
    rule = 0.002 * statistics.median(norms) / 0.2
    assert by_intent["next rate"] == advice.max_norm == pytest.approx(3 * rule, rel=0.05)
    assert by_intent["next rate, shorter steps"] == pytest.approx(rule, rel=0.05)
    ordered = sorted(norms)
    assert ordered[293] <= advice_on(path)[1].max_norm <= ordered[298]


@pytest.mark.parametrize("path", LOST, ids=lambda path: path.stem)
def test_a_run_that_ended_in_nan_has_diverged_and_wants_a_pilot(path):
    norms, advice = advice_on(path)
    assert math.isnan(norms[-1])
    assert advice.verdict == "diverged" and advice.first_nonfinite == len(norms)
    assert advice.lost and advice.max_norm is None and advice.answer_lr == pytest.approx(0.02)
    assert "pilot run at lr 0.02" in advice.next


def test_a_run_by_the_rule_is_told_that_it_takes_normalised_steps():
    _, advice = advice_on(DATA / "fcos-seed1-x100-rule.csv", max_norms=[0.063])
    (asked,) = (one for one in advice.what_if if one.max_norm == 0.063)
    assert asked.regime == "normalised step" and asked.clipped == 1.0
