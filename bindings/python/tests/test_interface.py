"""Conventions that hold for all functions, and what a call costs in Python."""

import json
import math
import sys

import numpy as np
import pytest

import gradclip


def test_calls_are_shallow(monkeypatch):
    """From the call to the library: no more than 10 functions of Python, of 4 modules."""
    from gradclip._native import ffi

    real = ffi.gradclip_clip_grad_norm

    def call(*arguments):
        sys.setprofile(None)
        return real(*arguments)

    monkeypatch.setattr(ffi, "gradclip_clip_grad_norm", call)
    for grads in ([np.ones(3)], {"a": np.ones(3, "f4"), "b": np.ones(2, "f4")}):
        gradclip.clip_grad_norm_(grads, 1.0)
        frames = []

        def watch(frame, event, argument):
            if event == "call":
                frames.append(frame.f_code.co_filename)  # noqa: B023

        sys.setprofile(watch)
        try:
            gradclip.clip_grad_norm_(grads, 1.0)
        finally:
            sys.setprofile(None)
        del frames[-1]  # `call` itself
        assert len(frames) <= 10 and len(set(frames)) <= 4, frames


FUNCTIONS = [
    lambda grads, **options: gradclip.clip_grad_norm_(grads, 1.0, **options),
    lambda grads, **options: gradclip.clip_grad_norm(grads, 1.0, **options)[1],
    lambda grads, **options: gradclip.defer_clip(grads, 1.0, **options),
    lambda grads, **options: gradclip.get_total_norm(grads, **options),
    lambda grads, **options: gradclip.Plan(grads).clip_grad_norm_(1.0, **options),
    lambda grads, **options: gradclip.Plan(grads).get_total_norm(**options),
    lambda grads, **options: gradclip.clip_by_norm_(grads, 1.0, **options),
    lambda grads, **options: gradclip.clip_by_group_({"all": grads}, 1.0, **options),
    lambda grads, **options: gradclip.inspect(grads, **options).total_norm,
    lambda grads, **options: gradclip.Monitor(1.0, **options).clip_(grads),
    lambda grads, **options: gradclip.AutoClip().clip_(grads, **options).norm,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_inf_may_be_written_as_torch_writes_it(function):
    assert function([np.array([3.0, -4.0])], norm_type="inf") == 4.0
    assert function([np.array([3.0, -4.0])], norm_type="-inf") == 3.0
    with pytest.raises(TypeError, match="norm_type must be a (real )?number"):
        function([np.ones(2)], norm_type="two")


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.array])
def test_scalars_of_numpy_are_numbers(function, kind):
    assert function([np.array([3.0, -4.0])], norm_type=kind(2)) == 5.0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_comes_back_is_a_float_with_item(function):
    found = function([np.array([3.0, 4.0])])
    assert isinstance(found, float)
    if isinstance(found, gradclip.Norm):
        assert found.item() == 5.0 and type(found.item()) is float


def test_what_each_was_clipped_by_is_a_tuple_one_a_gradient():
    def grads():
        return [np.array([3.0, 4.0]), None, np.array([0.3, 0.4])]

    norms = [
        gradclip.clip_by_norm_(grads(), 1.0),
        gradclip.clip_by_block_rms_(grads(), 0.1),
        gradclip.clip_by_group_({"a": grads()[:1], "b": grads()[1:]}, 1.0),
        gradclip.adaptive_clip_grad_(grads(), [np.ones(2), None, np.ones(2)]),
    ]
    for norm in norms:
        assert type(norm.clip_coefs) is tuple and len(norm.clip_coefs) == 3
    assert norms[2].clip_coefs == (0.2, 1.0, 1.0) and norms[2].group_coefs == {"a": 0.2, "b": 1.0}


def test_max_norm_may_be_a_chooser():
    chooser, same = gradclip.AutoClip(percentile=50), gradclip.AutoClip(percentile=50)
    plan_grads = [np.zeros(2)]
    with gradclip.Plan(plan_grads) as plan:
        for scale in (1.0, 3.0, 2.0):
            mine, theirs = np.array([3.0, 4.0]) * scale, np.array([3.0, 4.0]) * scale
            decision = same.clip_([theirs])
            plan_grads[0][:] = mine
            norm = plan.clip_grad_norm_(chooser) if scale == 2 else None
            if norm is None:
                norm = gradclip.clip_grad_norm_({"w": mine}, chooser)
                assert np.array_equal(mine, theirs)
            assert norm == decision.norm and chooser.last.threshold == decision.threshold
    with pytest.raises(gradclip.NonFiniteGradientError):
        gradclip.clip_grad_norm_([np.array([np.nan])], chooser, error_if_nonfinite=True)
    assert not gradclip.clip_grad_norm_([np.array([1.0, np.inf])], chooser).nonfinite.nan_count
    assert chooser.last.skip
    with pytest.raises(TypeError, match="max_norm must be a number or one of gradclip's choosers"):
        gradclip.clip_grad_norm_([np.ones(1)], gradclip.AutoClip)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gradclip.Accumulator(),
        lambda: gradclip.Plan([np.ones(2)]),
        lambda: gradclip.Monitor(1.0),
        lambda: gradclip.Monitor(1.0).history,
        lambda: gradclip.AutoClip(),
        lambda: gradclip.AutoClip().feed(1.0),
        lambda: gradclip.inspect([np.ones(2)]),
        lambda: gradclip.inspect([np.ones(2)])[0],
        lambda: gradclip.get_total_norm([np.ones(2)]).nonfinite,
        lambda: gradclip.clip_by_norm_([np.ones(2)], 1.0),
        lambda: gradclip.clip_per_example([np.ones((2, 2))], 1.0),
    ],
)
def test_every_object_has_a_short_repr(make):
    assert 0 < len(repr(make())) <= 160 and "object at 0x" not in repr(make())


def test_a_monitor_goes_on_where_it_was():
    def run(monitor, steps):
        for norm in steps:
            monitor.clip_([np.array([norm])], loss=1 / norm, learning_rate=0.1)

    steps = [1.0, 2.0, 0.5, 8.0, 1.0, 3.0]
    whole = gradclip.Monitor(gradclip.AutoClip(percentile=50), history=4)
    run(whole, steps)
    first = gradclip.Monitor(gradclip.AutoClip(percentile=50), history=4)
    run(first, steps[:3])
    state = json.loads(json.dumps(first.state_dict()))
    second = gradclip.Monitor(gradclip.AutoClip(percentile=50), history=4)
    second.load_state_dict(state)
    run(second, steps[3:])
    assert (second.step, second.clipped, second.skipped) == (6, whole.clipped, whole.skipped)
    assert {name: list(second.history[name]) for name in second.history} == dict(
        (name, list(column)) for name, column in whole.history.items()
    )
    assert len(second.history) == len(dict(whole.history)) and second.history.steps == 4 and second.history.total == 6
    assert repr(second) == repr(whole)

    before = repr(second)
    bad = dict(state, history={"total": 1, "columns": dict(state["history"]["columns"], loss="")})
    for wrong in ({}, None, [1], bad, dict(state, step="x"), dict(state, chooser=None)):
        with pytest.raises(gradclip.BadDataError, match="state_dict"):
            second.load_state_dict(wrong)
    with pytest.raises(gradclip.BadDataError):
        gradclip.Monitor(gradclip.ZClip()).load_state_dict(state)
    with pytest.raises(gradclip.BadDataError, match="with the chooser AutoClip"):
        gradclip.Monitor(1.0).load_state_dict(state)
    assert repr(second) == before


def test_history_is_a_mapping():
    monitor = gradclip.Monitor(math.inf)
    monitor.clip_([np.array([3.0, 4.0])], learning_rate=0.5)
    columns = dict(monitor.history)
    assert list(columns)[:5] == ["step", "grad_norm", "clip_coef", "learning_rate", "loss"]
    assert columns["grad_norm"].tolist() == [5.0] and "loss" in monitor.history
    assert monitor.history.get("nothing") is None
