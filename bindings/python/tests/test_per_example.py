"""clip_per_example: no contribution's norm exceeds max_norm, in exact arithmetic."""

import itertools
import math
import random
import sys
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest

import gradclip
from gradclip import adapt_max_norm, clip_per_example

SEED = 20261124


def dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    return [np.float32, np.float64, np.float16, ml_dtypes.bfloat16]


def square_norm(values):
    return sum((Fraction(float(x)) ** 2 for x in np.ravel(values)), Fraction(0))


def vectors(rng, dtype, count, length):
    """Random vectors of several kinds: normal, wide in exponent, of small integers."""
    kind = rng.randrange(3)
    values = np.array([[rng.gauss(0, 1) for _ in range(length)] for _ in range(count)])
    if kind == 1:
        values *= 2.0 ** np.array(
            [[rng.randrange(-12, 4) for _ in range(length)] for _ in range(count)]
        )
    if kind == 2:
        values = np.round(values * 3)
    return values.astype(dtype)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("rule", ["clip", "automatic", "threshold"])
def test_no_contribution_exceeds_max_norm_in_exact_arithmetic(place, rule):
    """One example at a time: its float64 sum is the contribution itself, without rounding."""
    dtype = dtypes()[place]
    rng = random.Random(SEED + place)
    clipped = 0
    for trial in range(300):
        grads = [vectors(rng, dtype, 1, rng.randrange(1, 40)) for _ in range(rng.randrange(1, 4))]
        exact = sum(map(square_norm, grads))
        near = math.sqrt(exact)
        if near == 0:
            continue
        # At the edge: max_norm the nearest float64 of the norm and its neighbours.
        max_norm = rng.choice(
            [near, math.nextafter(near, 0), math.nextafter(near, math.inf), 0.7 * near, 1.0, 1e-3]
        )
        eps = rng.choice([0.0, 1e-6, 0.01])
        scale = rng.choice([1.0, 1.0, 3.0, 0.3])
        found = clip_per_example(
            grads,
            max_norm,
            rule=rule,
            eps=eps,
            grad_scale=scale,
            dtype="float64",
            exact_f64=trial % 2 == 0,
        )
        contribution = sum(map(square_norm, found.sums))
        assert contribution <= Fraction(max_norm) ** 2, (trial, max_norm, found)
        assert found.sensitivity == max_norm
        assert Fraction(found.factors[0]) ** 2 * exact <= Fraction(max_norm) ** 2
        clipped += found.clipped
        if rule == "clip" and eps == 0:
            # and not far below it either
            expected = min(1.0, max_norm / (near / scale)) / scale
            assert found.factors[0] == pytest.approx(expected, rel=1e-14)
            if (
                scale == 1
                and exact <= Fraction(max_norm) ** 2
                and (dtype != np.float64 or trial % 2 == 0)
            ):
                assert found.factors[0] == 1.0
    assert clipped > 50


def test_rounding_to_nearest_would_exceed_it():
    """Why: the same product rounded to nearest is over max_norm for many vectors."""
    rng = random.Random(SEED)
    over = 0
    for _ in range(200):
        grad = vectors(rng, np.float32, 1, 30)
        norm = math.sqrt(square_norm(grad))
        if norm:
            over += square_norm(np.float64(grad) * (1.0 / norm)) > 1
    assert over > 40


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("output", ["float32", "float64"])
def test_the_sum_is_within_the_bound_that_is_returned(place, output):
    dtype = dtypes()[place]
    rng = random.Random(SEED + place)
    for _ in range(25):
        examples, length = rng.randrange(1, 30), rng.randrange(1, 30)
        grads = [vectors(rng, dtype, examples, length), vectors(rng, dtype, examples, 3)]
        max_norm = rng.choice([1.0, 0.01, 100.0])
        found = clip_per_example(grads, max_norm, dtype=output)
        error = Fraction(0)
        for grad, total in zip(grads, found.sums):
            assert total.dtype == output and total.shape == grad.shape[1:]
            for j in range(grad.shape[1]):
                exact = sum(
                    towards_zero(Fraction(float(grad[b, j])) * Fraction(found.factors[b]))
                    for b in range(examples)
                )
                error += (exact - Fraction(float(total[j]))) ** 2
        assert error <= Fraction(found.rounding_bound) ** 2
        formula = examples * (examples - 1) * 2.0**-52 * max_norm
        if output == "float32":
            formula += examples * max_norm * 2.0**-24 + math.sqrt(length + 3) * 2.0**-150
        assert formula <= found.rounding_bound <= formula * (1 + 1e-9)


def towards_zero(value):
    """A rational cut off to 53 bits."""
    if value == 0:
        return value
    top = abs(value).numerator.bit_length() - value.denominator.bit_length() - 1
    unit = Fraction(2) ** max(top - 53, -1074)
    while abs(value) >= unit * 2**53:
        unit *= 2
    return math.trunc(value / unit) * unit


def test_per_layer_and_none_and_containers():
    grads = {
        "a": np.array([[3.0, 4.0], [0.0, 0.5]]),
        "b": None,
        "c": np.array([[2.0], [-1.0]], np.float32),
    }
    found = clip_per_example(grads, [1.0, 9.0, 0.5])
    assert found.norms == ((5.0, 2.0), (0.5, 1.0)) and found.clipped == 2
    assert found.sums["b"] is None and found.sums["a"].dtype == np.float64
    np.testing.assert_allclose(found.sums["a"], [0.6, 1.3], rtol=1e-14)
    np.testing.assert_allclose(found.sums["c"], [0.0], atol=1e-15)
    assert found.sensitivity == pytest.approx(math.sqrt(1.25), rel=1e-11)


def test_nonfinite_examples_are_dropped_counted_and_named():
    grad = np.ones((5, 3), np.float32)
    grad[1, 2], grad[3, 0] = math.nan, math.inf
    found = clip_per_example([grad, np.ones((5, 2))], 10.0)
    assert found.nonfinite == (1, 3) and found.clipped == 0 and found.unclipped == 3
    assert found.sums[0].tolist() == [3.0, 3.0, 3.0] and found.factors[1] == 0
    huge = np.array([[1.7e308, 1.7e308], [1.0, math.nan]])
    found = clip_per_example([huge], 1.0)
    assert found.nonfinite == (1,) and found.norms[0] == math.inf
    np.testing.assert_allclose(found.sums[0], math.sqrt(0.5), rtol=1e-13)


def test_all_rules_against_the_formulas():
    rng = np.random.default_rng(SEED)
    grads = [rng.standard_normal((16, 5)), rng.standard_normal((16, 2, 3)).astype(np.float32)]
    norms = np.sqrt(sum(np.sum(np.float64(g) ** 2, axis=tuple(range(1, g.ndim))) for g in grads))
    for (rule, coef), scale in itertools.product(
        {
            "clip": lambda n: np.minimum(1, 2.0 / (n + 0.01)),
            "automatic": lambda n: 2.0 / (n + 0.01),
            "threshold": lambda n: np.float64(n <= 2.0),
        }.items(),
        [1.0, 4.0],
    ):
        found = clip_per_example(grads, 2.0, rule=rule, eps=0.01, grad_scale=scale)
        factors = coef(norms / scale) / scale
        np.testing.assert_allclose(found.norms, norms / scale, rtol=1e-14)
        np.testing.assert_allclose(found.factors, factors, rtol=1e-13)
        for grad, total in zip(grads, found.sums):
            np.testing.assert_allclose(
                total, np.tensordot(factors, np.float64(grad), 1), rtol=1e-12, atol=1e-13
            )


def test_adapted_threshold():
    for max_norm, unclipped, examples, quantile, rate in [
        (1.0, 96, 128, 0.5, 0.2),
        (3.0, -2.5, 10, 0.9, 1.0),
        (1e-3, 10, 10, 0.0, 0.7),
    ]:
        expected = max_norm * math.exp(-rate * (unclipped / examples - quantile))
        assert adapt_max_norm(max_norm, unclipped, examples, quantile, rate) == pytest.approx(
            expected, rel=1e-15
        )
    with pytest.raises(gradclip.InvalidArgumentError, match="examples must be finite and > 0"):
        adapt_max_norm(1.0, 1, 0)


def test_the_adapted_threshold_is_within_two_units_in_the_last_place():
    rng = random.Random(SEED)
    with localcontext() as context:
        context.prec = 50
        for _ in range(5000):
            max_norm, quantile = rng.uniform(0.1, 10), rng.random()
            unclipped, examples = rng.uniform(-100, 300), rng.choice([1, 10, 128, 65536])
            rate = rng.choice([0.2, 1.0, 2.7])
            power = rate * (quantile - unclipped / examples)  # rounded, as the header says
            exact = Decimal(max_norm) * Decimal(power).exp()
            adapted = adapt_max_norm(max_norm, unclipped, examples, quantile, rate)
            if sys.float_info.min < adapted < math.inf:
                unit = Decimal(math.ulp(adapted))
                assert abs(Decimal(adapted) - exact) < 2 * unit, (max_norm, power)


def test_errors_name_the_argument():
    ones = np.ones((2, 3))
    for grads, max_norm, options, match in [
        (
            [ones, np.ones((3, 2))],
            1.0,
            {},
            r"grads\[1\] must have as many examples as grads\[0\]: 2 \(got 3\)",
        ),
        ([np.array(1.0)], 1.0, {}, r"grads\[0\] has no axis of examples"),
        ([], 1.0, {}, "at least one gradient"),
        ([np.asfortranarray(ones)], 1.0, {}, "not in C order"),
        ([ones], -1.0, {}, r"max_norms\[0\] must be finite and >= 0"),
        ([ones], math.inf, {}, r"max_norms\[0\] must be finite and >= 0"),
        ([ones], [1.0, 2.0], {}, r"one a gradient: 1 \(got 2\)"),
        ([ones], 1.0, {"rule": "hard"}, "rule must be one of 'clip', 'automatic', 'threshold'"),
        ([ones], 1.0, {"dtype": "float16"}, "dtype must be 'float32' or 'float64'"),
        ([ones], 1.0, {"eps": -1.0}, "eps must be finite and >= 0"),
    ]:
        with pytest.raises(ValueError, match=match):
            clip_per_example(grads, max_norm, **options)


def test_an_empty_poisson_batch_gives_zeros():
    made = clip_per_example([np.ones((0, 3), "f4"), np.ones((0, 2, 2))], 1.0)
    assert [s.shape for s in made.sums] == [(3,), (2, 2)] and not any(s.any() for s in made.sums)
    assert made.norms == () and made.clipped == 0 and made.nonfinite == () and made.sensitivity == 1
