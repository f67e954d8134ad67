"""The what-if table, and what is recommended for another learning rate."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import lognormal, steady

import gradclip


def row(advice, max_norm):
    (found,) = (one for one in advice.what_if if one.max_norm == max_norm)
    return found


def test_a_row_is_what_clipping_every_norm_gives():
    """The oracle is the library itself: each norm as a gradient of one element."""
    norms = steady(400)
    for one in gradclip.advise(norms, max_norms=[2.5]).what_if:
        coefs = []
        for norm in norms:
            grad = np.array([norm])
            coefs.append(gradclip.defer_clip([grad], one.max_norm).clip_coef)
        assert one.clipped == np.mean(np.array(coefs) < 1)
        assert one.mean_coef == pytest.approx(np.mean(coefs), rel=1e-12)
        assert one.worst_coef == pytest.approx(min(coefs), rel=1e-12)


def test_candidates_are_constants_percentiles_and_what_is_asked_for():
    advice = gradclip.advise(steady(), max_norms=[2.5])
    assert {0.1, 0.5, 1, 5, 10, 35, 2.5} <= {one.max_norm for one in advice.what_if}
    names = [one.name for one in advice.what_if]
    assert {"p10", "p50", "p90", "p99", "p99.9", "asked for"} <= set(names)
    values = [one.max_norm for one in advice.what_if]
    assert values == sorted(values)


@pytest.mark.parametrize(
    ("over", "regime"),
    [
        (0, "inactive"),
        (9, "inactive"),
        (10, "safety net"),
        (1000, "safety net"),
        (1001, "limiter"),
        (5000, "limiter"),
        (5001, "normalised step"),
        (10000, "normalised step"),
    ],
)
def test_regimes_begin_where_the_words_say(over, regime):
    norms = np.random.default_rng(3).uniform(0.5, 0.99, 10000)
    norms[:over] += 1
    np.random.default_rng(4).shuffle(norms)
    assert row(gradclip.advise(norms, max_norms=[1.0]), 1.0).regime == regime


def test_the_table_says_what_it_assumes():
    text = " ".join(str(gradclip.advise(steady())).split())
    assert "on the same trajectory" in text
    assert "log, advise, run with the new max_norm, and advise again" in text
    assert "the rate is really lr*max_norm/norm" in text


def test_next_rate_is_lr_times_median_over_next_lr():
    norms = lognormal(7, 0.3, 300)
    advice = gradclip.advise(norms, learning_rate=0.002, next_lr=0.2, optimizer="sgd")
    (one,) = (one for one in advice.recommendations if one.intent == "next rate")
    assert one.max_norm == pytest.approx(3 * 0.002 * np.median(norms) / 0.2, rel=0.005)
    assert one == advice.answer and one.max_norm == advice.max_norm
    assert (one.learning_rate, advice.answer_lr) == (0.2, 0.2)
    assert row(advice, one.max_norm).name == "answer"
    shorter = advice.recommendations[1]
    assert shorter.max_norm == pytest.approx(0.002 * np.median(norms) / 0.2, rel=0.005)
    assert f"max_norm {shorter.max_norm:.3g}" in one.if_it_fails


def test_next_rate_follows_a_schedule():
    norms = lognormal(2, 0.3, 1000)
    rates = np.linspace(0.1, 0.01, 1000)
    advice = gradclip.advise(norms, learning_rate=rates, next_lr=0.5)
    (one,) = (one for one in advice.recommendations if one.intent == "next rate")
    assert one.max_norm == pytest.approx(3 * np.median(rates * norms) / 0.5, rel=0.005)
    assert "for SGD" in one.reason and "Adam" in one.reason


@pytest.mark.parametrize("name", ["adam", "AdamW", "adamw_torch_fused", "paged_lion_8bit", "Muon"])
def test_a_larger_rate_is_not_bought_with_max_norm_where_steps_do_not_grow_with_norms(name):
    advice = gradclip.advise(steady(), learning_rate=0.001, next_lr=0.1, optimizer=name)
    one = advice.answer
    assert one.intent == "lower rate" and advice.max_norm is None
    assert advice.answer_lr == pytest.approx(0.003)  # three times what has trained
    assert "warm-up" in one.if_it_fails and "0.001" in one.if_it_fails
    assert not any(other.intent.startswith("next rate") for other in advice.recommendations)
    assert "the rate is really lr*max_norm/norm" not in str(advice)
    assert ("leave its matrices out" in one.reason) == (name == "Muon")
    # Never more than was asked for, never less than what the log ran at.
    near = gradclip.advise(steady(), learning_rate=0.001, next_lr=0.002, optimizer=name)
    assert near.answer_lr == pytest.approx(0.001)


def test_without_the_logs_rate_the_rule_asks_for_it():
    advice = gradclip.advise(steady(), next_lr=0.1)
    (one,) = (one for one in advice.recommendations if one.intent == "next rate")
    assert one.max_norm is None and "--lr" in one.reason


def test_percentiles_answer_only_for_the_logs_own_rate():
    text = " ".join(str(gradclip.advise(steady(), learning_rate=0.05)).split())
    assert "percentiles answer only for the log's own learning rate: 0.05" in text


def test_the_answer_for_the_same_rate_is_a_safety_net():
    net, regulariser = gradclip.advise(steady()).recommendations
    assert (net.intent, regulariser.intent) == ("safety net", "regulariser")
    assert net.max_norm == pytest.approx(np.quantile(steady(), 0.99), rel=0.005)
    assert regulariser.max_norm == pytest.approx(np.quantile(steady(), 0.1), rel=0.005)
    assert "not for safety" in regulariser.reason


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0}, r"learning_rate must be a number > 0 \(got 0\)"),
        ({"learning_rate": [0.1]}, r"learning_rate must be as long as norms, 2000 \(got 1\)"),
        ({"next_lr": float("nan")}, r"next_lr must be a number > 0 \(got nan\)"),
        ({"optimizer": "sdg"}, r"optimizer must be the name of an optimizer.* \(got 'sdg'\)"),
        ({"better": "up"}, r"better must be one of .* \(got 'up'\)"),
        ({"was": 0}, r"was must be a number > 0 \(got 0\)"),
        ({"pilot": {"norms": [1.0]}}, r"pilot must have the norms and the loss .* \(got \['norms'\]\)"),
        ({"clip_coef": [1.0]}, r"clip_coef must be as long as norms, 2000 \(got 1\)"),
        ({"rows": "some"}, r"rows must be one of .* \(got 'some'\)"),
        ({"warmup": -1}, r"warmup must be a whole number >= 0 \(got -1\)"),
        ({"max_norms": [0.0]}, r"max_norms must be a number > 0 \(got 0.0\)"),
        ({"steps": [1, 1]}, r"steps must be as long as norms"),
        ({"steps": np.zeros(2000)}, r"steps must be increasing"),
        ({"loss": ["a"] * 2000}, r"loss must be numbers"),
        ({"tensor_norms": {"w": [1.0]}}, r"tensor_norms\['w'\] must be as long as norms"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(gradclip.InvalidArgumentError, match=message):
        gradclip.advise(steady(), **arguments)


@pytest.mark.parametrize(
    ("norms", "message"),
    [
        ([1.0, -2.0], r"norms must be >= 0 \(norms\[1\] is -2.0\)"),
        ([[1.0]], r"norms must have one dimension \(got 2\)"),
        ("run.csv", r"`gradclip advise FILE` reads files"),
        (["x"], r"norms must be numbers"),
    ],
)
def test_norms_must_be_norms(norms, message):
    with pytest.raises(gradclip.InvalidArgumentError, match=message):
        gradclip.advise(norms)


def test_a_generator_and_gradclips_own_norms_are_taken():
    assert gradclip.advise(gradclip.Norm(x) for x in steady()).rows == 2000


def test_the_module_and_the_function_do_not_clash(python):
    code = """
import gradclip
gradclip.advise([1.0])
import gradclip._advise.report, gradclip._cli.advise
assert callable(gradclip.advise) and gradclip.advise([1.0]).verdict == "too short"
"""
    python("-c", code)


def test_a_pilot_shorter_than_a_third_of_the_run_is_warned_of():
    norms = lognormal(7, 0.3, 300)
    for steps, warned in ((None, False), (800, False), (900, True), (10**6, True)):
        advice = gradclip.advise(norms, learning_rate=0.1, next_lr=1.0, next_steps=steps)
        assert ("short-pilot" in [one.cause for one in advice.warnings]) == warned
    with pytest.raises(gradclip.InvalidArgumentError, match=r"next_steps must be a number > 0 \(got 0\)"):
        gradclip.advise(norms, next_steps=0)


def test_where_early_norms_dwarf_the_median_the_running_median_is_named():
    norms = lognormal(7, 0.3, 400)
    norms[:30] *= 20
    advice = gradclip.advise(norms, learning_rate=0.1, next_lr=1.0, optimizer="sgd")
    assert advice.answer.intent == "next rate" and advice.max_norm is not None
    running = advice.recommendations[1]
    assert running.intent == "next rate, running" and running.max_norm is None
    assert running.chooser == "AutoClip(percentile=50, clip_factor=0.3)"
    chooser = eval(f"gradclip.{running.chooser}")  # what it names is there
    for norm in (2.0, 2.0, 2.0):
        assert chooser.feed(norm).threshold == pytest.approx(0.6)
    steady = gradclip.advise(norms[30:], learning_rate=0.1, next_lr=1.0, optimizer="sgd")
    assert "next rate, running" not in [one.intent for one in steady.recommendations]


def test_adam_is_left_alone_where_no_step_stands_out():
    norms = lognormal(7, 0.3, 400)
    advice = gradclip.advise(norms, optimizer="adamw")
    assert advice.answer.intent == "keep" and advice.max_norm is None
    assert advice.recommendations[1].intent == "safety net"
    norms[200] *= 100
    assert gradclip.advise(norms, optimizer="adamw").answer.intent == "safety net"
