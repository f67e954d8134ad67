"""Rows are numbered as the run was, and what is no row is none."""

from __future__ import annotations

import json
import math

import pytest
from log_norms import same

from gradclip._advise.sampling import sampling_of

NORMS = [1.0 + i / 8 for i in range(12)]


@pytest.mark.parametrize(
    "line",
    [
        "Epoch {e}/3 | Step {i}/4 | loss 2.0 | grad_norm {n}",
        "epoch={e} step={i} loss=2.0 grad_norm={n}",
        "step {i}/4 loss 2.0 grad_norm {n}",  # no epoch: each begins and ends as the first
    ],
)
def test_steps_that_begin_anew_with_every_epoch_are_counted_on(log, line):
    text = "".join(
        line.format(e=1 + i // 4, i=1 + i % 4, n=n) + "\n" for i, n in enumerate(NORMS)
    )
    found = log(text)
    assert found.norm.tolist() == NORMS and found.step.tolist() == list(range(1, 13))
    assert any("counted on" in note for note in found.notes)


def test_epochs_and_a_resumed_run(log):
    """The run stops in its second epoch, and is resumed where that began."""
    place = [*range(6), *range(4, 12)]
    text = "".join(f"epoch {1 + i // 4} step {i % 4} grad_norm {1 + i}\n" for i in place)
    found = log(text)
    assert found.norm.tolist() == [1.0 + i for i in range(12)]
    assert found.step.tolist() == list(range(12))


def test_a_step_of_so_many_in_a_record(log):
    records = [{"grad_norm": n, "global_step/max_steps": f"{5 * i}/60"} for i, n in enumerate(NORMS)]
    found = log("\n".join(map(json.dumps, records)) + "\n")
    assert found.step.tolist() == [5 * i for i in range(12)] and not sampling_of(found).every


def test_a_row_an_epoch_is_no_step(log):
    found = log("epoch,grad_norm,loss\n" + "".join(f"{i},{n},2.0\n" for i, n in enumerate(NORMS)))
    assert found.norm.tolist() == NORMS
    assert sampling_of(found).rows == "epoch" and not sampling_of(found).every


def test_summaries_are_no_rows(log):
    text = "".join(
        f"| INFO | train_inner | epoch 001: {i} / 60 loss=9.4, num_updates={5 * i + 5}, gnorm={n}\n"
        for i, n in enumerate(NORMS)
    )
    text += "| INFO | train | epoch 001 | loss 9.1 | num_updates 60 | gnorm 99.5\n"
    found = log(text)
    assert found.norm.tolist() == NORMS and any("sum up an epoch" in n for n in found.notes)


def test_an_average_that_is_infinite_is_told(log):
    line = "INFO Train: [0/300][{i}/1000]\teta 0:10 lr 0.0007\tloss 6.5 (6.3)\tgrad_norm {n} ({m})\n"
    marks = ["1.5"] * 6 + ["inf"] * 6
    text = "".join(line.format(i=10 * i, n=n, m=marks[i]) for i, n in enumerate(NORMS))
    found = log(text + line.replace("[0/", "[1/").format(i=0, n=2.0, m="2.0"))
    assert found.norm.tolist() == [*NORMS, 2.0] and found.step.tolist()[-1] == 1000
    assert sampling_of(found).rows == "sampled"
    assert "1 time(s) the average beside the norm begins to be NaN" in found.notes[0]


def test_a_sentence_is_counted(log):
    found = log("step 1 grad_norm 1.0\nWARNING grad norm is nan, skipping\nstep 3 grad_norm 2.0\n")
    assert found.norm.tolist() == [1.0, 2.0] and "in words" in found.notes[0]


def test_a_step_in_a_line_above(log):
    text = "".join(
        f"[step={i}/12,epoch=0]\n    optim/total_grad_norm={n}\n    train/loss=2.0\n"
        for i, n in enumerate(["1.5", "nan", "12,345"], 1)
    )
    found = log(text)
    assert same(found.norm, [1.5, math.nan, 12345]) and found.step.tolist() == [1, 2, 3]


def test_of_several_norms_in_a_line_one_is_taken_throughout(log):
    found = log(
        "step:1 actor/grad_norm:1.0 critic/grad_norm:5.0\n"
        "step:2 critic/grad_norm:6.0 actor/grad_norm:2.0\n"
        "step:3 critic/grad_norm:7.0\n"
    )
    assert found.norm.tolist() == [1.0, 2.0]
    assert "'actor/grad_norm:1.0'" in found.taken[0] and "'critic/grad_norm:5.0'" in found.taken[0]


@pytest.mark.parametrize("indent", [None, 1])
def test_a_trainer_state_on_one_line(log, indent):
    state = {"log_history": [{"step": i, "loss": 2.0, "grad_norm": n} for i, n in enumerate(NORMS)]}
    assert log(json.dumps(state, indent=indent)).norm.tolist() == NORMS
