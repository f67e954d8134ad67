"""The article's numbers, from the article's function."""

import math
from array import array

import numpy as np
import pytest
from article import MAX_NORM, PRINTED, gradients

import gradclip

NORM_TYPES = list(PRINTED)


def in_place(grads, *args, **kwargs):
    norm = gradclip.clip_grad_norm_(grads, *args, **kwargs)
    return grads, norm


both_ways = pytest.mark.parametrize("clip", [in_place, gradclip.clip_grad_norm])


@both_ways
@pytest.mark.parametrize("norm_type", NORM_TYPES)
@pytest.mark.parametrize("eps", [1e-6, 0.0])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_total_norm_coefficient_and_clipped_gradients(clip, norm_type, eps, dtype):
    total_norm, x, y = PRINTED[norm_type]
    grads = [np.array(g, dtype) for g in gradients()]
    clipped, norm = clip(grads, MAX_NORM, norm_type, eps=eps)
    assert float(norm) == total_norm
    assert norm.clip_coef == MAX_NORM / (total_norm + eps)
    assert norm.clipped and not norm.nonfinite
    for new, old, printed in zip(clipped, gradients(), (x, y)):
        assert new.round(4).tolist() == np.array(printed, dtype).tolist()
        spacing = float(np.finfo(dtype).eps)
        assert new.tolist() == pytest.approx([v * norm.clip_coef for v in old], rel=spacing)


@both_ways
@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_the_norm_afterwards_is_max_norm(clip, norm_type):
    clipped, _ = clip([array("d", g) for g in gradients()], MAX_NORM, norm_type, eps=0.0)
    assert gradclip.get_total_norm(clipped, norm_type) == pytest.approx(MAX_NORM, rel=1e-15)


@both_ways
def test_negative_largest_element_for_the_infinity_norm(clip):
    x, y = gradients()
    y[1] = -y[1]
    clipped, norm = clip([array("d", x), array("d", y)], MAX_NORM, math.inf, eps=0.0)
    assert norm == 16875.0
    assert clipped[1][0] == pytest.approx(36.0, rel=1e-15)
    assert clipped[1][1] == pytest.approx(-100.0, rel=1e-15)


@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_norm_of_each_tensor(norm_type):
    x, y = gradients()
    grads = [array("d", x), array("d", y)]
    norm = gradclip.get_total_norm(grads, norm_type, tensor_norms=True)
    expected = {
        2.0: [math.hypot(*x), math.hypot(*y)],
        1.0: [sum(x), sum(y)],
        math.inf: [max(x), max(y)],
    }
    assert norm.tensor_norms == pytest.approx(expected[norm_type], rel=1e-15)


@both_ways
@pytest.mark.parametrize("norm_type", NORM_TYPES)
@pytest.mark.parametrize("eps", [1e-6, 0.0])
def test_nothing_changes_below_max_norm(clip, norm_type, eps):
    grads = [array("d", g) for g in gradients()]
    clipped, norm = clip(grads, 25000.0, norm_type, eps=eps)
    assert [g.tolist() for g in clipped] == list(gradients())
    assert norm.clip_coef == 1.0 and not norm.clipped
    assert norm == PRINTED[norm_type][0]


@pytest.mark.parametrize("norm_type", NORM_TYPES)
def test_out_of_place_leaves_the_sources(norm_type):
    grads = [np.array(g) for g in gradients()]
    clipped, _ = gradclip.clip_grad_norm(grads, MAX_NORM, norm_type)
    assert [g.tolist() for g in grads] == list(gradients())
    assert all(not np.shares_memory(new, old) for new, old in zip(clipped, grads))
