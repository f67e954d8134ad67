"""Logs in JSON: what RLlib, mmdetection 2, MLflow and Comet write, and objects one behind the other."""

from __future__ import annotations

import json
import math

import pytest
from log_norms import same

from gradclip._advise import advise_log

NORMS = [1.0, 1.5, math.nan, 2.5, 1.25, 1.75]


def _rllib(norms, **config):
    """Ray writes a NaN of NumPy's as the string "null"."""
    return "".join(
        json.dumps(
            {
                "info": {"learner": {"default_policy": {"learner_stats": {"grad_gnorm": norm}}}},
                "training_iteration": place + 1,
                "config": config,
            }
        )
        + "\n"
        for place, norm in enumerate("null" if math.isnan(norm) else norm for norm in norms)
    )


def test_rllibs_null_is_a_nan_and_a_row_no_step(log):
    found = log(_rllib(NORMS, lr=0.1, grad_clip=None))
    assert same(found.norm, NORMS) and found.format == "RLlib's result.json"
    advice = advise_log(found)
    assert not advice.every and advice.rows_are.startswith("means")


def test_rllibs_norms_are_from_after_clipping(log):
    found = log(_rllib([min(2.0, norm) for norm in NORMS], grad_clip=2.0))
    assert set(found.max_norm.tolist()) == {2.0}
    assert any("smaller of the norm and its grad_clip" in note for note in found.notes)
    found = log(_rllib(NORMS, grad_clip=2.0))  # as Ray 1 did
    assert not any("grad_clip" in note for note in found.notes)


def test_rllibs_clipping_of_values_is_no_max_norm(log):
    assert log(_rllib(NORMS, grad_clip=2.0, grad_clip_by="value")).max_norm is None


def test_mmdetections_first_line_is_about_the_run(log):
    lines = '{"env_info": "sys.platform: linux", "seed": 0}\n' + "".join(
        f'{{"mode": "train", "epoch": 1, "iter": {i}, "lr": 0.01, "memory": 3900, "data_time": 0.05,'
        f' "grad_norm": {norm}, "time": 0.4}}\n'
        for i, norm in enumerate([1.0, 1.5, 2.5], 1)
    )
    found = log(lines)
    assert found.format == "JSON lines of mmengine or mmdetection" and found.hint == "averaged"


@pytest.mark.parametrize("keys", [("key", "value"), ("metricName", "metricValue")])
@pytest.mark.parametrize("inside", [True, False])
def test_a_record_for_each_value(log, keys, inside):
    """MLflow's and Comet's, also among those of other metrics."""
    records = [
        {keys[0]: name, keys[1]: value, "timestamp": 1700000000000, "step": step}
        for step, norm in enumerate(NORMS)
        for name, value in (("loss", 2.5), ("grad_norm", str(norm)))
    ]
    found = log(json.dumps({"metrics": records} if inside else records))
    assert same(found.norm, NORMS) and found.step.tolist() == list(range(6))
    assert found.loss.tolist() == [2.5] * 6


def test_objects_one_behind_the_other(log):
    text = "".join(
        json.dumps({"step": step, "grad_norm": norm}, indent=2) + "\n"
        for step, norm in enumerate(NORMS)
    )
    found = log(text)
    assert same(found.norm, NORMS) and not found.notes
    cut = log(text[:-30])
    assert same(cut.norm, NORMS[:-1]) and any("left out" in note for note in cut.notes)
