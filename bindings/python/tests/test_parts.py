"""clip_by_norm_, clip_by_group_, clip_by_block_rms_: what the formulas say, in exact arithmetic."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from formats import round64
from roots import power

import gradclip
from gradclip import clip_by_block_rms_, clip_by_group_, clip_by_norm_

SEED = 20261124
DTYPES = [np.float32, np.float64, np.float16]


def norm2(values):
    """The correctly rounded norm of some arrays."""
    total = sum(Fraction(float(x)) ** 2 for array in values for x in array.flat)
    return round64(power(total, Fraction(1, 2))) if total else 0.0


def gradients(rng, count=6):
    out = []
    for _ in range(count):
        shape = [rng.randrange(1, 9) for _ in range(rng.randrange(3))]
        values = np.array([rng.gauss(0, 1) for _ in range(math.prod(shape))]).reshape(shape)
        out.append(np.array(values * 10.0 ** rng.randrange(-2, 2), rng.choice(DTYPES)))
    return out


def scaled(array, coef):
    if array.dtype == np.float64:
        return array * coef
    return (array.astype(np.float32) * np.float32(coef)).astype(array.dtype)


@pytest.mark.parametrize("seed", range(SEED, SEED + 40))
def test_each_gradient_by_its_own_exact_norm(seed):
    rng = random.Random(seed)
    grads = gradients(rng)
    before = [grad.copy() for grad in grads]
    each = [rng.choice([0.0, 0.1, 1.0, math.inf]) for _ in grads]
    max_norm = each if seed % 2 else 0.5
    eps = rng.choice([0.0, 1e-6])
    result = clip_by_norm_(grads, max_norm, eps=eps, exact_f64=True)
    assert result == norm2(before)
    for i, (grad, old) in enumerate(zip(grads, before)):
        limit = max_norm[i] if seed % 2 else max_norm
        norm = norm2([old])
        coef = 1.0 if math.isinf(limit) or norm + eps == 0 else min(1.0, limit / (norm + eps))
        coef = 0.0 if limit == 0 else coef
        assert result.tensor_norms[i] == norm
        assert result.clip_coefs[i] == coef
        np.testing.assert_array_equal(grad, old if coef == 1 else scaled(old, coef))
    assert result.clip_coef == min(result.clip_coefs)
    assert result.clipped_count == sum(coef != 1 for coef in result.clip_coefs)


@pytest.mark.parametrize("seed", range(SEED, SEED + 40))
def test_groups_by_the_exact_norm_of_the_group(seed):
    rng = random.Random(seed)
    groups = {"encoder": gradients(rng), "head": {"w": gradients(rng, 1)[0]}, "empty": []}
    before = {
        "encoder": [grad.copy() for grad in groups["encoder"]],
        "head": [groups["head"]["w"].copy()],
        "empty": [],
    }
    limits = {"encoder": 0.25, "head": rng.choice([0.01, 100.0]), "empty": 1.0}
    result = clip_by_group_(groups, limits, exact_f64=True)
    for name, old in before.items():
        norm = norm2(old)
        coef = min(1.0, limits[name] / norm) if norm else 1.0
        assert result.group_norms[name] == norm
        assert result.group_coefs[name] == coef
        new = groups["head"].values() if name == "head" else groups[name]
        for a, b in zip(new, old):
            np.testing.assert_array_equal(a, b if coef == 1 else scaled(b, coef))


@pytest.mark.parametrize("seed", range(SEED, SEED + 20))
def test_root_mean_square(seed):
    rng = random.Random(seed)
    grads = gradients(rng)
    before = [grad.astype(np.float64) for grad in grads]
    threshold = rng.choice([0.05, 1.0, 3.0])
    result = clip_by_block_rms_(grads, threshold)
    for grad, old, coef in zip(grads, before, result.clip_coefs):
        expected = old / max(1.0, math.sqrt(np.mean(old * old)) / threshold)
        tolerance = {2: 1e-3, 4: 2e-7, 8: 1e-14}[grad.itemsize]
        np.testing.assert_allclose(grad.astype(np.float64), expected, rtol=tolerance, atol=1e-7)
        assert (coef == 1) == (math.sqrt(np.mean(old * old)) <= threshold)


def test_order_one_and_infinity():
    grad = np.array([3.0, -4.0])
    assert clip_by_norm_([grad.copy()], 1.0, norm_type=1).clip_coefs == (1 / 7,)
    assert clip_by_norm_([grad], 1.0, norm_type=math.inf).clip_coefs == (0.25,)


def test_none_and_repeated_gradients():
    a = np.array([3.0, 4.0])
    result = clip_by_norm_([None, a, a], 1.0)
    assert result.clip_coefs == (1.0, 0.2, 0.2) and result.clipped_count == 1
    assert a.tolist() == [3 * 0.2, 4 * 0.2]
    with pytest.raises(ValueError, match=r"grads\[2\] is given twice, with another max_norm"):
        clip_by_norm_([None, a, a], [1.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=r"is in two groups"):
        clip_by_group_({"x": [a], "y": [a]}, 1.0)
    assert clip_by_norm_([], 1.0) == 0.0
    assert clip_by_group_({}, 1.0).group_norms == {}


def test_errors_name_the_argument_and_leave_the_gradients():
    a = np.array([3.0, 4.0])
    with pytest.raises(gradclip.InvalidArgumentError, match=r"max_norms\[0\] must be .* -1"):
        clip_by_norm_([a], -1.0)
    with pytest.raises(ValueError, match=r"one a gradient: 1 \(got 2\)"):
        clip_by_norm_([a], [1.0, 2.0])
    with pytest.raises(gradclip.InvalidArgumentError, match="threshold must be a number >= 0"):
        clip_by_block_rms_([a], -1.0)
    with pytest.raises(KeyError, match="no entry for the group 'x'"):
        clip_by_group_({"x": [a]}, {})
    with pytest.raises(KeyError, match="a group that is not there: 'y'"):
        clip_by_group_({"x": [a]}, {"x": 1.0, "y": 1.0})
    with pytest.raises(TypeError, match="max_norm must be a real number"):
        clip_by_norm_([a], "1")
    a[1] = math.nan
    with pytest.raises(gradclip.NonFiniteGradientError, match="element 1"):
        clip_by_norm_([a], 1.0, error_if_nonfinite=True, nonfinite="zero")
    with pytest.raises(gradclip.NonFiniteGradientError, match="'x.0'"):
        clip_by_group_({"x": [a]}, 1.0, error_if_nonfinite=True)
    assert a[0] == 3.0
    result = clip_by_norm_([a], 1.0)
    assert result.nonfinite.count == 1 and result.clip_coefs == (1.0,)
    assert clip_by_norm_([a], 1.0, nonfinite="zero").clip_coefs == (1 / 3,) and a[1] == 0


def test_limits_are_matched_by_name_whatever_their_order():
    def grads():
        return {"b": np.full(1, 4.0), "a": {"w": np.full(1, 9.0)}}

    for limits in ({"a.w": 3.0, "b": 8.0}, {"a": {"w": 3.0}, "b": 8.0}):
        ours = grads()
        assert clip_by_norm_(ours, limits).clip_coefs == (1.0, 1 / 3)
        assert ours["a"]["w"][0] == 3.0 and ours["b"][0] == 4.0
    assert clip_by_norm_([np.full(1, 4.0)], {"x": 2.0}, names=["x"]).clip_coefs == (0.5,)
    example = {"b": np.full((1, 1), 4.0), "a": np.full((1, 1), 9.0)}
    sums = gradclip.clip_per_example(example, {"a": 3.0, "b": 8.0}).sums
    assert sums["a"][0] == pytest.approx(3.0) and sums["b"][0] == 4.0


def test_limits_with_other_names_are_refused():
    ours = {"a": np.full(1, 4.0)}
    for limits, match in [
        ({"b": 1.0}, "max_norm has none for the gradient 'a'"),
        ({"a": 1.0, "b": 1.0}, "max_norm names a gradient that is not there: 'b'"),
    ]:
        with pytest.raises(ValueError, match=match):
            clip_by_norm_(ours, limits)
    with pytest.raises(ValueError, match="the gradients have no names"):
        clip_by_norm_([ours["a"]], {"a": 1.0})
    assert ours["a"][0] == 4.0
