"""The adviser on the runs of examples/advised.py, whose outcome is known: lost ones are called so, good
ones are not, verdicts hold over seeds, and the results say what docs/choosing-max-norm.md says."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TABLES = (EXAMPLES / "data" / "README.md").read_text(encoding="utf-8")
PAGE = (EXAMPLES.parents[2] / "docs" / "choosing-max-norm.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def advised():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("advised")


@pytest.fixture(scope="module")
def recognised(advised):
    return advised.recognition(advised.read_kept(EXAMPLES / "data" / "advised_logs.npz"))


def test_lost_runs_that_stay_finite_are_recognised(recognised):
    lost, beside, alone = recognised.lost
    assert lost > 100
    assert beside >= 0.9 * lost and alone >= 0.6 * lost, recognised.missed


def test_good_runs_are_not_called_lost(recognised):
    trained, beside, alone = recognised.trained
    assert trained > 100
    assert beside <= trained / 50 and alone <= trained / 50, recognised.missed


def test_verdicts_hold_over_seeds_in_seven_tasks_of_eight(recognised):
    assert recognised.pairs >= 12
    assert len(recognised.apart) <= recognised.pairs / 8, recognised.apart


def test_the_page_shows_the_tables_of_the_results(advised):
    tables = advised.Tables(advised.read_results(EXAMPLES / "data" / "advised.csv"))
    for table in (tables.summary(), tables.pairs()):
        assert table in TABLES
    assert tables.wanted() in PAGE


def test_the_page_repeats_the_counts_of_the_tables(advised):
    """In its short table, which leaves out regrets and most settings."""
    tables = advised.Tables(advised.read_results(EXAMPLES / "data" / "advised.csv"))
    lines = [line.split(" | ") for line in tables.summary().splitlines()[2:]]
    counts = {line[0].lstrip("| "): (line[2], line[4], line[6], line[8]) for line in lines}
    for setting in ("none", "third", "best constant", "p99", "rule", "3rule", "own", "advice"):
        assert " | ".join(counts[setting]) in PAGE, setting


def test_the_page_says_what_is_recognised(advised, recognised):
    assert advised.words(recognised) in PAGE


def test_the_first_answer_trains_where_a_constant_does(advised):
    """The criterion of advised.py, for SGD, at the rates at which nothing trains unclipped."""
    tables = advised.Tables(advised.read_results(EXAMPLES / "data" / "advised.csv"))
    could = [pair for pair in tables.could() if not pair[1].startswith("adam")]
    assert len(could) >= 12
    assert sum(tables.held(pair, "advice") for pair in could) >= 0.85 * len(could)


def test_advising_again_loses_no_run_that_trained(advised):
    results = advised.read_results(EXAMPLES / "data" / "advised.csv")
    trained = {
        (one.task, one.optimizer, one.seed, one.times) for one in results if one.setting == "advice" and one.trains
    }
    again = [one for one in results if one.setting == "again"]
    assert len(trained) > 100 and len(again) >= len(trained)
    for one in again:
        if (one.task, one.optimizer, one.seed, one.times) in trained:
            assert one.trains, one


def test_where_the_first_norms_dwarf_the_others_the_constant_comes_first(advised):
    """Why the running median is the second recommendation there, and not the first."""
    pilots = {
        key[0]: log.norm
        for key, log in sorted(advised.read_kept(EXAMPLES / "data" / "advised_logs.npz").items())
        if key[3] == "pilot" and np.median(log.norm[: len(log.norm) // 20]) > 3 * np.median(log.norm)
    }
    tables = advised.Tables(advised.read_results(EXAMPLES / "data" / "advised.csv"))
    pairs = [pair for pair in tables.by_pair if f"{pair[0]}-{pair[1]}" in pilots and not pair[1].startswith("adam")]
    assert {pair[0] for pair in pairs} == {"residual", "tuning", "linear", "contrastive"}
    trained = {
        setting: sum(one.trains for pair in pairs for one in tables.by_pair[pair][setting])
        for setting in ("advice", "own", "by-step")
    }
    assert trained == {"advice": 24, "own": 19, "by-step": 19}
    assert "There the answer trained all 24 runs." in PAGE and "trained 19 of them" in PAGE
