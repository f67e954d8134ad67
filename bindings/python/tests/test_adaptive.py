"""adaptive_clip_grad_: each unit by its norm against the weights', whatever its axes."""

import itertools
import math

import numpy as np
import pytest

import gradclip
from gradclip import adaptive_clip_grad_
from gradclip._methods.units import optax_axes, timm_axes

SEED = 20261124


def reference(grad, weight, axes, clip_factor=0.01, eps=1e-3):
    """The paper's formula with timm's rules for the ends, in float64."""
    grad, weight = np.float64(grad), np.float64(weight)
    norm = np.sqrt(np.sum(grad * grad, axis=tuple(axes), keepdims=True))
    limit = clip_factor * np.maximum(
        np.sqrt(np.sum(weight**2, axis=tuple(axes), keepdims=True)), eps
    )
    coef = np.where(norm < limit, 1.0, limit / np.maximum(norm, 1e-6))
    return grad * coef, coef


def test_the_conventions():
    for shape, timm, optax in [
        ((), (), ()),
        ((7,), (0,), (0,)),
        ((4, 5), (1,), (0,)),
        ((4, 1), (1,), (0, 1)),
        ((1, 5), (1,), (0, 1)),
        ((3, 4, 5), (1, 2), (0,)),
        ((3, 3, 4, 5), (1, 2, 3), (0, 1, 2)),
        ((1, 1, 4, 1), (1, 2, 3), (0, 1, 2, 3)),
        ((2, 3, 4, 5, 6), (1, 2, 3, 4), (0, 1, 2, 3)),  # a convolution in three dimensions
        ((1, 1, 1, 1, 1, 7), (1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 5)),
    ]:
        assert timm_axes(shape) == timm
        assert optax_axes(shape) == optax
    with pytest.raises(ValueError, match="no rule for rank 6"):
        optax_axes((2, 3, 4, 5, 6, 7))


@pytest.mark.parametrize("order", ["C", "F", "moved", "reversed"])
@pytest.mark.parametrize("shape", [(7,), (5, 6), (17, 33), (3, 4, 5), (3, 3, 4, 21), (1, 5, 1, 4)])
def test_every_set_of_axes_in_every_memory_order(shape, order):
    rng = np.random.default_rng(SEED)
    for count in range(len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            grad, weight = rng.standard_normal(shape), rng.standard_normal(shape) * 30
            if order == "F":
                grad = np.asfortranarray(grad)
            if order == "moved":
                grad = np.moveaxis(np.ascontiguousarray(np.moveaxis(grad, 0, -1)), -1, 0)
            if order == "reversed":
                grad = grad[::-1]
            expected, coef = reference(grad, weight, axes, 0.05)
            result = adaptive_clip_grad_([grad], [weight], 0.05, axes=axes)
            np.testing.assert_allclose(grad, expected, rtol=1e-14)
            assert result.clipped_count == np.sum(coef != 1)
            np.testing.assert_allclose(
                np.sort(result.clip_coefs[0]), np.sort(coef.ravel()), rtol=1e-14
            )


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("axes", ["timm", "optax"])
def test_dtypes_weights_of_another(dtype, axes):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(SEED)
    grads = [
        rng.standard_normal(s).astype(dtype) for s in [(9,), (16, 24), (3, 3, 8, 40), (2, 3, 4)]
    ]
    weights = [np.float32(rng.standard_normal(grad.shape) * 20) for grad in grads]
    before = [np.float64(grad) for grad in grads]
    adaptive_clip_grad_(grads, weights, 0.05, axes=axes)
    rule = timm_axes if axes == "timm" else optax_axes
    tolerance = {2: 5e-3, 4: 2e-7, 8: 1e-14}[grads[0].itemsize]
    clipped = []
    for grad, old, weight in zip(grads, before, weights):
        expected, coef = reference(old, weight, rule(old.shape), 0.05)
        clipped += list(coef.ravel() != 1)
        np.testing.assert_allclose(np.float64(grad), expected, rtol=tolerance, atol=1e-7)
    assert 0 < sum(clipped) < len(clipped)


def test_exclusion_by_name():
    def fresh():
        return {
            "body": {"w": np.full(4, 9.0)},
            "head": {"w": np.full(4, 9.0), "b": np.full(2, 9.0)},
        }

    weights = {"body": {"w": np.ones(4)}, "head": {"w": np.ones(4), "b": None}}
    for exclude in (["head"], ["head.w", "head.b"], lambda name: name.startswith("head")):
        grads = fresh()
        result = adaptive_clip_grad_(grads, weights, exclude=exclude)
        assert grads["body"]["w"][0] == pytest.approx(0.01) and grads["head"]["w"][0] == 9.0
        assert result == 18.0 and result.clip_coefs[1] is None and len(result.clip_coefs[0]) == 1
    grads = fresh()
    adaptive_clip_grad_(grads, weights, exclude=["head"], grad_scale=2.0)
    assert grads["head"]["b"].tolist() == [4.5, 4.5]
    with pytest.raises(ValueError, match="exclude names no gradient: 'heads'"):
        adaptive_clip_grad_(fresh(), weights, exclude=["heads"])
    with pytest.raises(ValueError, match="exclude needs names"):
        adaptive_clip_grad_([np.ones(2)], [np.ones(2)], exclude=["w"])
    with pytest.raises(TypeError, match="several names"):
        adaptive_clip_grad_(fresh(), weights, exclude="head")
    with pytest.raises(TypeError, match="exclude must be several names or a function .got 5"):
        adaptive_clip_grad_(fresh(), weights, exclude=5)


def test_nonfinite_is_named_in_a_copy_too():
    grad, weight = np.ones((3, 4, 5)), np.ones((3, 4, 5))
    grad[1, 2, 3] = math.nan
    for axes in [(0, 2), (1, 2), (0,)]:
        result = adaptive_clip_grad_([grad], [weight], axes=axes)
        assert result.nonfinite.index == (1, 2, 3) and result.nonfinite.element == 33
        assert grad[0, 0, 0] == 1.0
        with pytest.raises(gradclip.NonFiniteGradientError, match=r"\(1, 2, 3\)"):
            adaptive_clip_grad_([grad], [weight], axes=axes, error_if_nonfinite=True)
    adaptive_clip_grad_([grad], [weight], axes=(0, 2), nonfinite="propagate")
    assert np.isnan(grad[:, 2, :]).all() and np.isfinite(grad[:, 0, :]).all()


def test_errors_name_the_argument_and_leave_the_gradients():
    grad = np.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"axes of grads\[0\] must lie in its shape \(2, 3\) \(got 2\)"
    ):
        adaptive_clip_grad_([grad], [grad.copy()], axes=(2,))
    with pytest.raises(ValueError, match="axes must be 'timm', 'optax'"):
        adaptive_clip_grad_([grad], [grad.copy()], axes="jax")
    for wrong in (1, (0.5,), ("0",)):
        with pytest.raises(TypeError, match="axes must be 'timm', 'optax' or a tuple of integers"):
            adaptive_clip_grad_([grad], [grad.copy()], axes=wrong)
    with pytest.raises(ValueError, match=r"axes of grads\[0\] must differ \(got \(0, -2\)\)"):
        adaptive_clip_grad_([grad], [grad.copy()], axes=(0, -2))
    with pytest.raises(ValueError, match=r"must have its shape \(2, 3\) \(got \(3, 2\)\)"):
        adaptive_clip_grad_([grad], [np.ones((3, 2))])
    with pytest.raises(ValueError, match=r"weights must be as many as grads: 1 \(got 2\)"):
        adaptive_clip_grad_([grad], [grad, grad.copy()])
    with pytest.raises(ValueError, match="has no weights"):
        adaptive_clip_grad_([grad], [None])
    with pytest.raises(gradclip.InvalidArgumentError, match="clip_factor must be finite and >= 0"):
        adaptive_clip_grad_([grad], [grad.copy()], -1.0)
    with pytest.raises(gradclip.InvalidArgumentError, match=r"weights\[0\] must be finite"):
        adaptive_clip_grad_([grad], [np.full((2, 3), math.inf)])
    cube = memoryview(bytearray(np.ones(8).tobytes())).cast("d", (2, 2, 2))
    with pytest.raises(ValueError, match=r"grads\[0\] and its weights lie .*: pass NumPy arrays"):
        adaptive_clip_grad_([cube], [cube], axes=(0, 2))
    assert (grad == 1).all() and (np.asarray(cube) == 1).all()
    assert adaptive_clip_grad_([], []) == 0.0
    assert adaptive_clip_grad_([np.ones((0, 3))], [np.ones((0, 3))]).clip_coefs[0].tolist() == []


@pytest.mark.parametrize("names", [None, ["first", "second"]])
def test_weights_are_matched_by_key_where_both_have_keys(names):
    """jax.grad sorts the keys of its dictionaries; the weights keep the order they were made in."""
    weights = {"w_out": np.full((2, 2), 1000.0), "w_in": np.full((2, 2), 1.0)}
    grads = {key: np.full((2, 2), 5.0) for key in sorted(weights)}
    norm = adaptive_clip_grad_(grads, weights, 0.01, names=names)
    np.testing.assert_allclose(grads["w_in"], 0.01)
    np.testing.assert_array_equal(grads["w_out"], 5.0)
    assert [coefs is not None and min(coefs) < 1 for coefs in norm.clip_coefs] == [True, False]


def test_keys_that_do_not_match_are_refused_by_name():
    grads = {"a": np.ones(2), "b": np.ones(2)}
    with pytest.raises(ValueError, match="weights has none for the gradient 'b'"):
        adaptive_clip_grad_(grads, {"c": np.ones(2), "a": np.ones(2)})
    assert grads["a"].tolist() == [1, 1] and grads["b"].tolist() == [1, 1]


def test_weights_are_matched_by_position_where_one_side_has_no_keys():
    grads = {"a": np.ones(2), "b": np.ones(2)}
    adaptive_clip_grad_(grads, [np.ones(2), np.full(2, 1e6)], 0.01)
    np.testing.assert_allclose(grads["a"], 0.01)
    assert grads["b"].tolist() == [1, 1]
