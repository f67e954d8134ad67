"""The logs of the programs that people have are read, and what was taken of them is said."""

from __future__ import annotations

import json
import math

import pytest
from log_norms import NORMS, same

from gradclip._advise.log import LogError
from gradclip._advise.readers import read
from gradclip._advise.sampling import sampling_of

# --------------------------------------------------------- Hugging Face Trainer --


def trainer_state(norms, logging_steps=10):
    history = []
    for i, norm in enumerate(norms, 1):
        record = {
            "epoch": i / 10,
            "grad_norm": norm,
            "learning_rate": 5e-05 * i,
            "loss": 2.5 if math.isfinite(norm) else 0.0,
            "step": i * logging_steps,
        }
        history.append(record)
        if i % 2 == 0:
            history.append({"epoch": i / 10, "eval_loss": 2.0, "step": i * logging_steps})
    state = {
        "best_metric": None,
        "epoch": 1.0,
        "global_step": 60,
        "log_history": history,
        "logging_steps": logging_steps,
        "max_steps": 60,
        "stateful_callbacks": {},
    }
    return json.dumps(state, indent=2)


def test_trainer_state(log):
    text = trainer_state(NORMS)
    assert '"grad_norm": NaN' in text and '"grad_norm": Infinity' in text
    found = log(text, "trainer_state.json")
    assert found.format == "trainer_state.json"
    assert same(found.norm, NORMS)
    assert found.step.tolist() == [10, 20, 30, 40, 50, 60]
    assert found.learning_rate == pytest.approx([5e-05 * i for i in range(1, 7)])
    assert sampling_of(found).rows == "sampled" and sampling_of(found).stride == 10
    assert any("0.0 beside a norm that is not finite" in note for note in found.notes)
    assert any("3 record(s) have no norm" in note for note in found.notes)


def test_trainer_state_of_every_step(log):
    found = log(trainer_state(NORMS, logging_steps=1))
    assert sampling_of(found).every


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.7, 0.9])
def test_trainer_state_that_is_cut_off(log, kept):
    text = trainer_state([1.0 + i for i in range(50)])
    cut = text[: int(len(text) * kept)]
    found = log(cut)
    whole = cut.count("}", cut.index("log_history"))
    assert 10 <= len(found) <= whole
    assert found.norm.tolist() == [1.0 + i for i in range(len(found))]
    assert any("ends in the middle" in note for note in found.notes)


def test_trainer_output(log):
    lines = [
        f"{{'loss': 2.5, 'grad_norm': {norm}, 'learning_rate': 5e-05, 'epoch': {i / 10}}}"
        for i, norm in enumerate([3.5, 2.25, 1e-3], 1)
    ]
    found = log("\r 10%|#  | 1/10 [00:01]" + "\n\r 20%|## |".join(lines) + "\n")
    assert found.norm.tolist() == [3.5, 2.25, 1e-3]
    assert "Hugging Face" in found.format and found.learning_rate.tolist() == [5e-05] * 3
    assert sampling_of(found).rows == "sampled"


# ------------------------------------------------------------------- mmengine --


def test_mmengine_scalars(log):
    lines = [
        {"lr": 0.02, "data_time": 0.01, "grad_norm": norm, "loss": 1.2, "time": 0.3, "epoch": 1,
         "iter": 50 * i, "memory": 3000, "step": 50 * i}
        for i, norm in enumerate(NORMS, 1)
    ]  # fmt: skip
    lines.insert(3, {"coco/bbox_mAP": 0.1, "data_time": 0.2, "time": 0.4, "step": 1})
    found = log("\n".join(map(json.dumps, lines)) + "\n", "scalars.json")
    assert same(found.norm, NORMS) and found.step.tolist() == [50 * i for i in range(1, 7)]
    assert found.learning_rate.tolist() == [0.02] * 6
    assert "mmengine" in found.format and sampling_of(found).rows == "averaged"


def test_mmengine_means_even_of_every_step(log):
    lines = [
        {"lr": 0.02, "data_time": 0.01, "grad_norm": 1.0, "iter": i, "step": i, "time": 1.0}
        for i in range(1, 30)
    ]
    assert sampling_of(log("\n".join(map(json.dumps, lines)) + "\n")).rows == "averaged"


MMDET = (
    "2021-08-18 19:36:00,257 - mmdet - INFO - Epoch [{e}][{i}/2852]\tlr: 1.978e-03, eta: 5:02:49, "
    "time: 0.784, data_time: 0.085, memory: 8104, loss_cls: 0.8811, loss_bbox: 0.2141, "
    "loss: 1.6522, grad_norm: {norm}\n"
)
MMENGINE = (
    "08/03 22:09:24 - mmengine - INFO - Epoch(train)  [{e}][ {i}/2852]  lr: 2.0000e-02  "
    "eta: 0:39:15  time: 0.0578  data_time: 0.0017  memory: 2389  grad_norm: {norm}  "
    "loss: 1.5  loss_cls: 0.5\n"
)


@pytest.mark.parametrize(
    ("line", "name", "rate"), [(MMDET, "mmdetection", 1.978e-03), (MMENGINE, "mmengine", 0.02)]
)
def test_mmdetection_text(log, line, name, rate):
    text = "2021-08-18 19:35:00 - mmdet - INFO - workflow: [('train', 1)], max: 12 epochs\n"
    text += line.format(e=1, i=50, norm="118.5000")
    text += line.format(e=1, i=100, norm="nan")
    text += "2021-08-18 19:50:00,257 - mmdet - INFO - Epoch(val) [1][500]\tbbox_mAP: 0.1\n"
    text += line.format(e=2, i=50, norm="17.2500")
    found = log(text)
    assert same(found.norm, [118.5, math.nan, 17.25])
    assert found.step.tolist() == [50, 100, 2852 + 50]
    assert found.learning_rate.tolist() == [rate] * 3
    assert found.loss.tolist() == pytest.approx([1.6522 if name == "mmdetection" else 1.5] * 3)
    assert name in found.format and sampling_of(found).rows == "averaged"


# ----------------------------------------------------------------- other text --


def test_megatron(log):
    line = (
        " [2025-08-28 16:34:06] iteration       {i}/  500000 | consumed samples:          160 | "
        "elapsed time per iteration (ms): 659.7 | learning rate: 4.915152E-07 | "
        "global batch size:  {batch} | lm loss: 1.160216E+01 | loss scale: 1.0 | "
        "grad norm: {norm} | num zeros: 173263472.0 | number of skipped iterations:   0 | "
        "number of nan iterations:   0 |\n"
    )
    rows = [(20, 8, "5.662"), (40, 8, "nan"), (60, 16, "4.5")]
    text = "".join(line.format(i=i, batch=batch, norm=norm) for i, batch, norm in rows)
    found = log("[before the start of training step] datetime: 2025-08-28\n" + text)
    assert same(found.norm, [5.662, math.nan, 4.5]) and found.step.tolist() == [20, 40, 60]
    assert found.learning_rate.tolist() == [4.915152e-07] * 3
    assert found.loss == pytest.approx([11.60216] * 3)
    assert found.batch_size.tolist() == [8, 8, 16] and found.loss_scale.tolist() == [1, 1, 1]
    assert "Megatron" in found.format and sampling_of(found).rows == "sampled"


def test_fairseq(log):
    text = "2020-04-05 18:38:41 | INFO | fairseq.trainer | loading train data for epoch 0\n"
    text += "".join(
        f"2020-04-05 18:40:00 | INFO | train_inner | epoch 001:    {i} / 8223 loss=13.5, "
        f"nll_loss=1.1, ppl=2.16, wps=80656, bsz=510, num_updates={i}, lr=0.000332268, "
        f"gnorm={norm}, clip=2, "
        "loss_scale=64, train_wall=26\n"
        for i, norm in ((100, "1.152"), (200, "2.5"))
    )
    found = log(text)
    assert found.norm.tolist() == [1.152, 2.5] and found.step.tolist() == [100, 200]
    assert found.learning_rate.tolist() == [0.000332268] * 2 and found.loss.tolist() == [13.5] * 2
    assert sampling_of(found).rows == "averaged"


def test_fairseq_json(log):
    text = "".join(
        f'2020-04-05 | INFO | train_inner | {{"epoch": 1, "loss": "13.5", "num_updates": "{i}", '
        f'"lr": "0.0003", "gnorm": "{norm}", "clip": "2"}}\n'
        for i, norm in ((100, "1.152"), (200, "2.5"))
    )
    found = log(text)
    assert found.norm.tolist() == [1.152, 2.5] and found.step.tolist() == [100, 200]


def test_llm_c(log):
    text = "| device | NVIDIA A100 |\n" + "".join(
        f"step {i:4d}/74 | loss 3.208939 (+nanz)| norm {norm} (+nanz)| lr 3.00e-04 | 44.57 ms | "
        "-100.0% bf16 MFU | 91886 tok/s\n"
        for i, norm in ((1, "15.3400"), (2, "nan"), (3, "1.2991"))
    )
    found = log(text)
    assert same(found.norm, [15.34, math.nan, 1.2991]) and found.step.tolist() == [1, 2, 3]
    assert found.learning_rate.tolist() == [3e-4] * 3 and "llm.c" in found.format
    assert sampling_of(found).every


def test_torchtitan(log):
    line = (
        "[rank0]:\x1b[36m[titan] 2025-01-10 18:26:08 - root - INFO - \x1b[31mstep: {i:2d}  "
        "\x1b[32mloss:  8.1309  \x1b[38;2;180;60;0mgrad_norm:  {norm}  "
        "\x1b[33mmemory: 10.5GiB(11%)  \x1b[34mtps: 1,234  \x1b[36mtflops: 5.5  "
        "\x1b[35mmfu: 1.1%\x1b[39m\n"
    )
    found = log(
        "".join(line.format(i=i, norm=n) for i, n in ((1, "1.2345"), (10, "2.5"), (20, "3")))
    )
    assert found.norm.tolist() == [1.2345, 2.5, 3.0] and found.step.tolist() == [1, 10, 20]
    assert found.loss == pytest.approx([8.1309] * 3)
    assert "torchtitan" in found.format and sampling_of(found).rows == "sampled"


@pytest.mark.parametrize(
    "line",
    [
        "step {i}: loss 2.5, grad norm {n}, lr 0.1",
        "INFO iter={i} loss=2.5 lr=0.1 grad_norm={n}",
        "iteration {i} | lr: 0.1 | loss: 2.5 | gradient norm: {n}",
        "[step {i}] loss: 2.5 lr: 0.1 total_norm: {n}",
        "step={i} loss=2.5 lr=0.1 grad_norm=tensor({n})",
        'epoch: 1 {{"global_step": {i}, "loss": 2.5, "lr": 0.1, "global_grad_norm": {n}}}',
    ],
)
def test_other_text(log, line):
    found = log(
        "".join(line.format(i=i, n=n) + "\n" for i, n in ((1, "3.5"), (2, "1e-3"), (3, "nan")))
    )
    assert same(found.norm, [3.5, 1e-3, math.nan]) and found.step.tolist() == [1, 2, 3]
    assert found.loss.tolist() == [2.5] * 3 and found.learning_rate.tolist() == [0.1] * 3


def test_pattern(log):
    text = "at 1 we saw |g|=3.5 !\nat 2 we saw |g|=nan !\nnothing\nat 3 we saw |g|=? !\n"
    found = log(text, pattern=r"\|g\|=(\S+)")
    assert same(found.norm, [3.5, math.nan]) and found.step is None
    assert found.notes == ["in 1 line(s) what the pattern finds is no number"]
    found = log(text, pattern=r"at (?P<step>\d+) we saw \|g\|=(?P<norm>\S+)")
    assert found.step.tolist() == [1, 2] and "pattern" in found.taken[0]


@pytest.mark.parametrize("pattern", ["(", "norm", "(?P<norm"])
def test_a_wrong_pattern_is_an_error(log, pattern):
    with pytest.raises(LogError, match="--pattern"):
        log("norm 1\n", pattern=pattern)


# ------------------------------------------------------------------ directories --


def test_a_directory_holds_its_log(tmp_path):
    (tmp_path / "trainer_state.json").write_text(trainer_state(NORMS))
    assert same(read(str(tmp_path)).norm, NORMS)
    (tmp_path / "trainer_state.json").unlink()
    with pytest.raises(LogError, match="directory"):
        read(str(tmp_path))
