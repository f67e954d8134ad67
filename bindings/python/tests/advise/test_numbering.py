"""Rows are numbered as the run was, and what is no row is none."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from log_norms import same

from gradclip._advise import advise_log
from gradclip._advise.log import Log
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


def bar(i, n, of=12):
    return f"\rEpoch 0: {i * 100 // of:3d}%|##  | {i}/{of} [00:10<00:10, 9.00it/s, grad_norm={n}]"


def test_a_bar_that_draws_each_step_twice(log):
    """tqdm: at the end of a step the bar moves, and shows the norm of before until it is set."""
    text = "".join(bar(i, NORMS[i]) + bar(i + 1, NORMS[i]) for i in range(12))
    found = log(text + "\n")
    assert found.norm.tolist() == NORMS and found.step.tolist() == list(range(12))
    assert "11 row(s) have the step of the row after them" in found.notes[0]


MARKED = {
    "Epoch 1, batch {s}, loss[loss=0.3, over 7e3 frames. ], batch size: 48, grad_norm: {n}": 50,
    "Train: 0 [{s:>4d}/1251 (  4%)]  Loss: 6.95 (6.95)  grad_norm: {n}": 50,
    "1epoch:train:{r}batch: iter_time=0.1, loss=50.1, grad_norm={n}, loss_scale=1.0": 50,
    "epoch 0 iter {i} global_step {s} grad_norm {n}": 50,
    "[ {s}/1000] grad_norm {n}": 50,
    "I0101 10:00:00.123456 140 logging_writer.py:48] [{s}] grad_norm={n}, loss=2.5": 50,
    "[iteration={s}/1000]:\n\t Train l2_norm/grad/global: {n}": 50,
    "[epoch=1][batch={s}]:\n\t Train l2_norm/grad/global: {n}": 50,
}


@pytest.mark.parametrize("line", MARKED)
def test_marks_of_a_step(log, line):
    text = "".join(
        line.format(s=50 * i + 50, r=f"{50 * i + 1}-{50 * i + 50}", i=i % 3, n=n) + "\n"
        for i, n in enumerate(NORMS)
    )
    found = log(text)
    assert found.norm.tolist() == NORMS and found.step.tolist() == [50 * i + 50 for i in range(12)]
    assert not sampling_of(found).every


@pytest.mark.parametrize(
    "mark", ["[rank{r}]", "[default{r}]:", "rank={r}", "INFO ({r}/4)", "{r}:", "[1,{r}]<stdout>:"]
)
def test_lines_of_several_ranks(log, mark):
    text = "".join(
        f"{mark.format(r=r)} step {i} grad_norm {n + r}\n" for i, n in enumerate(NORMS) for r in (1, 0, 3)
    )
    found = log(text)
    assert found.norm.tolist() == NORMS
    assert "rows of 3 ranks: those of rank 0 are taken, 24 of the others left out" in found.notes


@pytest.mark.parametrize("label", ["{e}", "{i}"])
def test_a_number_before_the_lines_that_is_no_rank(log, label):
    """An epoch, or the step itself: as srun --label writes ranks."""
    text = "".join(
        f"{label}: step {{i}} grad_norm {{n}}\n".format(e=e, i=i, n=e + NORMS[i])
        for e in range(3)
        for i in range(8)
    )
    assert log(text).norm.tolist() == [e + norm for e in range(3) for norm in NORMS[:8]]


def test_a_table_with_several_ranks(log):
    rows = "".join(f"{i},{r},{n + r}\n" for i, n in enumerate(NORMS) for r in (0, 1))
    found = log("step,rank,grad_norm\n" + rows)
    assert found.norm.tolist() == NORMS and "rows of 2 ranks" in found.notes[0]


@pytest.mark.parametrize(
    "line",
    [
        "grad_norm before clip {n} after clip 1.0",
        "grad norm (before clipping): {n}, after clipping: 1.0",
        "post-clip grad norm: 1.0, pre-clip grad norm: {n}",
        "clipped_grad_norm=1.0 grad_norm={n}",
        "critic_grad_norm=5.0 total_grad_norm={n}",
    ],
)
def test_of_norms_before_and_after_clipping_that_before_is_taken(log, line):
    found = log("".join(f"step {i} " + line.format(n=n) + "\n" for i, n in enumerate(NORMS)))
    assert found.norm.tolist() == NORMS and not found.after_clipping


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("step,grad_norm_d,grad_norm_g", "grad_norm_d"),
        ("step,grad_norm_d,grad_norm", "grad_norm"),
        ("step,grad_norm_critic,total_grad_norm", "total_grad_norm"),
    ],
)
def test_norms_named_for_a_part_are_norms(log, header, taken):
    names = header.split(",")
    found = log(header + "\n1,1.5,2.5\n2,1.75,2.75\n")
    assert found.taken[0].startswith(f"norm: {taken!r}, by its name; not taken: ")
    assert found.norm[0] == names.index(taken) + 0.5
    found = log(f"step 1 {names[1]}: 1.5 {names[2]}: 2.5\nstep 2 {names[1]}: 1.75 {names[2]}: 2.75\n")
    assert found.norm[0] == names.index(taken) + 0.5


def test_norms_by_their_name_from_after_clipping(log):
    found = log("".join(f"step {i} grad_norm after clip: {n}\n" for i, n in enumerate(NORMS)))
    assert found.after_clipping and found.norm.tolist() == NORMS


@pytest.mark.parametrize("setting", ["max_grad_norm: 1.0", "clip_grad_norm=1.0", "max grad norm: 1.0"])
def test_a_setting_is_no_norm(log, setting):
    found = log(f"{setting}\n" + "".join(f"step {i} grad_norm {n}\n" for i, n in enumerate(NORMS)))
    assert found.norm.tolist() == NORMS


def test_a_zero_beside_a_falling_loss_scale_is_an_overflow(log):
    text = "".join(
        f"iteration {i + 1}/ 12 | loss scale: {65536 / 2 ** (i // 4)} | grad norm: "
        f"{0.0 if i % 4 == 0 else n} |\n"
        for i, n in enumerate(NORMS)
    )
    found = log(text)
    assert found.norm[0] == 0 and math.isinf(found.norm[4]) and math.isinf(found.norm[8])
    assert "2 row(s) hold 0 where the loss scale falls" in found.notes[0]


@pytest.mark.parametrize("cell", ["", "s{i}", "first"])
def test_a_step_column_without_a_number_is_told(log, cell):
    rows = "".join(f"{cell.format(i=i)},{n}\n" for i, n in enumerate(NORMS))
    found = log("step,grad_norm\n" + rows)
    assert found.step is None and "'step' holds no number of a step" in found.notes[0]
    assert sampling_of(found).rows == "unknown"


def test_a_bar_that_begins_anew_still_shows_the_norm_of_before(log):
    """Lightning: 0/N of the next epoch is drawn, twice, before its first step is done."""
    bar = "\rEpoch {}: 10%|# | {}/3 [00:10<00:20, 9.00it/s, grad_2.0_norm_total={}]"
    text = "".join(bar.format(0, i, norm) for i, norm in ((1, 1.5), (2, 2.5), (3, 3.5)))
    text += bar.format(0, 0, 3.5) + bar.format(1, 0, 3.5)
    text += "".join(bar.format(1, i, norm) for i, norm in ((1, 3.5), (1, 4.5), (2, 5.5), (3, 6.5)))
    found = log(text + "\n")
    assert found.norm.tolist() == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]
    assert found.step.tolist() == [1, 2, 3, 4, 5, 6]


def test_keras_bar_and_the_epoch_above_it(log):
    bar = "\b\b\r\x1b[1m{}/2\x1b[0m \x1b[32m\u2501\u2501\x1b[0m \x1b[1m1s\x1b[0m 12ms/step - grad_norm: {} - loss: 2.5"
    text = "".join(
        f"Epoch {e}/9\n" + "".join(bar.format(i, e + i / 4) for i in (1, 2)) + "\n" for e in (1, 2, 4)
    )
    found = log(text)
    assert found.norm.tolist() == [1.25, 1.5, 2.25, 2.5, 4.25, 4.5]
    assert found.step.tolist() == [1, 2, 3, 4, 7, 8] and found.hint == "averaged"


def test_epochs_that_a_resumed_run_did_again(log):
    found = log("epoch,grad_norm\n" + "".join(f"{e},{n}\n" for n, e in enumerate([*range(20), *range(15, 30)])))
    assert found.norm.tolist() == [*range(15), *range(20, 35)] and found.step is None
    assert found.hint == "epoch" and any("epoch number goes back" in note for note in found.notes)


def test_norms_of_one_name_show_the_word_before(log):
    found = log("step 1 D grad norm: 1.5 G grad norm: 2.5\nstep 2 D grad norm: 1.75 G grad norm: 3.5\n")
    assert found.norm.tolist() == [1.5, 1.75]
    assert found.taken[0] == "norm: 'D grad norm: 1.5', not 'G grad norm: 2.5'"


def test_rows_without_numbers_are_no_steps():
    advice = advise_log(Log(np.array([1.0, 2.0] * 200)))
    assert not advice.numbered and "rows 0 to 399" in str(advice) and "steps 0" not in str(advice)
    assert "if the rows are means" in advice.answer.reason


def test_without_numbers_of_steps_a_row_is_not_known(log):
    found = log("".join(f"loss 2.0 grad_norm {n}\n" for n in NORMS))
    assert not sampling_of(found).every and "--rows every" in sampling_of(found).words
    assert sampling_of(found, "every").every
