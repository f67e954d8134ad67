"""Against optax, in float64; and JAX arrays, which can be read but not written."""

import math

import numpy as np
import pytest

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")

import jax.numpy as jnp  # noqa: E402
from trees import (  # noqa: E402
    NORM,
    ROUNDING,
    TINY,
    flat,
    leaves,
    mapped,
    poison,
    random_tree,
    rng_of,
)

import gradclip  # noqa: E402
from gradclip._gradients.rows import Tensors  # noqa: E402

DTYPES = ["float32", "float64", "float16", "bfloat16"]


@pytest.fixture(autouse=True, scope="module")
def in_double_precision():
    jax.config.update("jax_enable_x64", True)


def by_optax(transformation, tree):
    return transformation.update(tree, transformation.init(tree))[0]


def pair(tree, dtype):
    """The tree as JAX arrays of dtype, and the same values in float64."""
    ours = mapped(lambda leaf: jnp.asarray(leaf).astype(dtype), tree)
    return ours, mapped(lambda leaf: leaf.astype("float64"), ours)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(15))
def test_clip_by_global_norm(seed, dtype, compared):
    rng = rng_of(seed)
    ours, theirs = pair(random_tree(rng), dtype)
    expected_norm = float(optax.global_norm(theirs))
    max_norm = expected_norm * rng.choice([0.01, 0.5, 0.999, 1.5])
    expected = by_optax(optax.clip_by_global_norm(max_norm), theirs)
    clipped, norm = gradclip.clip_grad_norm(ours, max_norm, eps=0, nonfinite="propagate")
    compared("global_norm", norm, expected_norm, NORM * 10, case=seed)
    compared("global_norm", gradclip.get_total_norm(ours), expected_norm, NORM * 10, case=seed)
    what = f"clip_by_global_norm, {dtype}"
    allowed = max(ROUNDING[dtype], 1e-14)
    compared(what, flat(clipped), flat(expected), allowed, TINY[dtype], seed)
    assert sorted(clipped) == sorted(ours)
    for mine, given in zip(leaves(clipped), leaves(ours)):
        assert type(mine) is type(given) and mine.dtype == given.dtype and mine.shape == given.shape


@pytest.mark.parametrize("seed", range(15))
def test_optax_in_float32(seed, compared):
    """As it is used: its norm is then off by what float32 sums are off."""
    rng = rng_of(seed)
    ours, _ = pair(random_tree(rng), "float32")
    max_norm = float(gradclip.get_total_norm(ours)) * rng.choice([0.01, 0.5])
    expected = by_optax(optax.clip_by_global_norm(max_norm), ours)
    clipped, norm = gradclip.clip_grad_norm(ours, max_norm, eps=0)
    compared("global_norm of optax in float32", optax.global_norm(ours), norm, 1e-6, case=seed)
    compared("clip_by_global_norm of optax in float32", flat(expected), flat(clipped), 1e-6, 1e-40)


@pytest.mark.parametrize("policy", ["NaN", "infinity", "zero_nans"])
@pytest.mark.parametrize("seed", range(10))
def test_non_finite(seed, policy, compared):
    rng = rng_of(seed)
    values = [math.inf, -math.inf] if policy == "infinity" else [math.nan]
    ours, theirs = pair(poison(rng, random_tree(rng), values), "float32")
    clip = optax.clip_by_global_norm(1.0)
    if policy == "zero_nans":
        clip, nonfinite = optax.chain(optax.zero_nans(), clip), "zero"
    else:
        nonfinite = "propagate"
    expected = by_optax(clip, theirs)
    clipped, _ = gradclip.clip_grad_norm(ours, 1.0, eps=0, nonfinite=nonfinite)
    compared(f"non-finite: {policy}", flat(clipped), flat(expected), 2e-7, 1e-44, seed)


@pytest.mark.parametrize("seed", range(10))
def test_clip_by_value(seed, compared):
    rng = rng_of(seed)
    tree = random_tree(rng)
    limit = rng.choice([0.25, 1.0, 3.7])
    expected = by_optax(optax.clip(limit), mapped(jnp.asarray, tree))
    gradclip.clip_grad_value_(tree, limit)
    compared("clip (by value)", flat(tree), flat(expected), 0.0, case=seed)


def test_a_norm_of_exactly_max_norm_is_left_alone():
    grads = {"w": jnp.array([0.6, 0.8])}
    max_norm = float(gradclip.get_total_norm(grads))
    clipped, norm = gradclip.clip_grad_norm(grads, max_norm, eps=0)
    assert not norm.clipped and clipped["w"].tolist() == [0.6, 0.8]
    assert by_optax(optax.clip_by_global_norm(max_norm), grads)["w"].tolist() == [0.6, 0.8]


def test_finite_gradients_that_optax_loses(finding):
    grads = {"w": jnp.array([3e38, 3e38], dtype="float32")}
    clipped, norm = gradclip.clip_grad_norm(grads, 1.0, eps=0)
    assert norm == pytest.approx(math.hypot(3e38, 3e38), rel=1e-6)
    assert clipped["w"].tolist() == pytest.approx([0.5**0.5] * 2, rel=1e-6)
    assert by_optax(optax.clip_by_global_norm(1.0), grads)["w"].tolist() == [0, 0]
    finding("optax makes zeros of the finite float32 gradient [3e38, 3e38]; gradclip clips it")
    with pytest.raises(ValueError, match="max_norm must be"):
        gradclip.clip_grad_norm(grads, -1.0)
    assert by_optax(optax.clip_by_global_norm(-1.0), {"w": jnp.ones(4)})["w"].tolist() == [-0.5] * 4
    finding("optax flips the signs of all gradients for a negative max_norm; gradclip raises")


@pytest.mark.parametrize("dtype", DTYPES)
def test_jax_arrays_are_read_where_they_lie_and_never_written(dtype):
    grad = jnp.array([[3.0, 0.0], [0.0, 4.0]], dtype=dtype)
    rows = Tensors({"w": grad}, None, writable=False)
    assert rows.memory.addresses == [grad.unsafe_buffer_pointer()]
    for call in (
        lambda: gradclip.clip_grad_norm_({"w": grad}, 1.0),
        lambda: gradclip.clip_grad_value_({"w": grad}, 1.0),
        lambda: gradclip.clip_grads_with_norm_({"w": grad}, 1.0, 5.0),
        lambda: gradclip.Plan({"w": grad}),
    ):
        with pytest.raises(
            ValueError,
            match=r"^grads\[0\] \('w'\) is read-only \(jax(lib)? arrays cannot be changed in place"
            r"\): clip_grad_norm returns new arrays instead",
        ):
            call()
    assert np.asarray(grad, "f8").tolist() == [[3, 0], [0, 4]]


def test_training_on_digits_gives_optaxs_parameters(compared):
    from digits import digits

    images, targets = digits()
    generator = np.random.default_rng(1)
    start = {
        "hidden": {"w": generator.standard_normal((64, 32)) / 8, "b": np.zeros(32)},
        "out": {"w": generator.standard_normal((32, 10)) / 6, "b": np.zeros(10)},
    }

    def logits(net, x):
        hidden = jnp.tanh(x @ net["hidden"]["w"] + net["hidden"]["b"])
        return hidden @ net["out"]["w"] + net["out"]["b"]

    @jax.jit
    def gradient(net, x, y):
        loss = optax.softmax_cross_entropy_with_integer_labels
        return jax.grad(lambda net: loss(logits(net, x), y).mean())(net)

    def train(optimizer, clip):
        net = mapped(jnp.asarray, start)
        state = optimizer.init(net)
        for _ in range(5):
            for first in range(0, len(images), 64):
                grads = gradient(net, images[first : first + 64], targets[first : first + 64])
                updates, state = optimizer.update(clip(grads), state, net)
                net = optax.apply_updates(net, updates)
        return net

    clipped = []

    def by_gradclip(grads):
        new, norm = gradclip.clip_grad_norm(grads, 0.5, eps=0)
        clipped.append(norm.clipped)
        return new

    ours = train(optax.sgd(0.5), by_gradclip)
    theirs = train(optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.5)), lambda grads: grads)
    what = f"training on digits: parameters after {len(clipped)} steps"
    compared(what, flat(ours), flat(theirs), 1e-9)
    assert 10 < sum(clipped) < len(clipped)
    assert (np.asarray(logits(ours, images)).argmax(1) == targets).mean() > 0.9
