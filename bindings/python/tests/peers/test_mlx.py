"""Against mlx.optimizers.clip_grad_norm, and MLX's arrays, which can be written."""

import math

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core")
optimizers = pytest.importorskip("mlx.optimizers")

from trees import ROUNDING, TINY, flat, leaves, mapped, random_tree, rng_of  # noqa: E402

import gradclip  # noqa: E402

DTYPES = ["float32", "float64", "float16", "bfloat16"]


@pytest.fixture(autouse=True, scope="module")
def on_the_cpu():
    mx.set_default_device(mx.cpu)  # which alone knows float64


def pair(tree, dtype):
    """The tree as MLX arrays of dtype, and the same values in float64."""
    ours = mapped(lambda leaf: mx.array(leaf, mx.float64).astype(getattr(mx, dtype)), tree)
    return ours, mapped(lambda leaf: leaf.astype(mx.float64), ours)


def elements(tree):
    return flat([np.array(leaf.astype(mx.float64)) for leaf in leaves(tree)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(30))
def test_clip_grad_norm(seed, dtype, compared):
    """Same eps; in place and out of place."""
    rng = rng_of(seed)
    ours, theirs = pair(random_tree(rng), dtype)
    # MLX makes float32 of a Python number, with float64 arrays too.
    max_norm = float(
        np.float32(gradclip.get_total_norm(ours) * rng.choice([0.01, 0.5, 0.999, 1.5]))
    )
    expected, expected_norm = optimizers.clip_grad_norm(theirs, max_norm)
    clipped, norm = gradclip.clip_grad_norm(ours, max_norm)
    compared("total_norm", norm, expected_norm.item(), 1e-14, case=seed)
    allowed, tiny = max(ROUNDING[dtype], 1e-12), TINY[dtype]
    compared(f"clip_grad_norm, {dtype}", elements(clipped), elements(expected), allowed, tiny, seed)
    for mine, given in zip(leaves(clipped), leaves(ours)):
        assert type(mine) is mx.array and mine.dtype == given.dtype and mine.shape == given.shape
    assert gradclip.clip_grad_norm_(ours, max_norm) == norm
    what = f"in place, {dtype}"
    compared(what, elements(ours), elements(clipped), 0.0, case=seed)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_view_in_another_order_and_a_result_not_yet_computed(dtype):
    kind = getattr(mx, dtype)
    grad = mx.array([[3.0, 0.0, 0.0], [0.0, 0.0, 4.0]], kind)
    lazy = grad.T * 2
    assert gradclip.clip_grad_norm_([lazy], 5.0, eps=0) == 10
    assert lazy.tolist() == [[3, 0], [0, 0], [0, 4]] and lazy.dtype == kind
    assert (lazy + 1).tolist()[2] == [1, 5], "what is computed of it later sees the clipped values"
    grad[1, 0] = math.nan
    found = gradclip.get_total_norm({"w": grad}).nonfinite
    assert (found.name, found.index) == ("w", (1, 0))


def test_a_memoryview_of_bfloat16():
    """Its format is the dtype's name, which no other buffer has."""
    grad = mx.array([3.0, 4.0], mx.bfloat16)
    assert memoryview(grad).format == "bfloat16"
    assert gradclip.clip_grad_norm_(grad, 2.5, eps=0) == 5
    assert grad.tolist() == [1.5, 2]


def test_finite_gradients_that_mlx_loses(finding):
    clipped, _ = optimizers.clip_grad_norm({"w": mx.array([3e38, 3e38])}, 1.0)
    assert clipped["w"].tolist() == [0, 0]
    ours, norm = gradclip.clip_grad_norm({"w": mx.array([3e38, 3e38])}, 1.0)
    assert norm == pytest.approx(math.hypot(3e38, 3e38), rel=1e-6)
    assert ours["w"].tolist() == pytest.approx([0.5**0.5] * 2, rel=1e-6)
    finding("MLX makes zeros of the finite float32 gradient [3e38, 3e38]; gradclip clips it")


def test_a_negative_max_norm_is_an_error_in_both():
    for function in (optimizers.clip_grad_norm, gradclip.clip_grad_norm):
        with pytest.raises(ValueError, match="max_norm"):
            function({"w": mx.array([3.0])}, -1.0)
