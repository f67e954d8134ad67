"""The adviser says of logs with known regimes what verdicts.md, written before it, demands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import make

import gradclip
from gradclip._advise import advise_log
from gradclip._advise.arrays import log_of
from gradclip._advise.readers import read

ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (Path(__file__).parent / "verdicts.md").read_text().splitlines()
    if re.match(r"\| (?!log )", line)
]
TABLE = [row for row in ROWS if len(row) == 6]
REAL = [row for row in ROWS if len(row) == 5]


LOGS = Path(__file__).parent / "logs"
FCOS = Path(__file__).parents[2] / "examples" / "data"
GRAVE = {"after-clipping", "diverged", "loss-scale", "level-change"}


def advice_on(name):
    made = make(name)
    if made.loss_scale is None:
        return gradclip.advise(made.norms, **made.arguments)
    log = log_of(made.norms, None, None, None, None)
    log.loss_scale = made.loss_scale
    return advise_log(log)


def causes(advice):
    return {warning.cause for warning in advice.warnings}


def text_of(advice, cause):
    (text,) = (warning.text for warning in advice.warnings if warning.cause == cause)
    return text


def test_the_table_is_whole():
    assert len(TABLE) == 28 and len(REAL) == 9 and len(ROWS) == 37
    assert {path.stem for path in LOGS.iterdir()} < {row[0] for row in REAL}


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_verdict(row):
    name, _, rows, verdict, net, warnings = row
    advice = advice_on(name)
    assert advice.rows == int(rows)
    assert advice.verdict == verdict
    assert causes(advice) == {cause.strip() for cause in warnings.split(",") if cause.strip()}
    if net == "none":
        assert advice.max_norm is None
    else:
        value, tolerance = re.fullmatch(r"([\d.]+) ± ([\d.]+)%", net).groups()
        assert advice.max_norm == pytest.approx(float(value), rel=float(tolerance) / 100)


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_report_is_one_screen(row):
    lines = str(advice_on(row[0])).split("\n")
    assert 5 <= len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() and line == line.rstrip() for line in lines)


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_json_is_strict_and_complete(row):
    advice = advice_on(row[0])
    text = json.dumps(advice.to_dict(), allow_nan=False)
    assert set(json.loads(text)) == set(vars(advice))


def test_warm_ups_are_left_out():
    assert 50 <= advice_on("warm-up spike").warmup <= 250
    advice = advice_on("warm-up of the rate")
    assert advice.warmup == pytest.approx(400, abs=10) and "rate" in advice.warmup_words
    assert advice_on("steady").warmup == 0
    told = gradclip.advise(make("steady").norms, warmup=123)
    assert told.warmup == 123 and told.finite == 2000 - 123


def test_the_first_step_that_is_not_finite():
    advice = advice_on("NaN bursts")
    assert (advice.nan, advice.inf, advice.first_nonfinite) == (12, 0, 400)
    assert "skip the step" in text_of(advice, "nonfinite")
    assert "12 NaN" in str(advice) and "step 400" in str(advice)


@pytest.mark.parametrize("name", ["sampled", "averaged"])
def test_thin_rows_promise_nothing_about_single_steps(name):
    made = make(name)
    norms = made.norms.copy()
    norms[100] = np.nan
    advice = gradclip.advise(norms, **made.arguments)
    assert not advice.every
    assert advice.first_nonfinite is None and advice.nan == 1
    assert "p99" in advice.percentiles and "p99.9" not in advice.percentiles
    assert advice.choosers == []
    assert "No p99.9, no first NaN, no choosers" in text_of(advice, name)


@pytest.mark.parametrize(
    ("rows", "known"),
    [(9, ""), (99, ""), (100, "p99"), (999, "p99"), (1000, "p99 p99.9")],
)
def test_percentiles_need_rows(rows, known):
    advice = gradclip.advise(make("steady").norms[:rows])
    assert [name for name in advice.percentiles if name.startswith("p99")] == known.split()


def test_a_thousand_sampled_rows_have_no_p999():
    norms = make("steady").norms
    advice = gradclip.advise(norms, steps=np.arange(len(norms)) * 10)
    assert "p99" in advice.percentiles and "p99.9" not in advice.percentiles


def test_percentiles_are_numpys():
    norms = make("heavy-tailed").norms
    advice = gradclip.advise(norms)
    for name, value in advice.percentiles.items():
        q = {"min": 0, "max": 100}.get(name) if name in ("min", "max") else float(name[1:])
        assert value == np.percentile(norms, q)


def test_drift_recommends_autoclip():
    advice = advice_on("drifting")
    assert advice.max_norm is None
    assert [one.max_norm for one in advice.recommendations] == [None, None]
    assert all(one.chooser.startswith("AutoClip(") for one in advice.recommendations)
    assert "no fixed value fits: the norm drifts; use AutoClip" in " ".join(str(advice).split())
    assert 12 < advice.drift_factor < 30


def test_a_change_of_level_names_its_likely_cause():
    assert "batch size" in text_of(advice_on("level change"), "level-change")
    reduction = text_of(advice_on("loss reduction"), "level-change")
    assert "reduction" in reduction and "batch size" not in reduction
    for name in ("level change", "loss reduction"):
        step = int(re.search(r"step (\d+)", text_of(advice_on(name), "level-change"))[1])
        assert abs(step - 1000) <= 3


def test_after_clipping_says_what_to_log_and_stops():
    advice = advice_on("post-clip")
    assert "what clip_grad_norm_ returns" in advice.next
    assert advice.what_if == [] and advice.recommendations == [] and advice.percentiles == {}
    assert "What if" not in str(advice)


def test_a_diverged_log_asks_for_a_pilot():
    made = make("diverged early")
    advice = gradclip.advise(made.norms, learning_rate=0.2)
    assert advice.next.startswith("make a pilot run at lr 0.02 (lr/10), then lower")
    assert advice_on("diverged early").next.startswith("make a pilot run at lr/10")


def test_a_run_that_comes_back_has_not_diverged():
    norms = make("steady").norms
    norms[-2:] = np.nan  # as NaN as the bursts before, and too few to be the end
    norms[500:503] = np.nan
    assert gradclip.advise(norms).verdict == "steady"


def test_the_dominating_tensor_is_named():
    assert "'head'" in text_of(advice_on("one tensor"), "dominating")


def test_spikes_are_laid_at_the_door_of_their_tensor():
    rng = np.random.default_rng(5)
    rows = 1000
    tensors = {name: rng.lognormal(0, 0.2, rows) for name in ("a", "b", "c", "d")}
    spiky = [100, 300, 301, 555, 900]
    tensors["c"][spiky] *= 60
    tensors["a"][700] *= 60
    norms = np.sqrt(sum(values**2 for values in tensors.values()))
    advice = gradclip.advise(norms, tensor_norms=tensors)
    assert advice.spikes == 6
    assert advice.spike_tensors == [("c", 5), ("a", 1)]
    assert advice.spike_step == np.argmax(norms)
    assert "by c (5), a (1)" in " ".join(str(advice).split())


@pytest.mark.parametrize("row", REAL, ids=[row[0] for row in REAL])
def test_real_runs(row):
    name, rate, _, _, must = row
    folder = FCOS if name.startswith("fcos") else LOGS
    advice = advise_log(read(str(folder / f"{name}.csv")))
    assert advice.learning_rate == float(rate)
    if must.startswith("trains"):
        assert advice.verdict in ("steady", "heavy-tailed", "drifting")
        assert not causes(advice) & GRAVE
    else:
        assert must.startswith("diverged") and advice.verdict == "diverged"
        assert "lr/10" in advice.next


def test_the_pilots_advice_is_what_the_other_runs_were_made_with():
    """What that led to stands in the table: the rule's max_norm trains, p99 does not."""
    settings = {
        row[0]: float(row[2]) for row in REAL if row[0].startswith("char_rnn") and row[2] != "none"
    }
    pilot = advise_log(read(str(LOGS / "char_rnn-pilot.csv")), next_lr=0.02, optimizer="sgd")
    values = {one.intent: one.max_norm for one in pilot.recommendations}
    assert values["next rate, shorter steps"] == settings["char_rnn-rule"]
    assert pilot.max_norm == pytest.approx(3 * settings["char_rnn-rule"], rel=0.01)
    same_rate = advise_log(read(str(LOGS / "char_rnn-pilot.csv")))
    assert same_rate.max_norm == settings["char_rnn-p99"]


@pytest.mark.parametrize(
    "scalar", [np.float32(0.25), np.float16(0.25), np.array(0.25), np.float64(0.25)]
)
def test_numbers_of_numpy_are_numbers(scalar):
    norms = make("steady").norms
    expected = gradclip.advise(norms, learning_rate=0.25, was=4.0, warmup=3, next_lr=1.0)
    given = gradclip.advise(
        norms, learning_rate=scalar, was=scalar * 16, warmup=np.int64(3), next_lr=scalar * 4
    )
    assert str(given) == str(expected)


def test_sentences_that_say_nan_are_reported_beside_the_rows(tmp_path):
    """No row has a NaN, and "Not finite: none" would be wrong all the same."""
    from gradclip._advise import advise_log
    from gradclip._advise.readers import read

    path = tmp_path / "run.log"
    path.write_text("".join(
        f"step {i} the grad norm is nan, skipping\n" if i % 50 == 7 else f"step {i} loss 2.5 grad_norm {1 + i % 7 / 8}\n"
        for i in range(300)
    ))  # fmt: skip
    advice = advise_log(read(str(path)))
    assert (advice.nan, advice.marked) == (0, 6)
    assert "Not finite no row; 6 marks beside the rows (see Note)" in str(advice)
    assert any(one.cause == "nonfinite" for one in advice.warnings)
    assert advice.format == "text"


def test_a_gnorm_alone_is_not_fairseqs_mean(tmp_path):
    from gradclip._advise.readers import read

    path = tmp_path / "run.log"
    path.write_text("".join(f"it {i} loss 2.5 gnorm={1 + i % 7 / 8} lr=0.1\n" for i in range(30)))
    found = read(str(path))
    assert found.format == "text" and found.hint is None and len(found) == 30


def test_zeros_are_not_helped_by_running_on():
    advice = gradclip.advise(np.zeros(400))
    assert advice.verdict == "too short" and advice.next.startswith("find out why most norms are 0")
