"""clip_grad_norm_ and clip_grad_norm: what they compute, write and return."""

import copy
import math
import pickle
from array import array

import ml_dtypes
import numpy as np
import pytest

import gradclip
from gradclip._gradients.rows import Tensors
from gradclip._methods import whole


def in_place(grads, *args, **kwargs):
    norm = gradclip.clip_grad_norm_(grads, *args, **kwargs)
    return grads, norm


def by_plan(grads, *args, **kwargs):
    with gradclip.Plan(grads) as plan:
        return grads, plan.clip_grad_norm_(*args, **kwargs)


def new_by_plan(grads, *args, **kwargs):
    with gradclip.Plan(grads) as plan:
        return plan.clip_grad_norm(*args, **kwargs)


every_way = pytest.mark.parametrize(
    "clip", [in_place, gradclip.clip_grad_norm, by_plan, new_by_plan]
)


@every_way
def test_returns_a_float_that_tells_what_happened(clip):
    _, norm = clip([array("d", [3.0, 4.0]), array("d", [12.0])], 6.5, eps=0)
    assert isinstance(norm, float) and isinstance(norm, gradclip.Norm)
    assert norm == 13.0 and norm * 2 == 26.0 and repr(norm) == "13.0"
    assert norm.clip_coef == 0.5
    assert norm.clipped is True
    assert norm.nonfinite == gradclip.NonFinite() and not norm.nonfinite
    assert norm.tensor_norms is None


@every_way
def test_norm_of_each_tensor_if_asked_for(clip):
    grads = [array("d", [3.0, 4.0]), array("d"), array("f", [-12.0])]
    _, norm = clip(grads, 1.0, tensor_norms=True)
    assert norm.tensor_norms == (5.0, 0.0, 12.0)


@every_way
@pytest.mark.parametrize("grads", [[], (), {}, [[]], [None], np.array([]), [array("f")]])
def test_nothing_to_clip(clip, grads):
    _, norm = clip(grads, 1.0, tensor_norms=True)
    assert norm == 0.0 and norm.clip_coef == 1.0 and not norm.clipped
    assert all(n == 0.0 for n in norm.tensor_norms)


@every_way
@pytest.mark.parametrize(
    ("max_norm", "eps", "coef"),
    [
        (0.0, 1e-6, 0.0),
        (5.0, 0.0, 1.0),
        (5.0, 1e-6, 5.0 / (5.0 + 1e-6)),
        (2.5, 5.0, 0.25),
        (math.inf, 0.0, 1.0),
        (1, 0, 0.2),
        (np.float32(2.5), np.float64(0), 0.5),
    ],
)
def test_coefficient(clip, max_norm, eps, coef):
    clipped, norm = clip([np.array([3.0, -4.0])], max_norm, eps=eps)
    assert norm.clip_coef == coef
    assert norm.clipped == (coef != 1.0)
    assert clipped[0].tolist() == [3.0 * coef, -4.0 * coef]


@every_way
def test_grad_scale_unscales_in_the_same_pass(clip):
    clipped, norm = clip([np.array([3.0, 4.0]) * 1024], 1.0, eps=0, grad_scale=1024.0)
    assert norm == 5.0 and norm.clip_coef == 0.2
    assert clipped[0].tolist() == [3.0 * 1024 * (0.2 / 1024), 4.0 * 1024 * (0.2 / 1024)]
    clipped, norm = clip([np.array([3.0, 4.0])], 10.0, grad_scale=4.0)
    assert norm == 1.25 and norm.clip_coef == 1.0 and not norm.clipped
    assert clipped[0].tolist() == [0.75, 1.0]


@every_way
def test_mixed_dtypes_share_a_norm(clip):
    clipped, norm = clip([np.array([3.0], "f4"), np.array([4.0], "f8")], 1.0, eps=0)
    assert norm == 5.0
    assert clipped[0].dtype == "f4" and clipped[0][0] == np.float32(3) * np.float32(0.2)
    assert clipped[1].dtype == "f8" and clipped[1][0] == 4.0 * 0.2


@every_way
@pytest.mark.parametrize("norm_type", [1, 2, 3, 0.5, -1, 0, math.inf, -math.inf])
def test_any_norm_type(clip, norm_type):
    values = [1.5, -2.0, 0.25, 8.0]
    _, norm = clip([array("d", values[:2]), array("d", values[2:])], 1.0, norm_type)
    if norm_type == 0:
        expected = 2.0  # tensors with an element that is not zero, as in torch
    elif math.isinf(norm_type):
        expected = (max if norm_type > 0 else min)(map(abs, values))
    else:
        expected = math.fsum(abs(v) ** norm_type for v in values) ** (1 / norm_type)
    assert norm == pytest.approx(expected, rel=1e-14)


@every_way
def test_finite_gradients_cannot_overflow(clip):
    clipped, norm = clip([np.array([1.7e308, 1.7e308])], 1.0, eps=0)
    assert norm == math.inf and not norm.nonfinite and norm.clipped
    assert clipped[0] == pytest.approx([math.sqrt(0.5)] * 2, rel=1e-15)


def test_in_place_returns_no_new_arrays_and_writes_nothing_in_vain():
    grad = np.array([3.0, 4.0])
    before = grad.tobytes()
    assert gradclip.clip_grad_norm_([grad], 100.0) == 5.0
    assert grad.tobytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_norm": -1.0}, "max_norm"),
        ({"max_norm": math.nan}, "max_norm"),
        ({"norm_type": math.nan}, "norm_type"),
        ({"eps": -1e-9}, "eps"),
        ({"eps": math.inf}, "eps"),
        ({"eps": math.nan}, "eps"),
        ({"grad_scale": 0.0}, "grad_scale"),
        ({"grad_scale": -2.0}, "grad_scale"),
        ({"grad_scale": math.nan}, "grad_scale"),
    ],
)
@every_way
def test_values_outside_their_range(clip, arguments, message):
    grad = array("d", [3.0, 4.0])
    with pytest.raises(gradclip.InvalidArgumentError, match=message) as caught:
        clip([grad], **{"max_norm": 1.0, **arguments})
    assert isinstance(caught.value, ValueError)
    assert caught.value.status < 0
    assert grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("name", ["max_norm", "norm_type", "eps", "grad_scale"])
@pytest.mark.parametrize("value", ["1", None, [1.0], 1j])
@every_way
def test_values_that_are_no_numbers(clip, name, value):
    grad = array("d", [3.0, 4.0])
    with pytest.raises(TypeError) as caught:
        clip([grad], **{"max_norm": 1.0, name: value})
    assert str(caught.value) == f"{name} must be a real number (got {value!r})"
    assert grad.tolist() == [3.0, 4.0]


@every_way
def test_unknown_policy(clip):
    with pytest.raises(ValueError, match=r"nonfinite must be one of 'leave', .* \(got 'ignore'\)"):
        clip([array("d", [3.0])], 1.0, nonfinite="ignore")


@every_way
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_float16_and_bfloat16(clip, dtype):
    grads = [np.array([3.0, -4.0], dtype), np.array([[0.0, 12.0]], dtype), np.array([84.0])]
    clipped, norm = clip(grads, 42.5, eps=0, tensor_norms=True)
    assert norm == 85.0 and norm.tensor_norms == (5.0, 12.0, 84.0)
    assert [g.dtype for g in clipped] == [dtype, dtype, np.float64]
    assert clipped[0].tolist() == [1.5, -2.0] and clipped[1].tolist() == [[0.0, 6.0]]


def test_what_the_library_cannot_do():
    tensors = Tensors([array("f", [3.0])], None, True)
    tensors.table.first.device_type = 2
    with pytest.raises(gradclip.UnsupportedError, match="device_type") as caught:
        whole.clip_value_of(tensors, 1.0)
    assert isinstance(caught.value, NotImplementedError)


def test_norm_can_be_copied_and_pickled():
    grads = [array("d", [math.nan, 4.0])]
    norm = gradclip.get_total_norm(grads, tensor_norms=True, names=["w"])
    for twin in (copy.copy(norm), copy.deepcopy(norm), pickle.loads(pickle.dumps(norm))):
        assert math.isnan(twin)
        assert twin.nonfinite == norm.nonfinite and twin.nonfinite.name == "w"
        assert twin.clipped is False
