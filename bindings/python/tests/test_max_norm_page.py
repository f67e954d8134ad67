"""docs/choosing-max-norm.md: its tables are those of examples/data, and these of the logs there."""

import importlib
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "bindings" / "python" / "examples"
DATA = EXAMPLES / "data"
PAGE = (ROOT / "docs" / "choosing-max-norm.md").read_text(encoding="utf-8")
README = (DATA / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def rule():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("max_norm_rule")


@pytest.fixture(scope="module")
def results(rule):
    return rule.read_results(DATA / "max_norm.csv")


def test_the_tables_of_the_page_are_those_of_the_results(rule, results):
    for table, page in ((rule.summary(results), README), (rule.details(results, "fcos"), PAGE)):
        assert len(table.splitlines()) > 3 and table in page


def test_the_last_line_counts_the_runs_that_are_lost_without_clipping(rule):
    def result(times, setting, loss):
        return rule.Result("t", 1, times, 0.1, setting, 1.0, 2.0, loss, None, 1.0)

    found = [result(1, "none", 2.0)]
    found += [result(5, "none", math.nan), result(5, "rule", 2.0), result(5, "p99", 3.0)]
    found += [result(20, "none", 1.0), result(20, "rule", 2.0), result(20, "p99", 1.0)]
    everything, lost = rule.summary(found).splitlines()[-2:]
    assert [cell.strip() for cell in everything.split("|")[3:5]] == ["1 of 2", "2 of 2"]
    assert [cell.strip() for cell in lost.split("|")[3:5]] == ["0 of 1", "1 of 1"]
    assert "0 of 1" in lost.split("|")[8]


def test_the_results_follow_from_the_logs_that_are_kept(rule, results):
    task = rule.tasks("char_rnn")["fcos"]
    kept = rule.results_of(task, 1, DATA)
    assert len(kept) >= 4
    for result in kept:
        (same,) = (
            r
            for r in results
            if (r.task, r.seed, r.times, r.setting) == ("fcos", 1, result.times, result.setting)
        )
        assert repr(same) == repr(result)


def test_every_max_norm_is_what_its_setting_says(rule, results):
    pilots = {(r.task, r.seed): r for r in results if r.times == 1}
    for result in results:
        pilot = pilots[result.task, result.seed]
        assert math.isclose(result.learning_rate, result.times * pilot.learning_rate)
        assert result.pilot_loss == pilot.final_loss
        if result.setting[0].isdigit() and "rule" not in result.setting:
            assert result.max_norm == float(result.setting)


def test_a_run_trains_if_it_comes_within_fifteen_percent_of_the_pilot(rule):
    def result(loss):
        return rule.Result("t", 1, 5, 0.1, "rule", 1.0, 2.0, loss, None, 1.0)

    assert result(2.29).trains and result(0.5).trains
    assert not result(2.31).trains and not result(math.nan).trains


def test_the_rule_keeps_the_length_of_the_median_step(rule):
    log = rule.Log([1.0, 7.0, 30.0], [], [], None)
    assert rule.max_norm_of("rule", log, 0.002, 0.2) == 0.07
    assert rule.max_norm_of("10rule", log, 0.002, 0.2) == 0.7
    assert rule.max_norm_of("none", log, 0.002, 0.2) == math.inf
