"""NaN and infinite gradients: found, named, and treated by the policy."""

import copy
import math
import pickle
from array import array

import numpy as np
import pytest

import gradclip

NAN, INF = math.nan, math.inf


def gradients():
    return {
        "encoder": {"weight": np.ones((2, 3)), "bias": None},
        "decoder": [np.array([[1.0, 2.0, 3.0], [4.0, NAN, -INF]], "f4"), np.array([INF])],
    }


def check_report(nonfinite):
    assert nonfinite and nonfinite.count == 3
    assert nonfinite.nan_count == 1 and nonfinite.inf_count == 2
    assert nonfinite.tensor == 2 and nonfinite.name == "decoder.0"
    assert nonfinite.element == 4 and nonfinite.index == (1, 1)


@pytest.mark.parametrize("policy", ["leave", "propagate", "zero"])
def test_reported_in_every_policy(policy):
    check_report(gradclip.clip_grad_norm_(gradients(), 1.0, nonfinite=policy).nonfinite)
    check_report(gradclip.clip_grad_norm(gradients(), 1.0, nonfinite=policy)[1].nonfinite)
    check_report(gradclip.get_total_norm(gradients(), nonfinite=policy).nonfinite)
    with gradclip.Plan(gradients()) as plan:
        check_report(plan.clip_grad_norm_(1.0, nonfinite=policy).nonfinite)


@pytest.mark.parametrize("norm_type", [2, 0, -1, INF, -INF])
def test_the_elements_are_the_trigger_not_the_norm(norm_type):
    norm = gradclip.clip_grad_norm_([array("d", [1.0, INF])], 0.5, norm_type)
    assert norm.nonfinite.count == 1 and not norm.clipped


def test_leave_is_the_default_and_writes_nothing():
    grads = gradients()
    before = copy.deepcopy(grads)
    norm = gradclip.clip_grad_norm_(grads, 0.1)
    assert math.isnan(norm) and not norm.clipped
    np.testing.assert_equal(grads, before)


def test_leave_out_of_place_copies():
    grads = gradients()
    clipped, norm = gradclip.clip_grad_norm(grads, 0.1)
    assert math.isnan(norm) and not norm.clipped
    np.testing.assert_equal(clipped, grads)
    assert not np.shares_memory(clipped["decoder"][0], grads["decoder"][0])
    ints = array("d", [1.0, INF])
    assert gradclip.clip_grad_norm(ints, 0.1)[0] == ints


def test_propagate_is_what_torch_does():
    grad = np.array([1.0, INF, -2.0])
    norm = gradclip.clip_grad_norm_([grad], 1.0, nonfinite="propagate")
    assert norm == INF and norm.clip_coef == 0.0 and norm.clipped
    assert grad[0] == 0 and math.isnan(grad[1]) and grad[2] == 0
    grad = np.array([1.0, NAN])
    norm = gradclip.clip_grad_norm_([grad], 1.0, nonfinite="propagate")
    assert math.isnan(norm) and math.isnan(norm.clip_coef)
    assert np.isnan(grad).all()


def test_zero_replaces_and_clips_the_rest():
    grads = [np.array([3.0, NAN]), np.array([INF, 4.0, -INF])]
    new, norm = gradclip.clip_grad_norm(grads, 1.0, eps=0, nonfinite="zero")
    assert norm == 5.0 and norm.clip_coef == 0.2 and norm.clipped
    assert norm.nonfinite.count == 3 and norm.nonfinite.nan_count == 1
    assert [g.tolist() for g in new] == [[3.0 * 0.2, 0.0], [0.0, 4.0 * 0.2, 0.0]]
    assert gradclip.clip_grad_norm_(grads, 100.0, nonfinite="zero") == 5.0
    assert [g.tolist() for g in grads] == [[3.0, 0.0], [0.0, 4.0, 0.0]]


@pytest.mark.parametrize("policy", ["leave", "propagate", "zero"])
@pytest.mark.parametrize("function", [gradclip.clip_grad_norm_, gradclip.clip_grad_norm])
def test_error_names_tensor_and_element_before_anything_is_written(policy, function):
    grads = gradients()
    before = copy.deepcopy(grads)
    with pytest.raises(gradclip.NonFiniteGradientError) as caught:
        function(grads, 0.1, error_if_nonfinite=True, nonfinite=policy)
    check_report(caught.value.nonfinite)
    assert isinstance(caught.value, RuntimeError)
    assert "element 4, index (1, 1), of 'decoder.0' (gradient 2)" in str(caught.value)
    assert "3 elements are not finite (1 NaN, 2 infinite)" in str(caught.value)
    np.testing.assert_equal(grads, before)


def test_no_error_for_finite_gradients():
    grad = array("d", [3.0, 4.0])
    assert gradclip.clip_grad_norm_([grad], 1.0, error_if_nonfinite=True) == 5.0
    assert grad[0] < 1.0


def test_the_error_can_be_pickled():
    with pytest.raises(gradclip.NonFiniteGradientError) as caught:
        gradclip.get_total_norm([array("d", [NAN])], error_if_nonfinite=True)
    twin = pickle.loads(pickle.dumps(caught.value))
    assert str(twin) == str(caught.value) and twin.nonfinite == caught.value.nonfinite


def test_given_names_win_and_positions_count_none():
    grads = [None, np.ones(2), None, np.array([1.0, 2.0, NAN])]
    names = ["a", "b", "c", "d"]
    for found in (
        gradclip.clip_grad_norm_(grads, 1.0, names=names).nonfinite,
        gradclip.Plan(grads, names=names).get_total_norm().nonfinite,
    ):
        assert (found.tensor, found.name, found.element, found.index) == (3, "d", 2, (2,))
    plain = gradclip.get_total_norm(grads).nonfinite
    assert (plain.tensor, plain.name) == (3, None)
    assert "of gradient 3" in str(plain)
    assert gradclip.get_total_norm({"x": grads[3]}, names=["y"]).nonfinite.name == "y"


def test_index_of_a_scalar_gradient():
    found = gradclip.get_total_norm(np.array(INF)).nonfinite
    assert (found.tensor, found.element, found.index) == (0, 0, ())


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
@pytest.mark.parametrize("flip", [False, True])
def test_index_in_any_memory_order(axes, flip):
    place = (1, 2, 3)
    grad = np.ones([(2, 3, 5)[axis] for axis in axes]).transpose(np.argsort(axes))
    if flip:
        grad = grad[:, ::-1]
    assert grad.shape == (2, 3, 5)
    grad[place] = NAN
    found = gradclip.get_total_norm([grad]).nonfinite
    assert found.index == place
    assert math.isnan(grad.flat[found.element])


def test_finite_report_says_so():
    finite = gradclip.get_total_norm([array("d", [1.0])]).nonfinite
    assert str(finite) == "the gradients are finite"
    assert "count=0" in repr(finite)
    assert hash(finite) == hash(gradclip.NonFinite()) and finite != 0
