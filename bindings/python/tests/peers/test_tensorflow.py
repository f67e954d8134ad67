"""Against TensorFlow's functions and Keras' optimizers, in float64; and TensorFlow's tensors."""

import math
import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

from trees import NORM, ROUNDING, TINY, flat, leaves, poison, random_tree, rng_of  # noqa: E402

import gradclip  # noqa: E402

DTYPES = ["float32", "float64", "float16", "bfloat16"]


def tensors(seed, dtype="float64"):
    """Random tensors of dtype, and the same values in float64."""
    rng = rng_of(seed)
    ours = [tf.cast(tf.constant(leaf), dtype) for leaf in leaves(random_tree(rng))]
    return rng, ours, [tf.cast(grad, "float64") for grad in ours]


def elements(grads):
    return flat([np.asarray(tf.cast(grad, "float64")) for grad in grads])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(15))
def test_clip_by_global_norm(seed, dtype, compared):
    rng, ours, theirs = tensors(seed, dtype)
    max_norm = float(tf.linalg.global_norm(theirs)) * rng.choice([0.01, 0.5, 0.999, 1.5])
    expected, expected_norm = tf.clip_by_global_norm(theirs, max_norm)
    clipped, norm = gradclip.clip_grad_norm(ours, max_norm, eps=0)
    compared("global_norm", norm, float(expected_norm), NORM * 10, case=seed)
    what = f"clip_by_global_norm, {dtype}"
    allowed = max(ROUNDING[dtype], 1e-14)
    compared(what, elements(clipped), elements(expected), allowed, TINY[dtype], seed)
    for mine, given in zip(clipped, ours):
        assert tf.is_tensor(mine) and mine.dtype == given.dtype and mine.shape == given.shape


@pytest.mark.parametrize("seed", range(10))
def test_clip_by_global_norm_with_a_norm_that_is_known(seed, compared):
    rng, _, theirs = tensors(seed)
    norm = float(tf.linalg.global_norm(theirs)) * rng.choice([0.5, 1.0, 3.0])
    expected, _ = tf.clip_by_global_norm(theirs, 0.7, use_norm=tf.constant(norm, "float64"))
    ours = [np.array(grad) for grad in theirs]
    gradclip.clip_grads_with_norm_(ours, 0.7, norm, eps=0)
    compared("clip_by_global_norm(use_norm=)", flat(ours), elements(expected), 1e-14, case=seed)


@pytest.mark.parametrize("seed", range(10))
def test_clip_by_value(seed, compared):
    rng, _, theirs = tensors(seed)
    limit = rng.choice([0.25, 1.0, 3.7])
    ours = [np.array(grad) for grad in theirs]
    gradclip.clip_grad_value_(ours, limit)
    expected = [tf.clip_by_value(grad, -limit, limit) for grad in theirs]
    compared("clip_by_value", flat(ours), elements(expected), 0.0, case=seed)


@pytest.mark.parametrize("option", ["global_clipnorm", "clipnorm", "clipvalue"])
@pytest.mark.parametrize("seed", range(10))
def test_keras_optimizers(seed, option, compared):
    """SGD with a learning rate of 1 subtracts the clipped gradients from zeros."""
    rng, _, grads = tensors(seed)
    limit = float(tf.linalg.global_norm(grads)) * rng.choice([0.05, 0.5])
    variables = [keras.Variable(np.zeros(grad.shape), dtype="float64") for grad in grads]
    optimizer = keras.optimizers.SGD(learning_rate=1.0, **{option: limit})
    optimizer.apply(grads, variables)
    ours = [np.array(grad) for grad in grads]
    if option == "global_clipnorm":
        gradclip.clip_grad_norm_(ours, limit, eps=0)
    elif option == "clipnorm":
        gradclip.clip_by_norm_(ours, limit)
    else:
        gradclip.clip_grad_value_(ours, limit)
    expected = [-np.asarray(variable) for variable in variables]
    compared(f"Keras: {option}", flat(ours), flat(expected), 1e-14, case=seed)


def test_non_finite_gradients(finding):
    for bad in (math.nan, math.inf):
        grads = [tf.constant([3.0, bad]), tf.constant([4.0])]
        theirs, _ = tf.clip_by_global_norm(grads, 1.0)
        assert np.isnan(elements(theirs)).all()
        clipped, norm = gradclip.clip_grad_norm(grads, 1.0, eps=0, names=["w", "b"])
        assert [grad.numpy().tolist() for grad in clipped[1:]] == [[4.0]]
        assert norm.nonfinite.name == "w" and norm.nonfinite.index == (1,)
    finding(
        "one NaN or infinity: TensorFlow makes every gradient NaN; "
        "gradclip leaves them, and names it"
    )
    rng = rng_of(0)
    tree = poison(rng, random_tree(rng), [math.nan, math.inf])
    clipped, _ = gradclip.clip_grad_norm(
        [tf.constant(g) for g in leaves(tree)], 1.0, nonfinite="zero"
    )
    kept = np.where(np.isfinite(flat(tree)), flat(tree), 0.0)
    assert np.allclose(elements(clipped), kept / np.linalg.norm(kept), rtol=1e-5)


def test_finite_gradients_that_tensorflow_loses(finding):
    grads = [tf.constant([3e38, 3e38])]
    (clipped,), norm = gradclip.clip_grad_norm(grads, 1.0, eps=0)
    assert norm == pytest.approx(math.hypot(3e38, 3e38), rel=1e-6)
    assert clipped.numpy().tolist() == pytest.approx([0.5**0.5] * 2, rel=1e-6)
    (theirs,), _ = tf.clip_by_global_norm(grads, 1.0)
    assert np.isnan(theirs.numpy()).all()
    finding("TensorFlow makes NaN of the finite float32 gradient [3e38, 3e38]; gradclip clips it")


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_cannot_be_changed_and_say_so(dtype):
    grad = tf.constant([3.0, 4.0], dtype)
    with pytest.raises(
        ValueError, match=r"^grads\[0\] \('w'\) is read-only \(tensorflow.*clip_grad_norm returns"
    ):
        gradclip.clip_grad_norm_({"w": grad}, 1.0)
    assert gradclip.get_total_norm([grad]) == 5


def test_what_is_no_array_is_named():
    for other in (tf.Variable([3.0]), tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([0]))):
        with pytest.raises(TypeError, match=r"^grads\[1\] is no array.*tensorflow"):
            gradclip.get_total_norm([tf.constant([1.0]), other])


def test_training_on_digits_gives_keras_parameters(compared):
    from digits import digits

    images, targets = digits()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def train(optimizer, clip):
        keras.utils.set_random_seed(3)
        net = keras.Sequential(
            [
                keras.layers.Dense(32, "tanh", dtype="float64"),
                keras.layers.Dense(10, dtype="float64"),
            ]
        )
        net.build((None, 64))

        @tf.function(reduce_retracing=True)
        def gradients(x, y):
            with tf.GradientTape() as tape:
                value = loss(y, net(x))
            return tape.gradient(value, net.trainable_variables)

        for _ in range(5):
            for first in range(0, 1792, 64):
                x, y = images[first : first + 64], targets[first : first + 64]
                optimizer.apply(clip(gradients(x, y)), net.trainable_variables)
        return net

    clipped = []

    def by_gradclip(grads):
        new, norm = gradclip.clip_grad_norm(grads, 0.5, eps=0)
        clipped.append(norm.clipped)
        return new

    ours = train(keras.optimizers.SGD(0.5), by_gradclip)
    theirs = train(keras.optimizers.SGD(0.5, global_clipnorm=0.5), lambda grads: grads)
    compared(
        f"training on digits with Keras: parameters after {len(clipped)} steps",
        flat([np.asarray(v) for v in ours.trainable_variables]),
        flat([np.asarray(v) for v in theirs.trainable_variables]),
        1e-9,
    )
    assert 10 < sum(clipped) < len(clipped)
    assert (np.asarray(ours(images)).argmax(1) == targets).mean() > 0.9
