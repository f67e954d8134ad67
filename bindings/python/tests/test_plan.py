"""Plan: the same results, for arrays that are looked at once."""

import gc
import math
import weakref
from array import array

import numpy as np
import pytest

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
