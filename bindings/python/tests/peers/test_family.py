"""Clipping otherwise than by the global norm, against those who do it too."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
torch = pytest.importorskip("torch")
for package in ("tensorflow", "keras", "optax", "jax", "jax_privacy", "timm", "opacus"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import jax  # noqa: E402

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import keras  # noqa: E402
import optax  # noqa: E402
import tensorflow as tf  # noqa: E402
from fcos_model import import_torchvision  # noqa: E402

import_torchvision()  # see test_timm.py

import timm.utils  # noqa: E402
from opacus.optimizers import DPOptimizer, DPPerLayerOptimizer  # noqa: E402
from trees import flat, leaves, random_tree, rng_of  # noqa: E402

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402

SEEDS = range(10)
EXACT = 1e-14  # of float64 elements: norms in another order, one product


def copies(tree):
    return [np.array(leaf) for leaf in leaves(tree)]


# -------------------------------------------------------------------- per tensor --


@pytest.mark.parametrize("seed", SEEDS)
def test_tensorflow_clip_by_norm(seed, compared):
    rng = rng_of(seed)
    grads = copies(random_tree(rng))
    limit = rng.choice([0.01, 1.0, 30.0])
    theirs = [tf.clip_by_norm(tf.constant(grad), limit).numpy() for grad in grads]
    gradclip.clip_by_norm_(grads, limit)
    compared("tf.clip_by_norm", flat(grads), flat(theirs), EXACT, case=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_keras_clipnorm(seed, compared):
    rng = rng_of(seed)
    grads = [np.array(grad, "f4") for grad in copies(random_tree(rng))]
    limit = rng.choice([0.01, 1.0, 30.0])
    optimizer = keras.optimizers.SGD(clipnorm=limit)
    theirs = [np.asarray(g) for g in optimizer._clip_gradients([tf.constant(g) for g in grads])]
    gradclip.clip_by_norm_(grads, limit)
    compared("Keras's clipnorm (float32)", flat(grads), flat(theirs), 2e-6, 1e-12, case=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_optax_masked_groups(seed, compared):
    rng = rng_of(seed)
    tree = random_tree(rng)
    groups = {name: part for name, part in tree.items()}
    limits = {name: rng.choice([0.01, 1.0, 100.0]) for name in groups}
    labels = {name: jax.tree.map(lambda _, n=name: n, part) for name, part in tree.items()}
    transform = optax.multi_transform(
        {name: optax.clip_by_global_norm(limit) for name, limit in limits.items()}, labels
    )
    theirs, _ = transform.update(tree, transform.init(tree))
    gradclip.clip_by_group_(groups, limits)
    compared("optax groups", flat(groups), flat(theirs), EXACT, case=seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_optax_block_rms(seed, compared):
    rng = rng_of(seed)
    tree = random_tree(rng)
    grads = copies(tree)
    threshold = rng.choice([0.01, 0.5, 3.0])
    transform = optax.clip_by_block_rms(threshold)
    theirs, _ = transform.update(tree, transform.init(tree))
    gradclip.clip_by_block_rms_(grads, threshold)
    compared("optax.clip_by_block_rms", flat(grads), flat(theirs), EXACT, case=seed)


# ------------------------------------------------------------ against the weights --

SHAPES = [(), (1,), (9,), (7, 5), (1, 6), (6, 1), (4, 3, 5), (3, 3, 4, 17), (1, 1, 8, 2), (2, 3, 2, 4, 5)]


@pytest.mark.parametrize("seed", SEEDS)
def test_timm_agc(seed, compared):
    generator = torch.Generator().manual_seed(seed)
    ours, theirs = [], []
    for shape in [*SHAPES, (2, 3, 2, 2, 3)]:
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        grad = torch.randn(shape, generator=generator, dtype=torch.float64) * 10.0 ** (seed % 4 - 3)
        for parameters in (ours, theirs):
            parameters.append(torch.nn.Parameter(values.clone()))
            parameters[-1].grad = grad.clone()
    mode = {"clip_factor": [0.01, 0.1, 1.0][seed % 3], "eps": [1e-3, 0.5][seed % 2]}
    timm.utils.adaptive_clip_grad(theirs, **mode)
    gt.adaptive_clip_grad(ours, **mode)
    for p, q in zip(ours, theirs):
        compared("timm.utils.adaptive_clip_grad", p.grad, q.grad, EXACT, case=(seed, p.shape))


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
@pytest.mark.parametrize("mode", ["norm", "value", "agc"])
def test_timm_dispatch(mode, norm_type, compared):
    generator = torch.Generator().manual_seed(1)
    ours, theirs = [], []
    for shape in SHAPES:
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        for parameters in (ours, theirs):
            parameters.append(torch.nn.Parameter(values.clone()))
            parameters[-1].grad = values.clone() * 3 + 1
    timm.utils.dispatch_clip_grad(theirs, 0.3, mode=mode, norm_type=norm_type)
    gt.dispatch_clip_grad(ours, 0.3, mode=mode, norm_type=norm_type)
    for p, q in zip(ours, theirs):
        compared(f"timm's dispatch_clip_grad(mode='{mode}')", p.grad, q.grad, 1e-12, case=norm_type)


@pytest.mark.parametrize("seed", SEEDS)
def test_optax_adaptive_grad_clip(seed, compared, finding):
    generator = np.random.default_rng(seed)
    weights = [generator.standard_normal(shape) for shape in SHAPES]
    grads = [
        np.array(generator.standard_normal(shape) * 10.0 ** (seed % 4 - 3)) for shape in SHAPES
    ]
    clipping = [0.01, 0.1, 1.0][seed % 3]
    transform = optax.adaptive_grad_clip(clipping)
    theirs, _ = transform.update(grads, transform.init(weights), weights)
    theirs = [np.asarray(leaf) for leaf in theirs]
    by_timm = [np.array(grad) for grad in grads]
    gradclip.adaptive_clip_grad_(by_timm, weights, clipping, axes="timm")
    gradclip.adaptive_clip_grad_(grads, weights, clipping, axes="optax")
    for ours, other, shape in zip(grads, theirs, SHAPES):
        compared("optax.adaptive_grad_clip", ours, other, EXACT, case=(seed, shape))
    apart = [
        shape for a, b, shape in zip(by_timm, theirs, SHAPES) if not np.allclose(a, b, rtol=1e-3)
    ]
    if apart:
        finding(
            "timm and optax take other axes for adaptive clipping: the same weights of rank 2 to 5 "
            "come out differently; axes='timm' and 'optax' are each equal to their own"
        )


# --------------------------------------------------------------------- per example --


def batches(seed, dtype=np.float64):
    generator = np.random.default_rng(seed)
    examples = int(generator.integers(1, 40))
    scale = 10.0 ** generator.uniform(-1, 1, examples)
    shapes = [(), (5,), (7, 3), (2, 3, 4)]
    return [
        (
            generator.standard_normal((examples, *shape)) * scale.reshape(-1, *[1] * len(shape))
        ).astype(dtype)
        for shape in shapes
    ]


def same_sums(compared, what, found, theirs, grads, seed):
    """Sums cancel: they are compared in units of the magnitudes that went into them."""
    for i, (ours, other, grad) in enumerate(zip(found.sums, theirs, grads)):
        factors = np.array([f[i] if isinstance(f, tuple) else f for f in found.factors])
        unit = np.tensordot(factors, np.abs(np.nan_to_num(grad)), 1) + 1e-300
        compared(what, 1 + ours / unit, 1 + np.asarray(other) / unit, EXACT, case=(seed, i))


@pytest.mark.parametrize("seed", SEEDS)
def test_optax_per_example_global_norm_clip(seed, compared):
    grads = batches(seed)
    theirs, count = optax.per_example_global_norm_clip(grads, 2.0)
    found = gradclip.clip_per_example(grads, 2.0)
    assert found.clipped == int(count)
    same_sums(compared, "optax.per_example_global_norm_clip", found, theirs, grads, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_optax_per_example_layer_norm_clip(seed, compared):
    grads = batches(seed)
    theirs, _ = optax.per_example_layer_norm_clip(grads, 2.0, uniform=True)
    found = gradclip.clip_per_example(grads, [2.0 / np.sqrt(len(grads))] * len(grads))
    same_sums(compared, "optax.per_example_layer_norm_clip", found, theirs, grads, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_jax_privacy(seed, compared, finding):
    from jax_privacy import clipping

    grads = batches(seed)
    grads[1][len(grads[1]) // 2] = np.nan
    good = [i for i in range(len(grads[0])) if np.isfinite(grads[1][i]).all()]
    total = [np.zeros(grad.shape[1:]) for grad in grads]
    for i in good:
        clipped, _ = clipping.clip_pytree([jnp.asarray(grad[i]) for grad in grads], 2.0)
        total = [a + np.asarray(b) for a, b in zip(total, clipped)]
    found = gradclip.clip_per_example(grads, 2.0)
    assert found.nonfinite == (len(grads[1]) // 2,)
    same_sums(compared, "jax_privacy.clip_pytree, summed", found, total, grads, seed)
    zeroed, _ = clipping.clip_pytree([jnp.asarray(grad[found.nonfinite[0]]) for grad in grads], 2.0)
    if not flat(zeroed).any():
        finding(
            "jax-privacy turns an example with a NaN into zeros as we drop it, and does not say which"
        )


def opacus(kind, grads, max_norm):
    """What Opacus's optimizer sums up."""
    parameters = []
    for grad in grads:
        p = torch.nn.Parameter(torch.zeros(grad.shape[1:], dtype=torch.float64))
        p.grad_sample = torch.from_numpy(grad.copy())
        parameters.append(p)
    optimizer = kind(
        torch.optim.SGD(parameters, lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=max_norm,
        expected_batch_size=1,
    )
    optimizer.clip_and_accumulate()
    return [p.summed_grad.numpy() for p in parameters]


@pytest.mark.parametrize("seed", SEEDS)
def test_opacus(seed, compared):
    grads = [grad for grad in batches(seed) if grad.ndim > 1]
    theirs = opacus(DPOptimizer, grads, 2.0)
    found = gradclip.clip_per_example(grads, 2.0, eps=1e-6)
    same_sums(compared, "Opacus's DPOptimizer", found, theirs, grads, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_opacus_per_layer(seed, compared):
    grads = [grad for grad in batches(seed) if grad.ndim > 1]
    limits = [0.5, 1.0, 2.0]
    theirs = opacus(DPPerLayerOptimizer, grads, limits)
    found = gradclip.clip_per_example(grads, limits, eps=1e-6)
    same_sums(compared, "Opacus's DPPerLayerOptimizer", found, theirs, grads, seed)


def test_opacus_adapts_its_threshold_as_we_do(compared):
    from opacus.optimizers import AdaClipDPOptimizer

    p = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = AdaClipDPOptimizer(
        torch.optim.SGD([p], lr=1.0),
        noise_multiplier=1.0,
        target_unclipped_quantile=0.5,
        clipbound_learning_rate=0.2,
        max_clipbound=100.0,
        min_clipbound=1e-3,
        unclipped_num_std=1.0,
        max_grad_norm=1.5,
        expected_batch_size=1,
    )
    optimizer.sample_size, optimizer.unclipped_num = 128, torch.tensor(97.25)
    optimizer.update_max_grad_norm()
    ours = gradclip.adapt_max_norm(1.5, 97.25, 128, 0.5, 0.2)
    compared("Opacus's AdaClip threshold", ours, float(optimizer.max_grad_norm), 1e-6)
