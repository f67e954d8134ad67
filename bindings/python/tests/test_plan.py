"""Plan: the same results, for arrays that are looked at once."""

import copy
import gc
import math
import pickle
import weakref
from array import array

import numpy as np
import pytest
from public import with_argument

import gradclip


def gradients(rng):
    return [np.array([rng.gauss(0, 3) for _ in range(n)], "f4") for n in (5, 1, 64, 0, 17)]


def test_every_step_sees_the_values_of_that_step(rng):
    grads = gradients(rng)
    with gradclip.Plan(grads) as plan:
        for _ in range(5):
            for grad in grads:
                grad[:] = [rng.gauss(0, 3) for _ in grad]
            expected, norm = gradclip.clip_grad_norm(grads, 2.0)
            assert plan.get_total_norm() == norm
            assert plan.clip_grad_norm_(2.0) == norm
            assert [g.tobytes() for g in grads] == [g.tobytes() for g in expected]


def test_keeps_the_arrays_alive():
    grad = np.array([3.0, 4.0])
    watch = weakref.ref(grad)
    plan = gradclip.Plan([grad])
    del grad
    gc.collect()
    assert watch() is not None
    assert plan.clip_grad_norm_(1.0, eps=0) == 5.0
    plan.close()
    gc.collect()
    assert watch() is None


@pytest.mark.parametrize("make", [lambda: array("f", [3.0]), lambda: bytearray(8)])
def test_resizing_raises_until_the_plan_is_closed(make):
    owner = make()
    plan = gradclip.Plan(
        [memoryview(owner).cast("B").cast("f") if isinstance(owner, bytearray) else owner]
    )
    with pytest.raises(BufferError):
        owner.extend(owner)
    plan.close()
    gc.collect()
    owner.extend(owner)


def test_resizing_an_ndarray_raises():
    grad = np.array([3.0, 4.0])
    with gradclip.Plan([grad]):
        with pytest.raises(ValueError, match="resize"):
            grad.resize(100)


def test_a_closed_plan_says_so():
    plan = gradclip.Plan([array("f", [3.0])])
    plan.close()
    plan.close()
    for call in (
        lambda: plan.clip_grad_norm_(1.0),
        lambda: plan.clip_grad_norm(1.0),
        plan.get_total_norm,
        lambda: plan.clip_grads_with_norm_(1.0, 1.0),
        lambda: plan.clip_grad_value_(1.0),
        lambda: len(plan),
    ):
        with pytest.raises(ValueError, match="the plan is closed"):
            call()
    assert repr(plan) == "<gradclip.Plan, closed>"


def test_describes_itself():
    plan = gradclip.Plan({"w": np.ones((2, 3)), "b": None, "empty": array("f")})
    assert len(plan) == 3
    assert repr(plan) == "<gradclip.Plan of 3 gradients, 6 elements>"


def test_a_plan_of_nothing():
    with gradclip.Plan([]) as plan:
        assert plan.clip_grad_norm_(1.0) == 0.0
        assert plan.clip_grad_norm(1.0) == ([], 0.0)
        plan.clip_grad_value_(1.0)


def test_names_and_errors():
    grads = [np.ones(2), np.array([1.0, math.inf])]
    with gradclip.Plan(grads, names=["w", "b"]) as plan:
        with pytest.raises(gradclip.NonFiniteGradientError, match="'b'"):
            plan.clip_grad_norm_(1.0, error_if_nonfinite=True)
        assert plan.get_total_norm().nonfinite.name == "b"
    assert grads[0].tolist() == [1.0, 1.0]


TAKING = {
    "clip_grad_norm_": lambda g: gradclip.clip_grad_norm_(g, 1.0),
    "clip_grad_norm": lambda g: gradclip.clip_grad_norm(g, 1.0)[0]["w"].tolist(),
    "defer_clip": lambda g: gradclip.defer_clip(g, 1.0).factor,
    "get_total_norm": lambda g: gradclip.get_total_norm(g),
    "clip_grads_with_norm_": lambda g: gradclip.clip_grads_with_norm_(g, 1.0, 2.0).factor,
    "clip_grad_value_": lambda g: gradclip.clip_grad_value_(g, 1.5),
    "clip_by_norm_": lambda g: gradclip.clip_by_norm_(g, {"w": 1.0, "b": 9.0}).clip_coefs,
    "clip_by_block_rms_": lambda g: gradclip.clip_by_block_rms_(g, 1.0).clip_coefs,
    "adaptive_clip_grad_": lambda g: gradclip.adaptive_clip_grad_(
        g, {"b": np.ones((2, 1)), "w": np.ones((2, 2))}
    ),
    "clip_per_example": lambda g: gradclip.clip_per_example(g, 1.0).sums["w"].tolist(),
    "inspect": lambda g: str(gradclip.inspect(g)),
    "Monitor.clip_": lambda g: gradclip.Monitor(1.0).clip_(g),
    **{
        f"{kind}.clip_": lambda g, kind=kind: getattr(gradclip, kind)().clip_(g).clip_coef
        for kind in ("AutoClip", "ZClip", "AdaGC", "SkipStep")
    },
    "Accumulator.add": lambda g: added(g),
}


def added(grads):
    accumulator = gradclip.Accumulator()
    accumulator.add(grads)
    return accumulator.finish()


def named():
    return {"w": np.array([[3.0, 4.0], [0.5, -2.0]]), "b": np.array([[12.0], [-1.0]])}


@pytest.mark.parametrize("name", TAKING)
def test_what_takes_gradients_takes_a_plan(name):
    mine, theirs = named(), named()
    assert TAKING[name](gradclip.Plan(mine)) == TAKING[name](theirs)
    assert str(mine) == str(theirs)


def test_no_function_that_takes_gradients_is_left_out():
    methods = {name for name in with_argument(gradclip, "grads") if name.startswith("Plan")}
    assert methods == {"Plan"} | {f"Plan.{name}" for name in list(TAKING)[:6]}
    assert set(TAKING) == with_argument(gradclip, "grads") - methods


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_plan_is_of_this_process(take):
    with pytest.raises(TypeError, match="a Plan cannot be copied or pickled"):
        take(gradclip.Plan([np.ones(2)]))


def test_a_plan_has_its_names():
    with pytest.raises(TypeError, match="names must be None for a Plan"):
        gradclip.Plan(named()).clip_grad_norm_(1.0, names=["a", "b"])
    monitor = gradclip.Monitor(1.0, names=["mine", "others"])  # for what has none
    with pytest.warns(gradclip.MonitorWarning, match="'w'"):
        monitor.clip_(gradclip.Plan({"w": np.array([math.nan])}))


def test_changing_the_list_does_not_change_the_plan():
    grads = [np.array([3.0]), np.array([4.0])]
    plan = gradclip.Plan(grads)
    grads.pop()
    assert plan.get_total_norm() == 5.0


def test_out_of_place_makes_new_arrays_each_time():
    with gradclip.Plan([np.array([3.0, 4.0])]) as plan:
        (first,), _ = plan.clip_grad_norm(1.0, eps=0)
        (second,), _ = plan.clip_grad_norm(10.0)
    assert first.tolist() == [3.0 * 0.2, 4.0 * 0.2] and second.tolist() == [3.0, 4.0]
