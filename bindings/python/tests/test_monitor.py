"""Monitor for arrays: it clips, remembers, logs, and names what went wrong."""

import csv
import json
import math
import os
import warnings
from array import array
from types import SimpleNamespace

import pytest

import gradclip
from gradclip._monitor.steplog import COLUMNS, StepLog

OLDER = "step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element"
HEADER = f"{OLDER},threshold,action"


def grads(x, y=0.0):
    return {"w": array("d", [x]), "b": array("d", [y, 0.0])}


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_it_clips_as_clip_grad_norm_does():
    ours, expected = grads(30.0, 40.0), grads(30.0, 40.0)
    done = gradclip.Monitor(5.0, eps=0).clip_(ours)
    norm = gradclip.clip_grad_norm_(expected, 5.0, eps=0)
    assert ours == expected == grads(3.0, 4.0)
    assert done == norm == 50.0 and done.clip_coef == 0.1 and done.clipped and not done.skip
    assert (done.step, done.max_norm, done.loss, done.learning_rate) == (1, 5.0, None, None)


def test_it_unscales_and_takes_norm_type_and_plans():
    ours = grads(-30.0, 40.0)
    with gradclip.Plan(ours) as plan:
        done = gradclip.Monitor(35.0, norm_type=1, eps=0).clip_(plan, grad_scale=0.5)
    assert done == 140.0 and ours == grads(-15.0, 20.0)


def test_it_keeps_the_history_that_it_was_given():
    monitor = gradclip.Monitor(2.0, eps=0)
    for step in range(1, 5):
        monitor.clip_(grads(float(step)), learning_rate=0.1 * step, loss=-step)
    assert monitor.history["grad_norm"] == array("d", [1, 2, 3, 4])
    assert monitor.history["clip_coef"] == array("d", [1, 1, 2 / 3, 0.5])
    assert monitor.history["loss"] == array("d", [-1, -2, -3, -4])
    assert monitor.history["learning_rate"][3] == 0.4
    assert monitor.history["step"].tolist() == [1, 2, 3, 4]
    assert (monitor.step, monitor.clipped, monitor.skipped) == (4, 2, 0)
    assert {"step", "grad_norm", "clip_coef", "loss", "learning_rate"} <= set(monitor.history)
    assert repr(monitor.history) == "<gradclip.Monitor's history: 4 steps of 4>"
    assert repr(monitor) == "<gradclip.Monitor, max_norm 2: 4 steps, 2 clipped, 0 skipped>"


def test_the_history_is_bounded():
    monitor = gradclip.Monitor(math.inf, history=7)
    for step in range(1, 25):
        monitor.clip_(grads(float(step)))
        kept = list(range(max(1, step - 6), step + 1))
        assert monitor.history["grad_norm"].tolist() == kept
        assert monitor.history["step"].tolist() == kept
    assert monitor.history.steps == 7 and monitor.history.total == 24
    sizes = [monitor.history[column].itemsize for column in monitor.history]
    assert sum(sizes) == 49, "bytes of a step, as its docstring says"


def test_what_is_not_known_is_nan_in_the_history_and_blank_in_the_log(tmp_path):
    log = tmp_path / "run.csv"
    with gradclip.Monitor(math.inf, log=log) as monitor:
        monitor.clip_(grads(1.0))
    assert math.isnan(monitor.history["loss"][0])
    assert log.read_text() == f"{HEADER}\n1,1.0,1.0,,,0,,,,\n"


# ---------------------------------------------------------------- not finite --


def test_a_nonfinite_step_is_skipped_and_its_culprit_named():
    monitor = gradclip.Monitor(1.0)
    monitor.clip_(grads(1.0))
    bad = {"w": array("d", [3.0]), "b": array("d", [math.inf, math.nan])}
    with pytest.warns(gradclip.MonitorWarning) as caught:
        done = monitor.clip_(bad, loss=0.25)
    assert done.skip and not done.clipped and monitor.skipped == 1
    assert bad["w"] == array("d", [3.0]) and bad["b"][0] == math.inf
    assert done.nonfinite.count == 2 and done.nonfinite.name == "b"
    assert caught[0].filename == __file__
    diagnosis = monitor.diagnosis
    assert diagnosis.step == 2 and diagnosis.tensors == 2 and diagnosis.loss == 0.25
    assert diagnosis.culprits == (gradclip.Culprit(1, "b", 2, 2),)
    text = str(diagnosis)
    assert text == str(caught[0].message)
    assert "step 2: 2 elements are not finite (1 NaN, 1 infinite)" in text
    assert "element 0, index (0,), of 'b' (gradient 1)" in text
    assert repr(diagnosis) == "<gradclip.Diagnosis of step 2>"
    assert "The loss of the step was 0.25" in text and "were at their level (the last: 1)" in text


def test_who_went_first_goes_first():
    monitor = gradclip.Monitor(1.0)
    with pytest.warns(gradclip.MonitorWarning):
        for x, y in ((1.0, 1.0), (1.0, math.nan), (math.nan, math.nan), (math.nan, 1.0)):
            monitor.clip_(grads(x, y))
    assert [(c.name, c.step) for c in monitor.culprits] == [("b", 2), ("w", 3)]
    assert monitor.diagnosis.step == 2, "the diagnosis is of the first of them"


@pytest.mark.parametrize(
    "bad, named",
    [(2, "'0', '1'"), (5, "'0', '1', '2', '3', '4'"), (9, "'0', '1', '2', '3' … '8'")],
)
def test_the_diagnosis_counts_and_names_who_else(bad, named):
    monitor = gradclip.Monitor(1.0)
    with pytest.warns(gradclip.MonitorWarning):
        monitor.clip_({str(i): array("d", [math.nan if i < bad else 1.0]) for i in range(10)})
    assert f"{bad} of 10 gradients have them: {named}." in str(monitor.diagnosis)


def test_the_diagnosis_says_where_it_began():
    monitor = gradclip.Monitor(math.inf)
    with pytest.warns(gradclip.MonitorWarning):
        for step, (x, y) in enumerate([(4.0, 3.0), (4.0, 3.0), (6.0, 40.0), (3e5, 4e5)]):
            monitor.clip_(grads(x, y), loss=10.0**step)
        monitor.clip_(grads(math.nan, math.inf), loss=math.nan)
    first, second = monitor.diagnosis.spikes
    assert (first.step, first.norm, first.level) == (3, math.hypot(6, 40), 5.0)
    assert (first.tensor, first.name, first.grown_from, first.grown_to) == (1, "b", 3.0, 40.0)
    assert first.loss == 100.0 and first.since in (1, 2) and second.step == 4
    text = str(monitor.diagnosis)
    assert "The loss of the step was nan" in text
    assert "It began in step 3: the norm was 40.45, the loss 100, 8.09 times the level" in text
    assert f"Most of all had grown 'b': from 3 in step {first.since} to 40." in text
    assert "All 2 gradients have NaNs or infinities." in text


@pytest.mark.parametrize(("norm", "is_spike"), [(4.99, False), (5.0, True)])
def test_five_times_the_level_is_a_spike(norm, is_spike):
    monitor = gradclip.Monitor(math.inf)
    with pytest.warns(gradclip.MonitorWarning):
        for x in (0.5, 1.0, 2.0, norm, math.nan):
            monitor.clip_(grads(x))
    assert [spike.step for spike in monitor.diagnosis.spikes] == [4] * is_spike


def test_slow_growth_is_noticed_and_noise_is_not():
    monitor = gradclip.Monitor(math.inf)
    for step in range(40):
        monitor.clip_(grads(1.0 + step % 4))
    norm = 4.0
    while norm < 1e6:
        norm *= 1.3
        monitor.clip_(grads(norm))
    with pytest.warns(gradclip.MonitorWarning, match="It began in step 4[4-9]: "):
        monitor.clip_(grads(math.nan))
    calm = gradclip.Monitor(math.inf)
    for step in range(100):
        calm.clip_(grads(1.0 + step % 4))
    with pytest.warns(gradclip.MonitorWarning, match="were at their level"):
        calm.clip_(grads(math.nan))
    assert calm.diagnosis.spikes == () and len(calm.diagnosis.norms) == 16


def test_a_spike_long_ago_is_not_the_beginning():
    monitor = gradclip.Monitor(math.inf)
    for step in range(1, 100):
        monitor.clip_(grads(1000.0 if step == 20 else 1.0))
    with pytest.warns(gradclip.MonitorWarning, match="were at their level"):
        monitor.clip_(grads(math.nan))


@pytest.mark.parametrize(
    ("policy", "expected", "norm"),
    [
        ("leave", [3.0, math.inf, 4.0], math.inf),
        ("zero", [0.6000000000000001, 0.0, 0.8], 5.0),
        ("propagate", [0.0, math.nan, 0.0], math.inf),
    ],
)
def test_policies_are_those_of_clip_grad_norm_and_the_culprit_is_named(policy, expected, norm):
    monitor = gradclip.Monitor(1.0, eps=0, nonfinite=policy)
    held = {"a": array("d", [3.0]), "b": array("d", [math.inf]), "c": array("d", [4.0])}
    with pytest.warns(gradclip.MonitorWarning, match="of 'b'"):
        done = monitor.clip_(held)
    assert repr([held[name][0] for name in "abc"]) == repr(expected)
    assert done == norm and done.skip == (policy == "leave") and done.nonfinite.count == 1
    assert [c.name for c in monitor.culprits] == ["b"], "also after NaN has spread"


def test_a_loss_scale_that_overflowed_is_named():
    monitor = gradclip.Monitor(1.0)
    with pytest.warns(gradclip.MonitorWarning, match="still multiplied by 1024"):
        monitor.clip_(grads(math.inf), grad_scale=1024.0)


# ------------------------------------------------------------------ warnings --


def warned(monitor, steps):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for arguments in steps:
            monitor.clip_(*arguments[:1], **(arguments[1] if len(arguments) > 1 else {}))
    assert all(w.category is gradclip.MonitorWarning and w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


def test_each_cause_is_warned_of_once():
    nan = math.nan
    steps = [(grads(nan),), (grads(1.0),), (grads(nan),), (grads(1.0, nan),), (grads(nan, nan),)]
    texts = warned(gradclip.Monitor(1.0), steps)
    assert len(texts) == 2 and "of 'w'" in texts[0] and "of 'b'" in texts[1]
    steps = [(grads(0.0),), ([],), (grads(1.0), {"loss": nan}), (grads(1.0), {"loss": -math.inf})]
    texts = warned(gradclip.Monitor(1.0), steps)
    assert len(texts) == 2
    assert texts[0].startswith("step 1: all gradients are zero") and "loss is nan" in texts[1]


@pytest.mark.parametrize(("clipped", "said"), [(50, 0), (51, 1)])
def test_a_max_norm_that_clips_most_steps_is_said_to_set_the_learning_rate(clipped, said):
    steps = [(grads(2.0 if i < clipped else 0.5),) for i in range(100)]
    texts = warned(gradclip.Monitor(1.0), steps)
    assert len(texts) == said
    assert all("learning_rate * max_norm / norm" in text for text in texts)


def test_a_quiet_run_warns_of_nothing():
    assert warned(gradclip.Monitor(10.0), [(grads(1.0, i % 7),) for i in range(300)]) == []


# ------------------------------------------------------------------- the log --


def test_the_csv_holds_every_step_to_the_last_bit(tmp_path):
    log = tmp_path / "run.csv"
    with gradclip.Monitor(1.0, log=log, names=['w,"1"', "b"]) as monitor:
        done = monitor.clip_(
            [array("d", [0.1]), array("d", [0.2, 0.3])], learning_rate=1e-3, loss=1 / 3
        )
        with pytest.warns(gradclip.MonitorWarning):
            monitor.clip_([array("d", [math.nan]), array("d", [0.2, 0.3])], loss=math.nan)
    first, second = rows(log)
    assert ",".join(first) == HEADER == ",".join(COLUMNS)
    assert float(first["grad_norm"]) == float(done) and float(first["clip_coef"]) == 1.0
    assert float(first["loss"]) == 1 / 3 and float(first["learning_rate"]) == 1e-3
    assert (second["grad_norm"], second["loss"], second["nonfinite_count"]) == ("nan", "nan", "1")
    assert (second["first_tensor"], second["first_element"]) == ('w,"1"', "0")


def test_json_lines_hold_the_same(tmp_path):
    log = tmp_path / "run.jsonl"
    with gradclip.Monitor(1.0, log=log) as monitor:
        monitor.clip_(grads(3.0), loss=0.5)
        with pytest.warns(gradclip.MonitorWarning):
            monitor.clip_(grads(1.0, math.inf))
    first, second = map(json.loads, log.read_text().splitlines())
    assert tuple(first) == COLUMNS
    assert (first["step"], first["grad_norm"], first["loss"]) == (1, 3.0, 0.5)
    assert first["learning_rate"] is first["first_tensor"] is None
    assert (second["grad_norm"], second["first_tensor"]) == ("Infinity", "b")


@pytest.mark.parametrize("name", ["run.csv", "run.jsonl", "run.ndjson"])
def test_every_line_is_in_the_file_when_its_step_ends(tmp_path, name):
    log = tmp_path / name
    monitor = gradclip.Monitor(1.0, log=log)
    for step in range(1, 4):
        monitor.clip_(grads(1.0))
        assert log.read_text().count("\n") == step + name.endswith("csv")
    monitor.close()
    with pytest.raises(ValueError, match=f"{name}' is closed"):
        monitor.clip_(grads(1.0))


def test_a_killed_program_loses_no_step(tmp_path, python):
    log = tmp_path / "run.csv"
    code = """
import array, os, signal, sys, gradclip
monitor = gradclip.Monitor(1.0, log=sys.argv[1])
for step in range(50):
    monitor.clip_([array.array("d", [0.5])])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert python("-c", code, str(log), check=False).returncode == -9
    assert [int(row["step"]) for row in rows(log)] == list(range(1, 51))


@pytest.mark.parametrize("name", ["run.csv", "run.jsonl"])
def test_a_resumed_run_goes_on_with_the_log(tmp_path, name):
    log = tmp_path / name
    with gradclip.Monitor(1.0, log=log) as monitor:
        for x in (1.0, 2.0):
            monitor.clip_(grads(x), loss=x)
        with pytest.warns(gradclip.MonitorWarning):
            monitor.clip_(grads(1.0, math.nan))
    before = log.read_bytes()
    with open(log, "ab") as file:
        file.write(b"4,0.12")  # what a machine that lost power left
    with gradclip.Monitor(1.0, log=log) as resumed:
        assert log.read_bytes() == before
        assert resumed.step == 3 and resumed.history["loss"].tolist()[:2] == [1.0, 2.0]
        assert resumed.history["grad_norm"].tolist()[:2] == [1.0, 2.0]
        assert resumed.clip_(grads(3.0)).step == 4
    assert log.read_bytes().startswith(before)
    found = list(StepLog(log).entries())
    assert [row.step for row in found] == [1, 2, 3, 4] and found[3].grad_norm == 3.0
    assert (
        found[2].first_tensor == "b"
        and found[2].first_element == 0
        and found[0].first_tensor is None
    )


def test_a_resumed_run_counts_its_own_steps(tmp_path):
    """Of 400 steps of the log none was clipped, of the 150 that follow 120."""
    log = tmp_path / "run.csv"
    with gradclip.Monitor(1.0, log=log) as monitor:
        for _ in range(400):
            monitor.clip_(grads(0.5))
    with gradclip.Monitor(1.0, log=log) as resumed:
        assert repr(resumed) == "<gradclip.Monitor, max_norm 1: 0 steps, 0 clipped, 0 skipped>"
        texts = warned(resumed, [(grads(2.0 if step < 120 else 0.5),) for step in range(150)])
        assert repr(resumed) == "<gradclip.Monitor, max_norm 1: 150 steps, 120 clipped, 0 skipped>"
        assert resumed.history.total == 550 and resumed.step == 550
    assert len(texts) == 1 and texts[0].startswith("100 of 100 steps were clipped")


@pytest.mark.parametrize("written", [HEADER, HEADER[:20]])
def test_a_header_without_its_end_is_made_whole(tmp_path, written):
    log = tmp_path / "run.csv"
    log.write_text(written)
    with gradclip.Monitor(1.0, log=log) as monitor:
        monitor.clip_(grads(0.5))
    assert log.read_text() == f"{HEADER}\n1,0.5,1.0,,,0,,,,\n"


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        (
            "run.csv",
            f"{HEADER}\n1,0.5,1.0,,,0,,,,\n2,0.5\n3,",
            r"line 3 .*must have 10 fields, and has 2",
        ),
        (
            "run.csv",
            f"{OLDER}\n1,0.5,1.0,,,0,,\n2,0.5,1.0,,,0,,,,\n",
            r"line 3 .*must have 8 fields, and has 10",
        ),
        (
            "run.csv",
            f"{HEADER}\n1,x,1.0,,,0,,,,\n",
            "line 2 .*could not convert string to float: 'x'",
        ),
        ("run.jsonl", '{"step": 1, "grad_norm": 1, "clip_coef": 1}\n{"step": 2\n', "line 2 "),
        ("run.jsonl", '{"step": 1, "grad_norm": 1, "clip_coef": 1}\n{"step": 2}\n', "line 2 "),
        ("run.jsonl", '{"step": 1, "grad_norm": 1, "clip_coef": 1}\n[]\n', "line 2 "),
    ],
)
def test_a_line_that_is_no_row_is_named_and_the_log_left_alone(tmp_path, name, text, match):
    log = tmp_path / name
    log.write_text(text)
    with pytest.raises(ValueError, match=f"{match}.*") as caught:
        gradclip.Monitor(1.0, log=log)
    assert str(log) in str(caught.value) and log.read_text() == text


def test_steps_can_be_numbered_by_the_program(tmp_path):
    monitor = gradclip.Monitor(1.0)
    assert [monitor.clip_(grads(1.0), step=step).step for step in (10, None, 5, None)] == [
        10,
        11,
        5,
        6,
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.csv", "epoch,loss\n1,2\n"),
        ("run.csv", "step,grad_norm\n"),
        ("run.jsonl", '{"epoch": 1}\n'),
        ("run.jsonl", "[1, 2]\n"),
        ("run.jsonl", "step 1\n"),
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path, name, text):
    log = tmp_path / name
    log.write_text(text)
    with pytest.raises(ValueError, match="was not written by a Monitor"):
        gradclip.Monitor(1.0, log=log)
    assert log.read_text() == text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_training_goes_on_when_the_disk_is_full(tmp_path):
    log = tmp_path / "run.csv"
    monitor = gradclip.Monitor(1.0, log=log)
    monitor.clip_(grads(1.0))
    os.dup2(os.open("/dev/full", os.O_WRONLY), monitor._log._file.fileno())
    texts = warned(monitor, [(grads(2.0),), (grads(3.0),)])
    assert len(texts) == 1 and "nothing more is logged" in texts[0] and str(log) in texts[0]
    assert monitor.history["grad_norm"].tolist() == [1.0, 2.0, 3.0]


def test_a_writer_of_tensorboard_gets_every_step():
    class Writer:
        def __init__(self):
            self.seen = []

        def add_scalar(self, tag, value, step):
            self.seen.append((tag, value, step))

    writer = Writer()
    monitor = gradclip.Monitor(2.0, eps=0, tensorboard=writer, tag="train")
    monitor.clip_(grads(4.0))
    assert writer.seen == [
        ("train/grad_norm", 4.0, 1),
        ("train/clip_coef", 0.5, 1),
        ("train/max_norm", 2.0, 1),
        ("train/nonfinite_count", 0, 1),
    ]


def test_the_adviser_reads_what_a_real_writer_wrote(tmp_path, rng, capsys):
    tensorboard = pytest.importorskip("tensorboardX")
    from gradclip._cli import main

    with tensorboard.SummaryWriter(str(tmp_path)) as writer:
        monitor = gradclip.Monitor(math.inf, tensorboard=writer)
        norms = sorted(monitor.clip_(grads(rng.uniform(1, 2))) for _ in range(201))
    (events,) = map(str, tmp_path.iterdir())
    assert main(["advise", events]) == 0
    report = capsys.readouterr().out
    assert "201 norms" in report and "gradclip/grad_norm" in report
    assert f"{norms[100]:.3g}" in report


# ------------------------------------------------------------------ choosers --


class Halve:
    """A chooser of a user's own: halves what is longer than 2, skips what is longer than 100."""

    def __init__(self):
        self.fed = []

    def feed(self, norm):
        self.fed.append(norm)
        coef = 0.5 if norm > 2 else 1.0
        return SimpleNamespace(threshold=2.0, clip_coef=coef, skip=not norm <= 100)


class LossWatcher:
    def feed(self, norm, loss=None):
        return SimpleNamespace(
            threshold=math.inf, clip_coef=1.0, skip=loss is not None and loss > 5
        )


class EachToOne:
    per_tensor = True

    def __init__(self):
        self.fed = []

    def feed(self, norms):
        self.fed.append(norms)
        coefs = tuple(1.0 if not norm else min(1.0, 1 / norm) for norm in norms)
        return SimpleNamespace(threshold=1.0, clip_coef=min(coefs), tensor_coefs=coefs, skip=False)


def test_a_chooser_is_fed_every_norm_and_decides():
    chooser = Halve()
    monitor = gradclip.Monitor(chooser)
    held = [grads(1.0), grads(3.0, 4.0), grads(300.0)]
    done = [monitor.clip_(each, grad_scale=0.5) for each in held]
    assert chooser.fed == [2.0, 10.0, 600.0]
    assert held == [grads(2.0), grads(3.0, 4.0), grads(300.0)], "scaled by 2, by 1, and left alone"
    assert [step.clip_coef for step in done] == [1.0, 0.5, 1.0]
    assert [step.max_norm for step in done] == [2.0] * 3
    assert [step.skip for step in done] == [False, False, True]
    assert (monitor.clipped, monitor.skipped) == (1, 1)
    assert "Halve object" in repr(monitor)


def test_a_chooser_that_takes_the_loss_gets_it():
    monitor = gradclip.Monitor(LossWatcher())
    assert [monitor.clip_(grads(1.0), loss=loss).skip for loss in (1.0, 9.0, None)] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("name", ["run.csv", "run.jsonl"])
def test_the_log_says_what_a_chooser_decided(tmp_path, name):
    """A skipped step is not the same line as a taken one."""
    log = tmp_path / name
    with gradclip.Monitor(Halve(), log=log) as monitor:
        for norm in (2.0, 10.0, 600.0):
            monitor.clip_(grads(norm))
        with pytest.warns(gradclip.MonitorWarning):
            monitor.clip_(grads(math.nan))
    found = list(StepLog(log).entries())
    decided = [(row.threshold, row.action) for row in found]
    assert decided[:3] == [(2.0, "pass"), (2.0, "clip"), (2.0, "skip")]
    assert found[3].action == "skip" and found[3].nonfinite_count == 1
    assert [row.clip_coef for row in found] == [1.0, 0.5, 1.0, 1.0]
    assert monitor.history["skipped"].tolist() == [0, 0, 1, 1]
    assert monitor.history["threshold"].tolist()[:3] == [2.0, 2.0, 2.0]
    with gradclip.Monitor(Halve(), log=log) as resumed:
        assert resumed.history["skipped"].tolist() == [0, 0, 1, 1]
        assert resumed.history["threshold"].tolist()[:3] == [2.0, 2.0, 2.0]


OLDER_LOGS = {
    "run.csv": f"{OLDER}\n1,0.5,1.0,,,0,,\n",
    "run.jsonl": json.dumps(dict.fromkeys(OLDER.split(","), None) | {
        "step": 1, "grad_norm": 0.5, "clip_coef": 1.0, "nonfinite_count": 0,
    }) + "\n",
}  # fmt: skip


@pytest.mark.parametrize("name", OLDER_LOGS)
def test_a_log_from_before_choosers_were_logged_keeps_its_columns(tmp_path, name):
    log = tmp_path / name
    log.write_text(OLDER_LOGS[name])
    with gradclip.Monitor(Halve(), log=log) as monitor:
        monitor.clip_(grads(10.0))
        assert math.isnan(monitor.history["threshold"][0]) and monitor.step == 2
    text = log.read_text()
    assert text.startswith(OLDER_LOGS[name])
    if name == "run.csv":
        assert text.splitlines()[2] == "2,10.0,0.5,,,0,,"
    else:
        assert ",".join(json.loads(text.splitlines()[1])) == OLDER
    assert [entry.grad_norm for entry in StepLog(log).entries()] == [0.5, 10.0]


def test_a_step_that_is_not_finite_is_skipped_whatever_the_chooser_says():
    held = grads(math.nan, 9.0)
    with pytest.warns(gradclip.MonitorWarning, match="of 'w'"):
        done = gradclip.Monitor(LossWatcher()).clip_(held)
    assert done.skip and held["b"][0] == 9.0


def test_a_chooser_for_each_gradient_by_itself():
    chooser = EachToOne()
    shared = array("d", [2.0])
    held = [array("d", [3.0, 4.0]), None, shared, array("d"), shared, array("d", [0.5])]
    done = gradclip.Monitor(chooser).clip_(held)
    assert chooser.fed == [[5.0, None, 2.0, None, None, 0.5]]
    assert held[0].tolist() == [3.0 * 0.2, 4.0 * 0.2]
    assert shared[0] == 1.0 and held[5][0] == 0.5, "same memory is scaled once"
    assert done.clip_coef == 0.2 and done == pytest.approx(math.sqrt(25 + 4 + 0.25))


CHOOSERS = {
    "AutoClip": lambda: gradclip.AutoClip(percentile=30),
    "ZClip": lambda: gradclip.ZClip(warmup_steps=5),
    "AdaGC": lambda: gradclip.AdaGC(warmup_steps=5),
    "SkipStep": lambda: gradclip.SkipStep(window=8),
}


@pytest.mark.parametrize("name", CHOOSERS)
def test_the_librarys_choosers_decide_as_without_a_monitor(name, rng):
    chooser = CHOOSERS[name]()
    monitor = gradclip.Monitor(CHOOSERS[name]())
    acted = 0
    for step in range(60):
        x, y = rng.gauss(0, 1), rng.gauss(0, 1) * (50 if step % 20 == 19 else 1)
        if step == 30:
            x = math.inf
        ours, theirs = {**grads(x, y), "none": None}, {**grads(x, y), "none": None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gradclip.MonitorWarning)
            options = {"loss": 2.0 + x * x / 100} if name == "SkipStep" else {}
            done = monitor.clip_(ours, **options)
        decision = chooser.clip_(theirs, **options)
        assert ours == theirs and done.skip == decision.skip
        assert done.clip_coef == decision.clip_coef or done.skip
        assert done.max_norm == decision.threshold or done.skip
        assert float(done) == float(decision.norm)
        acted += done.clipped or done.skip
    assert 3 <= acted < 60 and monitor.skipped >= 1
    assert monitor.history.steps == 60


# ------------------------------------------------------------------- refused --


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"max_norm": -1.0}, ValueError, "max_norm"),
        ({"max_norm": math.nan}, ValueError, "max_norm"),
        ({"max_norm": "five"}, TypeError, "max_norm must be a number .got 'five'"),
        ({"eps": -1.0}, ValueError, "eps"),
        ({"max_norm": Halve(), "nonfinite": "zero"}, ValueError, "must be 'leave' with a chooser"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite must be one of .* .got 'ignore'"),
        ({"log": "run.txt"}, ValueError, "log must be .* .got 'run.txt'"),
        ({"history": 0}, ValueError, "history must be .* .got 0"),
        ({"history": 1.5}, TypeError, "history must be an integer .got 1.5"),
        ({"tag": 3}, TypeError, "tag must be a string .got 3"),
        ({"log": 3}, TypeError, "log must be the name of a file .got 3"),
        ({"tensorboard": 1}, TypeError, "tensorboard must have .* .got 1"),
    ],
)
def test_what_cannot_be_is_refused_at_once(arguments, kind, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=text):
        gradclip.Monitor(**{"max_norm": 1.0, **arguments})
    assert os.listdir(tmp_path) == []


def test_a_call_that_fails_records_nothing(tmp_path):
    log = tmp_path / "run.csv"
    monitor = gradclip.Monitor(1.0, log=log)
    monitor.clip_(grads(1.0))
    before = log.read_text()
    held = grads(5.0)
    for arguments, options in (
        (({"w": [1, 2]},), {}),
        ((held,), {"loss": "high"}),
        ((held,), {"grad_scale": 0.0}),
        ((held,), {"learning_rate": object()}),
    ):
        with pytest.raises((TypeError, ValueError)):
            monitor.clip_(*arguments, **options)
    assert held == grads(5.0) and log.read_text() == before
    assert monitor.step == 1 and monitor.history.steps == 1


@pytest.mark.parametrize("kind", [gradclip.AutoClip, gradclip.ZClip, gradclip.SkipStep])
def test_the_class_of_a_chooser_is_no_chooser(kind):
    with pytest.raises(TypeError, match=f"max_norm must be .* class .*{kind.__name__}"):
        gradclip.Monitor(kind)


@pytest.mark.parametrize("step", ["7", 1.5])
def test_the_number_of_a_step_is_an_integer(step):
    monitor, grad = gradclip.Monitor(1.0), array("d", [3.0])
    with pytest.raises(TypeError, match="step must be an integer"):
        monitor.clip_([grad], step=step)
    assert monitor.step == 0
    assert monitor.clip_([grad], step=7).step == 7
