"""Norms in columns and records, CSV or JSON: which column is taken, and where a file ends early."""

from __future__ import annotations

import io
import json
import math
import sys

import pytest
from log_norms import NORMS, same

from gradclip._advise.log import LogError
from gradclip._advise.readers import read
from gradclip._advise.sampling import sampling_of

# ----------------------------------------------------------------------- CSV --


def test_csv(log):
    text = "step,loss,learning_rate,grad_norm\n" + "".join(
        f"{i},1.5,0.1,{norm}\n" for i, norm in enumerate(NORMS)
    )
    found = log(text, "metrics.csv")
    assert same(found.norm, NORMS) and found.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.loss.tolist() == [1.5] * 6 and found.learning_rate.tolist() == [0.1] * 6
    assert found.taken[0] == "norm: 'grad_norm', by its name, of 4 columns"
    assert sampling_of(found).every and found.notes == []


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "  "])
def test_delimiters_quotes_and_line_ends(log, delimiter):
    rows = [
        ["step", '"grad_norm"' if delimiter == "," else "grad_norm"],
        ["1", "3.5"],
        ["2", "2.5"],
    ]
    text = "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows) + "\r\n"
    assert log(text).norm.tolist() == [3.5, 2.5]


def test_lightnings_csv(log):
    """Validation rows with blank cells; the rate and the loss in rows of their own."""
    text = (
        "epoch,grad_2.0_norm/layer.weight,grad_2.0_norm/layer.bias,grad_2.0_norm/head,"
        "grad_2.0_norm_total,lr-SGD,step,train_loss,val_loss\n"
        ",,,,,0.1,0,,\n"
        "0,3.0,4.0,12.0,13.0,,0,,\n"
        "0,,,,,,0,2.5,\n"
        ",,,,,0.05,1,,\n"
        "0,4.0,3.0,0.0,5.0,,1,,\n"
        "0,,,,,,1,2.25,\n"
        "0,,,,,,1,,2.0\n"
        "0,nan,3.0,0.0,nan,,2,,\n"
    )
    found = log(text, "metrics.csv")
    assert same(found.norm, [13, 5, math.nan]) and found.step.tolist() == [0, 1, 2]
    assert found.learning_rate.tolist() == [0.1, 0.05, 0.05]
    assert same(found.loss, [2.5, 2.25, math.nan])
    assert found.tensors.names == ["layer.weight", "layer.bias", "head"]
    assert found.tensors.largest.tolist() == [2, 0, 0]
    assert found.tensors.share[:2] == pytest.approx([144 / 169, 16 / 25])


@pytest.mark.parametrize(
    ("p", "total"), [("2.0", 13.0), ("1.0", 19.0), ("inf", 12.0), ("3.0", 1819 ** (1 / 3))]
)
def test_the_total_of_tensors_without_one(log, p, total):
    text = f"step,grad_{p}_norm/a,grad_{p}_norm/b,grad_{p}_norm/c\n"
    text += "1,3,4,12\n2,,,\n3,0,0,0\n4,nan,1,1\n"
    found = log(text)
    assert found.norm.tolist() == pytest.approx([total, 0, math.nan], nan_ok=True)
    assert "of 3 tensors" in found.taken[0]


def test_gradclips_own_monitor(log):
    text = (
        "step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element\n"
        "0,2.5,0.4,0.1,1.5,0,,\n"
        "1,nan,1,0.1,nan,3,layers.0.weight,17\n"
        "2,1.5,0.66,0.1,1.25,0,,\n"
    )
    found = log(text)
    assert same(found.norm, [2.5, math.nan, 1.5])
    assert found.culprits == {1: "layers.0.weight"}
    assert sampling_of(found).every


def test_char_rnn(log):
    text = (
        "# char_rnn 1.0.0 seed=1 max_norm=120 learning_rate=0.008 steps=3 hidden=100 unroll=50\n"
        "step,loss,smooth_loss,total_norm,clip_coef\n1,4.1,4.1,250.5,0.479\n2,4.0,4.1,100.25,1\n"
    )
    found = log(text)
    assert found.norm.tolist() == [250.5, 100.25] and found.learning_rate.tolist() == [0.008] * 2
    assert "0.008, from the comment" in " ".join(found.taken)


def test_columns_without_names(log):
    assert log("1.5\n2.5\nnan\n").norm[:2].tolist() == [1.5, 2.5]
    assert log("1,3.5\n2,4.5\n", column="2").norm.tolist() == [3.5, 4.5]
    assert log("1,3.5\n2,4.5", column="2").norm.tolist() == [3.5]  # the last may be cut
    with pytest.raises(LogError, match=r"say which one holds the norm, --column 1 ... 2"):
        log("1,3.5\n2,4.5\n")
    with pytest.raises(LogError, match=r"--column must be a number from 1 to 2 here \(got '3'\)"):
        log("1,3.5\n2,4.5\n", column="3")


def test_a_column_from_standard_input(monkeypatch):
    class Input:
        buffer = io.BytesIO(b"grad_norm\n1.5\n2.5\n3.5")

    monkeypatch.setattr(sys, "stdin", Input)
    found = read("-")
    assert found.norm.tolist() == [1.5, 2.5, 3.5] and found.source == "standard input"


# ---------------------------------------------------------------- JSON lines --


def test_json_lines(log):
    lines = [
        json.dumps({"step": i, "train": {"grad_norm": n, "lr": 0.1}}) for i, n in enumerate(NORMS)
    ]
    found = log("\n".join(lines) + "\n")
    assert same(found.norm, NORMS) and found.learning_rate.tolist() == [0.1] * 6
    assert "'train/grad_norm'" in found.taken[0]


def test_json_lines_whose_first_thousands_have_no_norm(log):
    lines = [json.dumps({"step": i, "eval_loss": 1.0}) for i in range(2500)]
    lines += [json.dumps({"step": 2500 + i, "gnorm": str(n)}) for i, n in enumerate(NORMS)]
    assert same(log("\n".join(lines) + "\n").norm, NORMS)


def test_iterations_that_begin_anew_with_every_epoch(log):
    lines = [
        json.dumps(
            {"mode": "train", "epoch": e, "iter": i, "lr": 0.1, "grad_norm": 1.0, "time": 1.0}
        )
        for e in (1, 2, 3)
        for i in (50, 100, 150)
    ]
    found = log("\n".join(lines) + "\n")
    assert found.step.tolist() == [50, 100, 150, 200, 250, 300, 350, 400, 450]


def test_a_resumed_run_counts_once(log):
    rows = [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (3, 30.0), (4, 40.0), (5, 50.0)]
    found = log("step,grad_norm,loss\n" + "".join(f"{i},{n},0\n" for i, n in rows))
    assert found.step.tolist() == [1, 2, 3, 4, 5]
    assert found.norm.tolist() == [1, 2, 30, 40, 50]
    assert "resumed" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "norms"),
    [
        (
            '[{"grad_norm": 1.5}, {"grad_norm": NaN}, {"loss": 1}, {"grad_norm": 2.5}]',
            [1.5, math.nan, 2.5],
        ),
        ('[\n {"grad_norm": 1.5},\n {"grad_no', [1.5]),
        ("[1.5, 2.5, Infinity, 3]", [1.5, 2.5, math.inf, 3]),
        ("[1.5, 2.5, 3", [1.5, 2.5]),
        ('{"step": [1, 2], "grad_norm": [1.5, 2.5]}\n', [1.5, 2.5]),
        ('{\n"grad_norm": [1.5, null, 2.5]}', [1.5, 2.5]),
        ("[]", []),
    ],
)
def test_json_lists_and_tables(log, text, norms):
    assert same(log(text).norm, norms)


# ------------------------------------------------------------- cut-off, columns --


@pytest.mark.parametrize(
    ("text", "norms"),
    [
        ("step,grad_norm\n1,10.5\n2,11.5\n3,12", [10.5, 11.5]),  # 12.5, perhaps
        ("step,grad_norm,loss\n1,10.5,1\n2,11.5,1\n3,12", [10.5, 11.5]),
        ("step,grad_norm,lr,eta\n1,10.5,1,1\n2,11.5,1,", [10.5, 11.5]),
        ('{"grad_norm": 10.5}\n{"grad_norm": 11.5}\n{"grad_norm": 1', [10.5, 11.5]),
        ('{"grad_norm": 10.5}\n{"grad_norm": 11.5}', [10.5, 11.5]),
        ("step 1 grad_norm: 10.5\nstep 2 grad_norm: 11.5\nstep 3 grad_norm: 12", [10.5, 11.5]),
        ("step 1 grad_norm: 10.5 x\nstep 2 grad_norm: 11.5 x", [10.5, 11.5]),
    ],
)
def test_an_end_that_is_cut_off(log, text, norms):
    found = log(text)
    assert found.norm.tolist() == norms
    lines = text.count("\n") + 1 - text.startswith("step,")
    assert (len(norms) < lines) == any("ends in the middle" in note for note in found.notes)


def test_of_several_columns_the_one_from_before_clipping(log):
    text = "step,grad_norm_clipped,grad_norm,grad_norm_before_clip,lr\n1,1,2,3,4\n2,1,2,3,4\n"
    found = log(text)
    assert found.norm.tolist() == [3, 3] and not found.after_clipping
    assert "before clipping" in found.taken[0] and "'grad_norm_clipped'" in found.taken[0]
    assert log(text, column="grad_norm").norm.tolist() == [2, 2]
    assert log("step,grad_norm_clipped,x\n1,1,0\n2,1,0\n").after_clipping


@pytest.mark.parametrize(
    "name",
    [
        "grad_norm", "Grad Norm", "gradnorm", "train/grad_norm", "total_norm", "gnorm", "norm",
        "grad_2.0_norm_total", "grad_norm_total", "global_grad_norm", "gradients/norm",
        "optim/grad-norm", "total_grad_norm", "gradient_norm", "train_grad_norm_step",
        "grad/total_norm", "l2_grad_norm",
    ],
)  # fmt: skip
def test_names_of_the_norm(log, name):
    assert log(f"step,val_grad_norm,{name},loss_scale\n1,9,3.5,9\n2,9,2.5,9\n").norm.tolist() == [
        3.5,
        2.5,
    ]


def test_without_a_norm_the_error_lists_what_there_is(log):
    with pytest.raises(
        LogError, match=r"no column of gradient norms; its columns are 'step', 'loss'"
    ):
        log("step,loss\n1,2\n3,4\n")
    with pytest.raises(LogError, match=r"has no column 'g'"):
        log("step,grad_norm\n1,2\n3,4\n", column="g")
    with pytest.raises(LogError, match=r"no gradient norms; its records have 'step', 'loss'"):
        log('{"step": 1, "loss": 2}\n')
    with pytest.raises(LogError, match=r"--pattern"):
        log("just a story\nof no norms\n")


def test_mlflows_table_of_keys_and_values(log):
    rows = "".join(f"loss,2.5,1700000000000,{i}\n" for i in range(3))
    rows += "".join(f"grad_norm,{n},1700000000000,{i}\n" for i, n in enumerate((1.5, "nan", 12345)))
    found = log("key,value,timestamp,step\n" + rows)
    assert same(found.norm, [1.5, math.nan, 12345.0])
    assert found.step.tolist() == [0, 1, 2] and found.loss.tolist() == [2.5] * 3


def test_mlflows_table_of_several_runs_is_refused(log):
    rows = "".join(f"grad_norm,1.5,1700000000000,1,{run}\n" for run in "ab")
    with pytest.raises(LogError, match=r"holds 2 runs \(a, b\): make a file of each"):
        log("key,value,timestamp,step,run_id\n" + rows)


def test_mlflows_file_of_a_metric(log):
    found = log("".join(f"170000000{i:04d} {1.5 + i} {10 * i}\n" for i in range(5)))
    assert found.norm.tolist() == [1.5 + i for i in range(5)]
    assert found.step.tolist() == [10 * i for i in range(5)] and "MLflow" in found.taken[0]


LOSSES = {
    "csv": ("step,grad_norm,loss,reward\n", "{i},{n},9.0,{l}\n"),
    "jsonl": ("", '{{"step": {i}, "grad_norm": {n}, "loss": 9.0, "reward": {l}}}\n'),
    "text": ("", "step {i} grad_norm {n} loss 9.0 reward {l}\n"),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_is_the_one_that_is_named(log, kind):
    head, line = LOSSES[kind]
    text = head + "".join(line.format(i=i, n=1.5, l=i / 2) for i in range(4))
    assert log(text).loss.tolist() == [9.0] * 4
    assert log(text, loss="reward").loss.tolist() == [0, 0.5, 1, 1.5]


@pytest.mark.parametrize("text", ["step,grad_norm\n1,2.5\n", '{"step": 1, "grad_norm": 2.5}\n'])
def test_a_loss_that_is_not_there_is_refused_with_what_is(log, text):
    with pytest.raises(LogError, match=r"--loss .*got 'reward'.* there are 'step', 'grad_norm'"):
        log(text, loss="reward")
