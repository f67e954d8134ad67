"""Choosers: two lines in a training loop, exact, saved and restored, never broken by a NaN."""

import copy
import json
import math
import pickle
import re
import resource
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor

import gradclip
import numpy as np
import pytest
from gradclip import AdaGC, AutoClip, SkipStep, ZClip
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = [AutoClip, ZClip, AdaGC, SkipStep]
NORMS = np.exp(np.random.default_rng(7).normal(size=400)).tolist()
BAD = [math.nan, math.inf]


def small(kind):
    """One that is past its warm-up soon."""
    return {
        AutoClip: lambda: AutoClip(30.0, window=16, clip_factor=0.75),
        ZClip: lambda: ZClip(warmup_steps=4, max_norm=3.0),
        AdaGC: lambda: AdaGC(warmup_steps=4),
        SkipStep: lambda: SkipStep(8, 2.0),
    }[kind]()


def fields(decision):
    return tuple(getattr(decision, name) for name in gradclip.Decision.__slots__ if name != "norm")


# ---------------------------------------------------------------- what they decide --


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(0, 1e300), min_size=1, max_size=60),
    st.floats(0, 100),
    st.one_of(st.none(), st.integers(1, 20)),
    st.booleans(),
    st.floats(0, 10),
)
def test_autoclip_is_numpy_percentile(norms, percentile, window, threshold_first, factor):
    chooser = AutoClip(percentile, window, threshold_first=threshold_first, clip_factor=factor)
    history = []
    for norm in norms:
        before = history[:]
        history = [*history, norm][-(window or 10**6) :]
        of = before if threshold_first else history
        expected = np.percentile(of, percentile) * factor if of else math.inf
        assert chooser.feed(norm).threshold == expected


def test_zclip_clips_spikes_and_not_drift():
    zclip = ZClip()
    drift = [1 + 0.001 * i + 0.05 * math.sin(i) for i in range(300)]
    assert not any(zclip.feed(norm).clipped for norm in drift)
    spike = zclip.feed(50.0)
    assert spike.clipped and spike.threshold < 1.5 and spike.mean < 1.5
    assert spike.clip_coef == pytest.approx(spike.threshold / 50, rel=1e-6)


def test_zclip_cap_holds_in_the_warm_up_too():
    zclip = ZClip(max_norm=1.0)
    assert [zclip.feed(norm).threshold for norm in (0.5, 4.0)] == [1.0, 1.0]


def test_adagc_takes_a_number_for_its_only_gradient():
    one, listed = AdaGC(warmup_steps=2), AdaGC(warmup_steps=2)
    for norm in NORMS[:20]:
        assert fields(one.feed(norm)) == fields(listed.feed([norm]))


def test_adagc_tensor_by_tensor_is_the_rule_of_each():
    """Inside the backward pass: in any order, with gradients that are missing now and then."""
    alone, gammas = AdaGC(warmup_steps=5), [-1.0] * 3
    for step in range(1, 60):
        for i in (2, 0, 1) if step % 2 else (1, 2, 0):
            if i == 1 and step % 7 == 3:
                continue
            norm = NORMS[step] * (i + 1) / 3
            if step < 5 or gammas[i] < 0:
                coef = min(1.0, 1.0 / (norm + 1e-8))
                gammas[i] = coef * norm if gammas[i] < 0 else min(gammas[i], coef * norm)
            else:
                coef = min(1.0, 1.05 * max(gammas[i], 1e-8) / norm)
                gammas[i] += (1 - 0.98) * (coef * norm - gammas[i])
            assert alone.feed_tensor(i, array("d", [norm])) == coef
    assert alone.feed([None] * 3).steps == 60


def test_adagc_tensor_by_tensor_lets_nothing_slip_through():
    adagc = AdaGC(warmup_steps=2)
    for _ in range(3):
        assert adagc.feed_tensor(0, array("f", [0.3, 0.4])) == 1.0
    state = adagc.to_bytes()
    for bad in BAD:
        assert adagc.feed_tensor(0, array("f", [1.0, bad])) is None
    assert adagc.feed_tensor(0, array("d", [1.7e308, 1.7e308])) is None
    with pytest.raises(TypeError):  # None is no factor
        np.float32([1.0]) * adagc.feed_tensor(0, array("f", [math.nan]))
    assert adagc.to_bytes() == state
    assert adagc.feed_tensor(0, array("f", [3.0, 4.0])) == pytest.approx(0.105)
    assert adagc.feed_tensor(1, array("d", [-3.0, 4.0]), grad_scale=2.0) == pytest.approx(0.2)
    assert adagc.feed_tensor(5, array("f")) == 1.0  # an empty one has no gradient


@pytest.mark.parametrize(
    "index, grad, kind, message",
    [
        (-1, np.ones(1), ValueError, r"index must be an integer >= 0 \(got -1\)"),
        (10**6, np.ones(1), ValueError, r"index must be below 10\^6 \(got 1000000\)"),
        (0, None, ValueError, r"grad must be one array \(got 0\)"),
        (0, [np.zeros(2), np.zeros(2)], ValueError, r"grad must be one array \(got 2\)"),
        (0, np.zeros(2, "i8"), TypeError, r"grad has the wrong dtype: .* \(got int64\)"),
        (0, np.zeros(4)[::2], ValueError, "grad is not dense"),
    ],
)
def test_adagc_tensor_by_tensor_refuses(index, grad, kind, message):
    adagc = AdaGC()
    state = adagc.to_bytes()
    with pytest.raises(kind, match=message):
        adagc.feed_tensor(index, grad)
    assert adagc.to_bytes() == state


def test_adagc_tensor_by_tensor_from_many_threads_and_resumed():
    one, other = AdaGC(warmup_steps=3), AdaGC(warmup_steps=3)
    for step in range(20):
        grads = [np.full(1000, NORMS[(7 * i + step) % 100], "f4") for i in range(16)]
        expected = [one.feed_tensor(i, grad) for i, grad in enumerate(grads)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(other.feed_tensor, range(16), grads)) == expected
        assert one.to_bytes() == other.to_bytes()
        if step == 1 or step == 9:
            other = pickle.loads(pickle.dumps(other))


def test_adagc_leaves_out_what_is_not_there():
    adagc = AdaGC(warmup_steps=1, lambda_rel=2.0)
    adagc.feed([0.5, 0.25])
    assert adagc.feed([None, 5.0]).tensor_coefs == (1.0, 0.1)
    assert adagc.feed([10.0, None]).tensor_coefs == (0.1, 1.0)


def test_skipstep_skips_by_norm_and_by_loss():
    by_norm, by_loss = SkipStep(), SkipStep()
    for norm in NORMS[:100]:
        by_norm.feed(1 + norm / 9, loss=2.0), by_loss.feed(1.0, loss=norm)
    assert by_norm.feed(100.0, loss=2.0).skip and not by_norm.feed(1.5, loss=2.0).skip
    assert by_loss.feed(1.0, loss=100.0).skip and not by_loss.feed(1.0, loss=1.5).skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", KINDS)
def test_one_norm_that_is_not_finite_changes_nothing_after_it(kind, bad):
    hurt, calm = small(kind), small(kind)
    for i, norm in enumerate(NORMS):
        if i % 50 == 20:
            decision = hurt.feed(bad)
            assert decision.skip and not decision.recorded and decision.clip_coef == 1.0
        assert fields(hurt.feed(norm)) == fields(calm.feed(norm))


@pytest.mark.parametrize("bad", BAD)
def test_a_loss_that_is_not_finite_never_enters(bad):
    hurt, calm = SkipStep(8), SkipStep(8)
    for i, norm in enumerate(NORMS[:60]):
        if i % 9 == 4:
            assert hurt.feed(norm, loss=bad).skip
        assert fields(hurt.feed(norm, loss=-norm)) == fields(calm.feed(norm, loss=-norm))


# ------------------------------------------------------------------------ gradients --


def test_two_lines_in_a_training_loop():
    autoclip = AutoClip(percentile=50)
    weight = np.zeros(2, np.float32)
    for step, scale in enumerate([1, 1, 4, math.nan, 1]):
        grads = {"weight": np.float32([3, 4]) * np.float32(scale), "bias": None}
        decision = autoclip.clip_(grads)
        if decision.skip:
            assert step == 3 and "of 'weight'" in str(decision.norm.nonfinite)
            continue
        weight -= grads["weight"]
        assert decision.threshold == 5.0
        assert np.linalg.norm(grads["weight"]) == pytest.approx(5.0, rel=1e-6)
    assert weight.tolist() == pytest.approx([-12, -16], rel=1e-5) and autoclip.feed(5.0).steps == 5


@pytest.mark.parametrize("kind", KINDS)
def test_clip_is_measure_feed_and_multiply(kind):
    rng = np.random.default_rng(3)
    clips, feeds = small(kind), small(kind)
    for step in range(60):
        grads = [
            rng.normal(size=n).astype("f4") * (30 if step % 13 == 12 else 1) for n in (5, 1, 40)
        ]
        held = [None if i == 1 and step % 4 == 3 else grad.copy() for i, grad in enumerate(grads)]
        norm = gradclip.get_total_norm(held, tensor_norms=True, grad_scale=2.0)
        if kind is AdaGC:
            norms = [None if g is None else n for g, n in zip(held, norm.tensor_norms)]
            expected = feeds.feed(norms)
        else:
            expected = feeds.feed(norm)
        before = [None if grad is None else grad.copy() for grad in held]
        decision = clips.clip_(held, grad_scale=2.0)
        assert decision.norm == norm and decision.skip == expected.skip
        assert decision.threshold == expected.threshold
        assert decision.clip_coef == pytest.approx(expected.clip_coef, rel=1e-12)
        coefs = decision.tensor_coefs or [decision.clip_coef] * 3
        for grad, was, coef in zip(held, before, coefs):
            factor = 1.0 if decision.skip else coef / 2
            assert grad is None or np.array_equal(grad, was * np.float32(factor))


def test_adagc_scales_the_same_memory_once():
    adagc = AdaGC(warmup_steps=1, lambda_rel=1.0)
    shared = array("d", [0.5])
    adagc.clip_([shared, array("d", [0.5]), shared])
    shared[0] = 5.0
    decision = adagc.clip_([shared, array("d", [0.5]), shared])
    assert decision.tensor_coefs == (0.1, 1.0, 0.1) and shared[0] == 0.5


def test_the_culprit_is_named_where_there_are_gaps():
    adagc = AdaGC()
    grads = [None, array("d", [1.0]), array("d"), array("d", [1.0, math.nan])]
    decision = adagc.clip_(grads, names=["a", "b", "c", "d"])
    found = decision.norm.nonfinite
    assert decision.skip and (found.tensor, found.name, found.element) == (3, "d", 1)


def test_policies():
    autoclip = AutoClip(percentile=100)
    autoclip.feed(5.0)
    grad = array("d", [3.0, math.inf, 4.0])
    assert autoclip.clip_(grad).skip and grad.tolist() == [3.0, math.inf, 4.0]
    decision = autoclip.clip_(grad, nonfinite="zero", eps=0)
    assert grad.tolist() == [3.0, 0.0, 4.0] and decision.recorded and decision.steps == 2
    grad[1] = math.nan
    assert not autoclip.clip_(grad, nonfinite="propagate").recorded
    assert all(map(math.isnan, grad))


def test_monitor_takes_them():
    monitor = gradclip.Monitor(AutoClip(percentile=100))
    grad = array("d", [3.0, 4.0])
    monitor.clip_({"w": grad})
    assert grad.tolist() == pytest.approx([3.0, 4.0], rel=1e-6)
    gradclip.Monitor(AdaGC()).clip_({"w": grad})


# ---------------------------------------------------------------------------- state --


@pytest.mark.parametrize("how", ["pickle", "copy", "state_dict", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_chooser_decides_the_same_to_the_bit(kind, how):
    first = small(kind)
    for norm in NORMS[:50]:
        first.feed(norm)
    if how == "pickle":
        second = pickle.loads(pickle.dumps(first))
    elif how == "copy":
        second = copy.deepcopy(first)
    else:
        state = first.state_dict()
        second = kind()  # other settings: they come with the state
        second.load_state_dict(state if how == "state_dict" else json.loads(json.dumps(state)))
    assert repr(second) == repr(first) and type(second) is kind
    assert second.to_bytes() == first.to_bytes()
    for norm in NORMS[50:150]:
        assert fields(first.feed(norm)) == fields(second.feed(norm))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_and_foreign_states_are_refused(kind):
    chooser = small(kind)
    chooser.feed(2.0)
    before = chooser.to_bytes()
    state = chooser.state_dict()
    other = small(KINDS[(KINDS.index(kind) + 1) % 4]).state_dict()
    flipped = (
        state["state"][:40] + ("A" if state["state"][40] != "A" else "B") + state["state"][41:]
    )
    for bad in (
        {**state, "state": flipped},
        {**state, "state": state["state"][:-8]},
        {**state, "state": ""},
        {**state, "state": "not base64!"},
        {**state, "state": 5},
        {"state": state["state"]},
        other,
        {},
        None,
    ):
        with pytest.raises(gradclip.BadDataError):
            chooser.load_state_dict(bad)
    assert chooser.to_bytes() == before and repr(chooser) == repr(small(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_reset_forgets(kind):
    chooser = small(kind)
    fresh = chooser.to_bytes()
    for norm in NORMS[:30]:
        chooser.feed(norm)
    chooser.reset()
    assert chooser.to_bytes() == fresh


def test_a_million_and_one_norms():
    autoclip = AutoClip(percentile=90)
    norms = np.exp(np.random.default_rng(5).normal(size=1_000_050))
    for norm in norms[:1_000_000].tolist():
        autoclip.feed(norm)
    assert len(autoclip.to_bytes()) > 8_000_000
    for n in range(1_000_000, 1_000_050):
        threshold = autoclip.feed(float(norms[n])).threshold
    assert threshold == pytest.approx(np.percentile(norms, 90), rel=1 / 1024)
    assert len(autoclip.to_bytes()) < 200_000
    again = pickle.loads(pickle.dumps(autoclip))
    assert again.feed(1.0).threshold == autoclip.feed(1.0).threshold


def test_memory_is_given_back():
    held = AutoClip()
    for norm in NORMS * 150:
        held.feed(norm)
    state = held.to_bytes()

    def one():
        made = AutoClip()
        made._load(state)
        made._load(state)  # in the place of a history

    one()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(60):
        one()
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert kib < 30_000, "120 histories of a mebibyte each"


def test_threads_take_turns():
    autoclip = AutoClip()

    def feed():
        for norm in NORMS:
            autoclip.feed(norm)

    threads = [threading.Thread(target=feed) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert autoclip.feed(1.0).steps == 8 * len(NORMS) + 1
    assert autoclip.feed(1.0).threshold == np.percentile([*NORMS * 8, 1.0, 1.0], 10)


# -------------------------------------------------------------------------- refused --


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: AutoClip(101), ValueError, r"percentile must be between 0 and 100 \(got 101\)"),
        (lambda: AutoClip(math.nan), ValueError, "percentile"),
        (lambda: AutoClip("ten"), TypeError, "percentile must be a number .got 'ten'"),
        (
            lambda: AutoClip(clip_factor=-1),
            ValueError,
            r"clip_factor must be finite and >= 0 \(got -1\)",
        ),
        (lambda: AutoClip(clip_factor=math.inf), ValueError, "clip_factor .*got inf"),
        (lambda: AutoClip(clip_factor="3"), TypeError, "clip_factor must be a number .got '3'"),
        (lambda: AutoClip(window=0), ValueError, "window must be an integer from 1 .*got 0"),
        (lambda: AutoClip(window=10**6 + 1), ValueError, "window .*got 1000001"),
        (lambda: AutoClip(window=2.5), TypeError, "window .*got 2.5"),
        (lambda: ZClip(alpha=1.5), ValueError, r"alpha must be between 0 and 1 \(got 1.5\)"),
        (lambda: ZClip(z_thresh=-1), ValueError, r"z_thresh must be finite and >= 0 \(got -1\)"),
        (lambda: ZClip(warmup_steps=-1), ValueError, "warmup_steps .*got -1"),
        (lambda: ZClip(mode="zscore"), ValueError, "mode must be one of .*got 'zscore'"),
        (lambda: ZClip(max_norm=-1), ValueError, "max_norm"),
        (lambda: ZClip(clip_factor=math.inf), ValueError, "clip_factor"),
        (lambda: ZClip(eps=-1), ValueError, "eps"),
        (lambda: ZClip(alpha=None), TypeError, "alpha must be a number .got None"),
        (lambda: AdaGC(beta=-1), ValueError, r"beta must be between 0 and 1 \(got -1\)"),
        (lambda: AdaGC(lambda_abs=-2), ValueError, r"lambda_abs must be a number >= 0 \(got -2\)"),
        (lambda: AdaGC(lambda_rel=math.nan), ValueError, "lambda_rel"),
        (lambda: AdaGC(warmup_steps=1.5), TypeError, "warmup_steps .*got 1.5"),
        (lambda: SkipStep(1), ValueError, "window must be an integer from 2 .*got 1"),
        (lambda: SkipStep(sigma_factor=-1), ValueError, r"sigma_factor must be finite"),
        (lambda: AutoClip().feed(-1.0), ValueError, r"total_norm must be >= 0 \(got -1\)"),
        (lambda: AutoClip().feed("1"), TypeError, "total_norm must be a real number .got '1'"),
        (lambda: SkipStep().feed(1.0, loss="x"), TypeError, "loss must be a number .*got 'x'"),
        (lambda: AdaGC().feed([1.0, -2.0]), ValueError, r"tensor_norms\[1\] .*got -2"),
        (lambda: AdaGC().feed([]), ValueError, "count .*got 0"),
        (lambda: AutoClip().clip_([array("i", [1])]), TypeError, "grads"),
    ],
)
def test_what_cannot_be_is_named(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_adagc_wants_the_same_gradients_every_step():
    adagc = AdaGC()
    adagc.feed([1.0, 2.0])
    with pytest.raises(ValueError, match=re.escape("number of tensors of the first step (got 3)")):
        adagc.feed([1.0, 2.0, 3.0])
    grads = [array("d", [9.0])] * 1
    with pytest.raises(ValueError, match="got 1"):
        adagc.clip_(grads)
    assert grads[0][0] == 9.0


def test_integers_of_numpy_are_integers_and_saved_as_such():
    made = [
        AutoClip(window=np.int64(7)),
        ZClip(warmup_steps=np.int32(7)),
        AdaGC(warmup_steps=np.uint8(7)),
        SkipStep(window=np.int16(7)),
    ]
    for chooser in made:
        assert "int" not in repr(chooser) and "7" in repr(chooser)
        json.dumps(chooser.state_dict())
        pickle.loads(pickle.dumps(chooser))
    with pytest.raises(TypeError, match=r"window must be an integer \(got 2\.0"):
        SkipStep(window=2.0)
    with pytest.raises(TypeError, match="warmup_steps must be an integer"):
        ZClip(warmup_steps="7")
    with pytest.raises(TypeError, match="percentile must be a number"):
        AutoClip(percentile=np.array([1, 2]))
    with pytest.raises(TypeError, match=r"norms\[1\] must be a real number"):
        AdaGC().feed([1.0, "x"])
