"""Accumulator.add_difference: the norm of x - y, held against Python's integers."""

import math
import threading
from array import array

import clip as oracle
import formats
import gradclip
import ml_dtypes
import numpy as np
import pytest
from gradclip import Accumulator
from hypothesis import given, settings
from hypothesis import strategies as st

FORMATS = {
    np.dtype("f4"): formats.F32,
    np.dtype("f8"): formats.F64,
    np.dtype("f2"): formats.F16,
    np.dtype(ml_dtypes.bfloat16): formats.BF16,
}


def bits_of(made):
    return [int(bits) for bits in made.view(f"u{made.dtype.itemsize}")]


@st.composite
def pairs(draw):
    """Two arrays of one length, of any finite bits; or of near exponents, as weights have them."""
    size = draw(st.integers(1, 40))
    made = []
    near = draw(st.booleans())
    for _ in range(2):
        dtype = draw(st.sampled_from(list(FORMATS)))
        fmt = FORMATS[dtype]
        magnitudes = st.integers(0, fmt.max_finite)
        if near:
            one = fmt.bias << fmt.mantissa_bits
            magnitudes = st.integers(one - (2 << fmt.mantissa_bits), one)
        bits = draw(st.lists(st.tuples(magnitudes, st.booleans()), min_size=size, max_size=size))
        signed = [m | (fmt.sign_bit if minus else 0) for m, minus in bits]
        made.append(np.array(signed, f"u{dtype.itemsize}").view(dtype))
    return made


@settings(max_examples=400, deadline=None)
@given(pairs(), st.sampled_from([1.0, 2.0, math.inf]), st.sampled_from([1.0, 3.0, 2.0**64]))
def test_is_the_exact_norm_of_differences_rounded_once(pair, norm_type, grad_scale):
    x, y = pair
    exact = [
        FORMATS[x.dtype].value(a) - FORMATS[y.dtype].value(b)
        for a, b in zip(bits_of(x), bits_of(y))
    ]
    rounded = [formats.F64.round(value) for value in exact]
    tensor = oracle.Tensor(formats.F64, rounded)
    expected = oracle.clip_grad_norm([tensor], math.inf, norm_type, grad_scale=grad_scale)
    accumulator = Accumulator(norm_type, exact_f64=True, grad_scale=grad_scale)
    accumulator.add_difference(x, y)
    assert accumulator.finish().hex() == expected.total_norm.hex()


def test_float16_differences_and_near_float32_are_exact():
    """What the header says of which differences float64 holds."""
    rng = np.random.default_rng(1)
    for dtype, apart in (("f2", 40), ("f4", 27)):
        info = np.finfo(dtype)
        low = info.minexp if dtype == "f2" else -apart
        high = info.maxexp if dtype == "f2" else 0
        x, y = (
            (rng.choice([-1, 1], 4000) * np.exp2(rng.uniform(low, high - 0.01, 4000))).astype(dtype)
            for _ in range(2)
        )
        for a, b in zip(x, y):
            exact = formats.Fraction(float(a)) - formats.Fraction(float(b))
            assert formats.Fraction(float(a) - float(b)) == exact


def test_any_cut_and_any_thread_count_gives_the_same_bits(rng):
    n = 700_000
    x = np.array([rng.gauss(0, 1) for _ in range(n)], "f4")
    y = x + np.array([rng.gauss(0, 1e-3) for _ in range(n)], "f4")
    with np.errstate(all="ignore"):
        expected = gradclip.get_total_norm(x.astype("f8") - y.astype("f8"), exact_f64=True)
    whole, cut, merged = (Accumulator(exact_f64=True) for _ in range(3))
    whole.add_difference(x, y)
    for i in range(0, n, 99_991):
        cut.add_difference(x[i : i + 99_991], y[i : i + 99_991])
    parts = [Accumulator(exact_f64=True) for _ in range(3)]
    threads = [
        threading.Thread(target=part.add_difference, args=(x[i::1][s], y[i::1][s]))
        for part, i, s in zip(parts, (0, 0, 0), (slice(0, 1), slice(1, 70_001), slice(70_001, n)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in parts:
        merged.merge(part.to_bytes())
    assert whole.finish().hex() == cut.finish().hex() == merged.finish().hex() == expected.hex()


def test_containers_names_and_the_first_that_is_not_finite():
    new = {"a": np.float32([1, 2]), "b": np.float32([[1, 2], [3, np.inf]]), "c": None}
    old = {"c": None, "b": np.float32([[1, 2], [3, np.inf]]), "a": np.float32([0, 2])}
    accumulator = Accumulator()
    accumulator.add_difference(new, old)
    found = accumulator.finish().nonfinite
    assert (found.count, found.nan_count) == (1, 1)
    assert (found.name, found.element, found.index) == ("b", 3, (1, 1))
    numbered = Accumulator()
    numbered.add_difference([new["b"]], [old["b"]], index=7, names=["weights"])
    found = numbered.finish().nonfinite
    assert (found.tensor, found.name) == (7, "weights")


def test_orders_in_memory_and_scalars():
    x, y = np.arange(12.0).reshape(3, 4), np.ones((3, 4))
    for first, second in ((x, y), (x.T, y.T), (x[::-1, ::-1], y[::-1, ::-1])):
        accumulator = Accumulator(exact_f64=True)
        accumulator.add_difference([first, np.array(3.0)], [second, np.array(-1.0)])
        assert accumulator.finish() == gradclip.get_total_norm(
            [x - y, np.array(4.0)], exact_f64=True
        )


def test_the_same_pair_counts_once_and_nothing_is_written():
    x, y = array("f", [4.0]), array("d", [1.0])
    accumulator = Accumulator()
    accumulator.add_difference([x, x], [y, y])
    assert accumulator.finish() == 3 and (x[0], y[0]) == (4, 1)
    accumulator.reset()
    accumulator.add_difference([x, x], [y, array("d", [0.0])])  # two differences
    assert accumulator.finish() == 5
    frozen = np.float32([1])
    frozen.flags.writeable = False
    accumulator.add_difference(frozen, bytes_like(frozen))


def bytes_like(made):
    return np.frombuffer(made.tobytes(), made.dtype)


@pytest.mark.parametrize(
    "tensors, minus, message",
    [
        ([np.zeros(2)], [], r"minus must be as many .*: 1 \(got 0\)"),
        (
            [np.zeros(2)],
            [np.zeros(3)],
            r"minus of grads\[0\] must have its shape \(2,\) \(got \(3,\)\)",
        ),
        ({"w": np.zeros(2)}, {"w": np.zeros((2, 1))}, r"minus of grads\[0\] \('w'\)"),
        ({"w": np.zeros(2)}, {"v": np.zeros(2)}, "minus has none for the gradient 'w'"),
        ([np.zeros(2), None], [np.zeros(2), np.zeros(2)], "minus must have None where"),
        ([np.zeros(2), None], [None, np.zeros(2)], r"minus has None for grads\[0\]"),
        ([np.zeros((2, 3))], [np.zeros((3, 2)).T], r"grads\[0\] .* differently in memory"),
        ([np.zeros((2, 3))[:, ::2]], [np.zeros((2, 2))], "gaps|dense"),
    ],
)
def test_what_is_refused_adds_nothing(tensors, minus, message):
    accumulator = Accumulator()
    with pytest.raises(ValueError, match=message):
        accumulator.add_difference(tensors, minus)
    assert accumulator.finish() == 0
    with pytest.raises(TypeError):
        accumulator.add_difference([np.zeros(2, "i8")], [np.zeros(2)])
    with pytest.raises(ValueError, match="index must be an integer from 0"):
        accumulator.add_difference([np.zeros(2)], [np.zeros(2)], index=-1)
