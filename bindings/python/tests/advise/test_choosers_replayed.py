"""Every chooser is replayed over the log: what it would have done, by feeding it directly."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import make, steady

import gradclip
from gradclip._advise import choosers


def replayed(advice):
    return {one.name: one for one in advice.choosers}


def test_each_is_what_feeding_it_gives():
    norms = make("NaN bursts").norms
    norms[1000] = 200.0
    loss = np.where(np.arange(2000) == 1200, 90.0, np.random.default_rng(1).normal(2, 0.1, 2000))
    found = replayed(gradclip.advise(norms, loss=loss))
    fed = {
        "AutoClip(percentile=10)": gradclip.AutoClip(percentile=10),
        "AutoClip(percentile=99)": gradclip.AutoClip(percentile=99),
        "ZClip()": gradclip.ZClip(),
        "AdaGC(), as one gradient": gradclip.AdaGC(),
        "SkipStep()": gradclip.SkipStep(),
    }
    assert list(found) == list(fed)
    for name, chooser in fed.items():
        with_loss = name.startswith("SkipStep")
        decisions = [
            chooser.feed(norm, loss=loss[i]) if with_loss else chooser.feed(norm)
            for i, norm in enumerate(norms)
        ]
        taken = [decision.clip_coef for decision in decisions if not decision.skip]
        assert found[name].clipped == np.mean([decision.clip_coef < 1 for decision in decisions])
        assert found[name].skipped == np.mean([decision.skip for decision in decisions])
        assert found[name].mean_coef == pytest.approx(np.mean(taken), rel=1e-12)
        assert found[name].worst_coef == min(taken)
        assert found[name].last == decisions[-1].threshold
    assert found["SkipStep()"].skipped == 14 / 2000  # 12 NaN, one norm, one loss


def test_autoclip_follows_a_drift_that_no_fixed_value_fits():
    found = replayed(gradclip.advise(make("rising").norms))
    assert found["AutoClip(percentile=99)"].last > 5  # the level begins at 1


def test_of_a_long_log_the_last_rows_are_replayed(monkeypatch):
    monkeypatch.setattr(choosers, "LONGEST", 500)
    norms = steady()
    found = replayed(gradclip.advise(norms))
    autoclip = gradclip.AutoClip(percentile=10)
    for norm in norms[-500:]:
        last = autoclip.feed(norm).threshold
    assert found["AutoClip(percentile=10)"].last == last


@pytest.mark.parametrize("name", ["sampled", "post-clip", "diverged late", "loss scale", "5 rows"])
def test_none_is_replayed_where_it_would_mean_nothing(name):
    made = make(name)
    assert gradclip.advise(made.norms, **made.arguments).choosers == []
