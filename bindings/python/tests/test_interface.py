"""Conventions that hold for all functions, and what a call costs in Python."""

import inspect
import json
import math
import sys

import numpy as np
import pytest
from public import callables, mpi, with_argument

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


# How each that has a norm_type is called.
FUNCTIONS = {
    "clip_grad_norm_": lambda grads, **options: gradclip.clip_grad_norm_(grads, 1.0, **options),
    "clip_grad_norm": lambda grads, **options: gradclip.clip_grad_norm(grads, 1.0, **options)[1],
    "defer_clip": lambda grads, **options: gradclip.defer_clip(grads, 1.0, **options),
    "get_total_norm": gradclip.get_total_norm,
    "adaptive_clip_grad_": lambda grads, **options: gradclip.adaptive_clip_grad_(
        grads, [np.ones(2)], **options
    ),
    "Plan.clip_grad_norm_": lambda grads, **options: gradclip.Plan(grads).clip_grad_norm_(
        1.0, **options
    ),
    "Plan.clip_grad_norm": lambda grads, **options: gradclip.Plan(grads).clip_grad_norm(
        1.0, **options
    )[1],
    "Plan.defer_clip": lambda grads, **options: gradclip.Plan(grads).defer_clip(1.0, **options),
    "Plan.get_total_norm": lambda grads, **options: gradclip.Plan(grads).get_total_norm(**options),
    "Plan.inspect": lambda grads, **options: gradclip.Plan(grads).inspect(**options).total_norm,
    "clip_by_norm_": lambda grads, **options: gradclip.clip_by_norm_(grads, 1.0, **options),
    "clip_by_group_": lambda grads, **options: gradclip.clip_by_group_(
        {"all": grads}, 1.0, **options
    ),
    "inspect": lambda grads, **options: gradclip.inspect(grads, **options).total_norm,
    "Accumulator": lambda grads, **options: added(gradclip.Accumulator(**options), grads),
    "Accumulator.from_bytes": lambda grads, **options: added(
        gradclip.Accumulator.from_bytes(gradclip.Accumulator(**options).to_bytes(), **options), grads
    ),
    "Monitor": lambda grads, **options: gradclip.Monitor(1.0, **options).clip_(grads),
    "AutoClip.clip_": lambda grads, **options: gradclip.AutoClip().clip_(grads, **options).norm,
    "ZClip.clip_": lambda grads, **options: gradclip.ZClip().clip_(grads, **options).norm,
    "AdaGC.clip_": lambda grads, **options: gradclip.AdaGC().clip_(grads, **options).norm,
    "SkipStep.clip_": lambda grads, **options: gradclip.SkipStep().clip_(grads, **options).norm,
}


def added(accumulator, grads):
    accumulator.add(grads)
    return accumulator.finish(1.0)


def test_none_is_left_out():
    assert set(FUNCTIONS) | {"AdaGC.feed_tensor"} == with_argument(gradclip, "norm_type")
    for kind in ("inf", math.inf, np.float32(np.inf)):  # its factor is lambda_abs / norm
        factor = gradclip.AdaGC(lambda_abs=1.0).feed_tensor(0, np.array([3.0, -4.0]), norm_type=kind)
        assert factor == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_inf_may_be_written_as_torch_writes_it(function):
    assert function([np.array([3.0, -4.0])], norm_type="inf") == 4.0
    if function is not FUNCTIONS["adaptive_clip_grad_"]:  # which takes orders above 0
        assert function([np.array([3.0, -4.0])], norm_type="-inf") == 3.0
    with pytest.raises(TypeError, match="norm_type must be a (real )?number"):
        function([np.ones(2)], norm_type="two")


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.array])
def test_scalars_of_numpy_are_numbers(function, kind):
    assert function([np.array([3.0, -4.0])], norm_type=kind(2)) == 5.0


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
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


def lost_monitor():
    monitor = gradclip.Monitor(math.inf)
    with pytest.warns(gradclip.MonitorWarning):
        for value in [1.0] * 40 + [50.0, math.nan]:
            monitor.clip_({"w": np.array([value, 1.0])}, loss=value)
    return monitor


OBJECTS = {
    "Accumulator": lambda: gradclip.Accumulator(),
    "AdaGC": lambda: gradclip.AdaGC(),
    "Advice": lambda: gradclip.advise([1.0, 2.0] * 200),
    "AutoClip": lambda: gradclip.AutoClip(),
    "Culprit": lambda: lost_monitor().culprits[0],
    "Decision": lambda: gradclip.AutoClip().feed(1.0),
    "Diagnosis": lambda: lost_monitor().diagnosis,
    "Inspection": lambda: gradclip.inspect([np.ones(2)] * 500),
    "Monitor": lambda: gradclip.Monitor(1.0),
    "NonFinite": lambda: gradclip.get_total_norm([np.array([np.nan])]).nonfinite,
    "Norm": lambda: gradclip.get_total_norm([np.ones(2)] * 500, tensor_norms=True),
    "PartsNorm": lambda: gradclip.clip_by_norm_([np.ones(2)] * 500, 1.0),
    "PerExample": lambda: gradclip.clip_per_example([np.ones((500, 2))], 1.0),
    "Plan": lambda: gradclip.Plan([np.ones(2) for _ in range(500)]),
    "Report": lambda: gradclip.inspect([np.ones(2)])[0],
    "SkipStep": lambda: gradclip.SkipStep(),
    "Spike": lambda: lost_monitor().diagnosis.spikes[0],
    "Step": lambda: gradclip.Monitor(1.0).clip_([np.ones(2)]),
    "ZClip": lambda: gradclip.ZClip(),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_has_a_short_repr(name):
    made = OBJECTS[name]()
    assert type(made) is getattr(gradclip, name)
    assert 0 < len(repr(made)) <= 200 and "object at 0x" not in repr(made) and "\n" not in repr(made)


def test_no_class_is_left_out_but_errors():
    classes = {name for name in gradclip.__all__ if isinstance(getattr(gradclip, name), type)}
    errors = {name for name in classes if issubclass(getattr(gradclip, name), BaseException)}
    assert classes - errors == set(OBJECTS)
    assert len(repr(gradclip.Monitor(1.0).history)) < 100


NUMBERS = {
    "max_norm": lambda x: gradclip.clip_grad_norm_([np.ones(2)], x(1)),
    "eps": lambda x: gradclip.clip_grad_norm_([np.ones(2)], 1.0, eps=x(1)),
    "grad_scale": lambda x: gradclip.clip_grad_norm_([np.ones(2)], 1.0, grad_scale=x(2)),
    "clip_value": lambda x: gradclip.clip_grad_value_([np.ones(2)], x(1)),
    "total_norm": lambda x: gradclip.clip_grads_with_norm_([np.ones(2)], 1.0, x(2)),
    "max_norm of each": lambda x: gradclip.clip_by_norm_([np.ones(2)] * 2, [x(1), x(1)]),
    "max_norm of a group": lambda x: gradclip.clip_by_group_({"a": [np.ones(2)]}, {"a": x(1)}),
    "threshold": lambda x: gradclip.clip_by_block_rms_([np.ones(2)], x(1)),
    "clip_factor": lambda x: gradclip.adaptive_clip_grad_([np.ones(2)], [np.ones(2)], x(1), x(1)),
    "max_norm of examples": lambda x: gradclip.clip_per_example([np.ones((2, 2))], x(1), eps=x(1)),
    "adapt_max_norm": lambda x: gradclip.adapt_max_norm(x(1), x(1), x(2), x(1), x(1)),
    "an accumulator's": lambda x: added(gradclip.Accumulator(eps=x(1), grad_scale=x(2)), [np.ones(2)]),
    "finish": lambda x: gradclip.Accumulator().finish(x(1)),
    "a chooser's floats": lambda x: gradclip.AdaGC(x(0), x(1), x(1), eps=x(1)),
    "AutoClip": lambda x: gradclip.AutoClip(x(1), window=np.int64(3), clip_factor=x(1)).feed(x(2)),
    "ZClip": lambda x: gradclip.ZClip(z_thresh=x(1), warmup_steps=np.int32(2), eps=x(1)).feed(x(2)),
    "SkipStep": lambda x: gradclip.SkipStep(np.int64(4), x(1)).feed(x(2), loss=x(1)),
    "Monitor": lambda x: gradclip.Monitor(x(1), eps=x(1), history=np.int64(9)).clip_(
        [np.ones(2)], learning_rate=x(1), loss=x(1), grad_scale=x(2), step=np.int64(3)
    ),
    "inspect": lambda x: gradclip.inspect([np.ones(2)], grad_scale=x(2)),
    "advise": lambda x: str(
        gradclip.advise([1.0] * 50, learning_rate=x(1), next_lr=x(2), max_norms=[x(1)])
    ),
    "threads": lambda x: gradclip.set_num_threads(np.int64(gradclip.get_num_threads())),
}


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.array])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_may_be_numpys(name, kind):
    """What comes back is what Python's own number gives."""
    mine, theirs = NUMBERS[name](kind), NUMBERS[name](float)
    if isinstance(mine, gradclip.AdaGC):
        mine, theirs = mine.to_bytes(), theirs.to_bytes()  # its repr shows what was given
    assert repr(mine) == repr(theirs)


@pytest.mark.parametrize(
    ("kind", "message", "options"),
    [
        (ValueError, "nonfinite must be one of .* (got .*leave", {"nonfinite": ["leave"]}),
        (ValueError, "max_norm must be a real number (got an int beyond float64", {"max_norm": 10**400}),
        (ValueError, "grad_scale must be a real number (got an int beyond", {"grad_scale": 10**5000}),
        (TypeError, "names must be an iterable of names (got 5", {"names": 5}),
    ],
)
def test_what_is_refused_is_named(kind, message, options):
    grad = np.array([3.0, 4.0])
    with pytest.raises(kind, match=message.replace("(", r"\(")):
        gradclip.clip_grad_norm_([grad], **{"max_norm": 1.0, **options})
    assert grad.tolist() == [3.0, 4.0]


def nonfinite_defaults(module):
    return {
        name: str(inspect.signature(function).parameters["nonfinite"].default)
        for name, function in callables(module)
        if name.removesuffix(".__init__") in with_argument(module, "nonfinite")
    }


@pytest.mark.parametrize("module", [gradclip, mpi()], ids=["gradclip", "gradclip.mpi"])
def test_nonfinite_is_left_alone_by_default(module):
    """Of arrays: everything that is returned tells. docs/python.md has the table."""
    defaults = nonfinite_defaults(module)
    assert len(defaults) >= 3 and set(defaults.values()) == {"leave"}


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
