"""get_total_norm, clip_grads_with_norm_ and clip_grad_value_, called directly and by a plan."""

import math
from array import array

import numpy as np
import pytest

import gradclip


def direct(function, grads, *args, **kwargs):
    return getattr(gradclip, function)(grads, *args, **kwargs)


def planned(function, grads, *args, **kwargs):
    with gradclip.Plan(grads) as plan:
        return getattr(plan, function)(*args, **kwargs)


both = pytest.mark.parametrize("call", [direct, planned])


@both
def test_total_norm_writes_nothing(call):
    grads = [np.array([3.0, 4.0], "f4"), np.array([12.0])]
    norm = call("get_total_norm", grads, tensor_norms=True)
    assert norm == 13.0 and norm.clip_coef == 1.0 and not norm.clipped
    assert norm.tensor_norms == (5.0, 12.0)
    assert grads[0].tolist() == [3.0, 4.0] and grads[1].tolist() == [12.0]


@both
def test_total_norm_of_scaled_gradients(call):
    assert call("get_total_norm", [array("d", [3.0, 4.0])], grad_scale=0.5) == 10.0


@both
def test_total_norm_without_the_nonfinite(call):
    grads = [array("d", [3.0, math.inf, 4.0])]
    assert call("get_total_norm", grads) == math.inf
    assert call("get_total_norm", grads, nonfinite="zero") == 5.0
    with pytest.raises(gradclip.NonFiniteGradientError, match="element 1"):
        call("get_total_norm", grads, error_if_nonfinite=True, nonfinite="zero")


def test_total_norm_of_read_only_gradients():
    frozen = np.array([3.0, 4.0])
    frozen.flags.writeable = False
    assert gradclip.get_total_norm([frozen]) == 5.0
    assert gradclip.get_total_norm(memoryview(frozen)) == 5.0


@both
def test_clip_by_a_known_norm(call):
    grad = np.array([3.0, 4.0])
    norm = call("clip_grads_with_norm_", [grad], 1.0, 10.0, eps=0)
    assert norm == 10.0 and norm.clip_coef == 0.1 and norm.clipped
    assert grad.tolist() == [3.0 * 0.1, 4.0 * 0.1]
    norm = call("clip_grads_with_norm_", [grad], 1.0, 0.5)
    assert norm == 0.5 and norm.clip_coef == 1.0 and not norm.clipped
    assert grad.tolist() == [3.0 * 0.1, 4.0 * 0.1]


@both
def test_the_two_halves_are_the_whole(call):
    whole = [np.array([3.0, -4.0], "f4"), np.array([1e3, 2.0], "f4")]
    halves = [g.copy() for g in whole]
    gradclip.clip_grad_norm_(whole, 2.5)
    call("clip_grads_with_norm_", halves, 2.5, gradclip.get_total_norm(halves))
    assert [g.tobytes() for g in halves] == [g.tobytes() for g in whole]


@both
def test_an_infinite_known_norm_follows_the_policy(call):
    grad = np.array([3.0, math.inf])
    norm = call("clip_grads_with_norm_", [grad], 1.0, math.inf)
    assert norm == math.inf and not norm.clipped
    assert grad.tolist() == [3.0, math.inf]
    norm = call("clip_grads_with_norm_", [grad], 1.0, math.inf, nonfinite="propagate")
    assert norm.clip_coef == 0.0 and norm.clipped
    assert grad[0] == 0.0 and math.isnan(grad[1])


@both
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_a_known_norm_must_be_one(call, value):
    with pytest.raises(ValueError, match="total_norm"):
        call("clip_grads_with_norm_", [array("d", [3.0])], 1.0, value)


@both
def test_clip_by_value(call):
    grad = np.array([-3.0, 0.25, math.inf, math.nan, -0.5], "f4")
    assert call("clip_grad_value_", [grad], 0.5) is None
    assert grad[[0, 1, 2, 4]].tolist() == [-0.5, 0.25, 0.5, -0.5]
    assert math.isnan(grad[3])


@both
@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_clip_value_must_be_one(call, value):
    with pytest.raises(gradclip.InvalidArgumentError, match="clip_value"):
        call("clip_grad_value_", [array("d", [3.0])], value)
    with pytest.raises(TypeError, match=r"clip_value must be a real number \(got 'x'\)"):
        call("clip_grad_value_", [array("d", [3.0])], "x")
