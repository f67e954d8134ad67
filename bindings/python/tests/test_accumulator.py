"""Accumulator: however gradients are cut, merged and sent, the norm is that of one call."""

import copy
import ctypes
import gc
import math
import pickle
import threading
from array import array

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradclip
from gradclip import Accumulator
from gradclip._native import ffi

DTYPES = [np.dtype("f4"), np.dtype("f2"), np.dtype(ml_dtypes.bfloat16), np.dtype("f8")]


def finite_arrays(dtype):
    """Arrays of any finite bit patterns."""
    unsigned = f"u{dtype.itemsize}"

    def make(bits):
        grad = np.array(bits, unsigned).view(dtype)
        with np.errstate(invalid="ignore"):  # a signalling NaN of bfloat16 is widened
            return np.where(np.isfinite(grad), grad, dtype.type(1)).astype(dtype)

    patterns = st.integers(0, (1 << 8 * dtype.itemsize) - 1)
    return st.lists(patterns, max_size=40).map(make)


@st.composite
def cut_gradients(draw):
    """Gradients, exact_f64, and a way to cut, distribute and merge them."""
    exact = draw(st.booleans())
    dtypes = DTYPES if exact else DTYPES[:3]
    grads = draw(st.lists(st.sampled_from(dtypes).flatmap(finite_arrays), min_size=1, max_size=5))
    pieces = []
    for grad in grads:
        cuts = draw(st.lists(st.integers(0, len(grad)), max_size=4).map(sorted))
        pieces += [part for part in np.split(grad, cuts) if part.size]
    return exact, grads, draw(st.permutations(pieces)), draw(st.integers(1, 4))


@settings(max_examples=400, deadline=None)
@given(
    cut_gradients(),
    st.sampled_from([1.0, 2.0, math.inf]),
    st.sampled_from([1.0, 65536.0, 3.0]),
    st.data(),
)
def test_equals_one_call_bit_for_bit(case, norm_type, grad_scale, data):
    exact, grads, pieces, parts = case
    arguments = {"grad_scale": grad_scale, "exact_f64": exact}
    accumulators = [Accumulator(norm_type, **arguments) for _ in range(parts)]
    for piece in pieces:
        accumulators[data.draw(st.integers(0, parts - 1))].add(piece)
    while len(accumulators) > 1:
        other = accumulators.pop(data.draw(st.integers(0, len(accumulators) - 1)))
        into = accumulators[data.draw(st.integers(0, len(accumulators) - 1))]
        into.merge(other.to_bytes() if data.draw(st.booleans()) else other)
    expected = gradclip.defer_clip(grads, 0.5, norm_type, **arguments)
    found = accumulators[0].finish(max_norm=0.5)
    assert found.hex() == expected.hex()
    assert found.clip_coef.hex() == expected.clip_coef.hex()
    assert found.factor.hex() == expected.factor.hex()
    assert not found.nonfinite


@pytest.mark.parametrize("norm_type", [3.0, 0.5, -1.0, 2.7])
def test_other_orders_cut_at_blocks(rng, norm_type):
    grad = np.array([rng.gauss(0, 1) for _ in range(3 * 4096 + 100)], "f4")
    first, second = Accumulator(norm_type), Accumulator(norm_type)
    first.add(grad[8192:])
    second.add([grad[:4096], grad[4096:8192]])
    first.merge(second)
    assert first.finish() == gradclip.get_total_norm(grad, norm_type)


def test_norm_type_0_counts_what_is_added():
    accumulator = Accumulator(0.0)
    accumulator.add([np.ones(3), np.zeros(2)])
    accumulator.add([np.ones(1)])
    assert accumulator.finish() == 2.0


def test_empty_continued_and_reset():
    accumulator = Accumulator(eps=0)
    assert accumulator.finish(1.0) == 0.0
    accumulator.add([])
    accumulator.add([None, array("f")])
    accumulator.add(array("d", [3.0]))
    assert accumulator.finish() == 3.0
    accumulator.add({"w": array("f", [4.0])})
    norm = accumulator.finish(max_norm=2.5)
    assert (norm, norm.clip_coef, norm.factor, norm.clipped) == (5.0, 0.5, 0.5, True)
    assert norm.tensor_norms is None
    accumulator.reset()
    assert accumulator.finish() == 0.0
    accumulator.merge(accumulator)
    accumulator.add(array("d", [5.0]))
    accumulator.merge(accumulator)
    accumulator.merge(accumulator)
    assert accumulator.finish() == 10.0


def test_reads_read_only_and_leaves_alone():
    grad = np.ones((3, 4), "f4", order="F")
    grad.flags.writeable = False
    accumulator = Accumulator()
    accumulator.add([grad, grad])  # the same memory: once
    assert accumulator.finish(0.1) == math.sqrt(12) and (grad == 1).all()


def test_options_hold_for_all():
    grads = [np.array([6.0, math.inf]), np.array([8.0])]
    accumulator = Accumulator(grad_scale=2.0, nonfinite="zero", eps=0)
    for grad in grads:
        accumulator.add(grad)
    norm = accumulator.finish(max_norm=2.5)
    assert (norm, norm.clip_coef, norm.factor) == (5.0, 0.5, 0.25)
    assert (norm.nonfinite.count, norm.nonfinite.tensor) == (1, 0)
    assert "grad_scale=2.0" in repr(accumulator) and "'zero'" in repr(accumulator)


# ------------------------------------------------------- what is not finite --


def test_says_where_although_the_gradients_are_gone():
    accumulator = Accumulator()
    accumulator.add({"a": np.ones(3), "none": None})
    accumulator.add({"b": np.array([[1.0, 2.0], [math.nan, math.inf]])})
    accumulator.add({"c": np.array([math.inf])})
    gc.collect()
    nonfinite = accumulator.finish().nonfinite
    assert (nonfinite.count, nonfinite.nan_count) == (3, 1)
    assert (nonfinite.tensor, nonfinite.name) == (1, "b")
    assert (nonfinite.element, nonfinite.index) == (2, (1, 0))
    with pytest.raises(gradclip.NonFiniteGradientError, match="'b'"):
        accumulator.finish(error_if_nonfinite=True)
    accumulator.reset()
    assert not accumulator.finish(error_if_nonfinite=True).nonfinite


def test_names_and_indices_in_fortran_order_and_of_repeated_memory():
    grad = np.zeros((2, 3), order="F")
    grad[1, 1] = math.nan
    accumulator = Accumulator()
    accumulator.add([np.ones(2), None, grad, grad], names=["x", "n", "y", "z"])
    nonfinite = accumulator.finish().nonfinite
    assert (nonfinite.name, nonfinite.index, nonfinite.element) == ("y", (1, 1), 4)
    assert nonfinite.tensor == 1 and nonfinite.count == 1


def test_places_after_merges():
    good, bad = Accumulator(), Accumulator()
    good.add([np.ones(2), np.ones(3)])
    bad.add({"w": np.array([1.0, math.nan])})
    by_object, by_bytes = copy.copy(good), copy.copy(good)
    by_object.merge(bad)
    nonfinite = by_object.finish().nonfinite
    assert (nonfinite.tensor, nonfinite.name, nonfinite.index) == (2, "w", (1,))
    by_bytes.merge(bad.to_bytes())
    nonfinite = by_bytes.finish().nonfinite
    assert (nonfinite.tensor, nonfinite.name, nonfinite.index) == (2, None, None)
    assert str(nonfinite).endswith("the first is element 1, of gradient 2")
    # What comes later does not displace it.
    by_bytes.add({"v": np.array([math.nan])})
    assert by_bytes.finish().nonfinite.name is None
    bad.merge(good)
    assert bad.finish().nonfinite.name == "w" and bad.finish().nonfinite.tensor == 0


# ------------------------------------------------------------ bytes, copies --


def samples():
    for norm_type in (1.0, 2.0, 3.0, 0.0, -1.0, math.inf):
        for exact in (False, True):
            for grad in (np.array([3.0, -4.0], "f4"), np.array([1e200, 1e-200, math.nan])):
                accumulator = Accumulator(norm_type, exact_f64=exact)
                accumulator.add(grad)
                yield norm_type, exact, accumulator


def test_every_damaged_byte_is_refused():
    for norm_type, exact, accumulator in samples():
        state = accumulator.to_bytes()
        target = Accumulator(norm_type, exact_f64=exact)
        for i in range(len(state)):
            for flip in (0x01, 0x80, 0xFF):
                damaged = bytearray(state)
                damaged[i] ^= flip
                with pytest.raises(gradclip.BadDataError, match="bytes"):
                    target.merge(bytes(damaged))
            with pytest.raises(gradclip.BadDataError):
                target.merge(state[:i])
        with pytest.raises(gradclip.BadDataError):
            Accumulator.from_bytes(state + b"\0", norm_type, exact_f64=exact)
        assert target.finish() == 0.0 and not target.finish().nonfinite
        target.merge(memoryview(state))
        assert repr(target.finish()) == repr(accumulator.finish())


def test_bytes_are_small():
    for norm_type, exact, accumulator in samples():
        narrow = accumulator.finish() in (5.0, 7.0) and norm_type in (1.0, 2.0) and not exact
        assert len(accumulator.to_bytes()) <= (192 if narrow else 1024)


def test_foreign_accumulators_are_refused():
    all_of_them = list(samples())
    for norm_type, exact, accumulator in all_of_them:
        for other_type, other_exact, other in all_of_them:
            if (norm_type, exact) == (other_type, other_exact):
                continue
            before = accumulator.to_bytes()
            with pytest.raises(gradclip.InvalidArgumentError, match="norm_type"):
                accumulator.merge(other)
            with pytest.raises(gradclip.BadDataError):
                accumulator.merge(other.to_bytes())
            with pytest.raises(gradclip.BadDataError):
                Accumulator.from_bytes(other.to_bytes(), norm_type, exact_f64=exact)
            assert accumulator.to_bytes() == before


@pytest.mark.parametrize("other", [None, 3, "text", object(), [1]])
def test_what_is_no_accumulator(other):
    with pytest.raises(TypeError, match="an Accumulator or the bytes of one"):
        Accumulator().merge(other)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"norm_type": math.nan}, "norm_type"),
        ({"eps": -1.0}, "eps"),
        ({"grad_scale": 0.0}, "grad_scale"),
        ({"nonfinite": "ignore"}, "nonfinite"),
    ],
)
def test_arguments_are_checked(arguments, match):
    with pytest.raises(ValueError, match=match):
        Accumulator(**arguments)
    with pytest.raises(ValueError, match="max_norm"):
        Accumulator().finish(max_norm=-1.0)
    with pytest.raises(TypeError, match="norm_type"):
        Accumulator("2")


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_copies(duplicate):
    original = Accumulator(1.0, eps=0, nonfinite="zero", grad_scale=2.0, exact_f64=True)
    original.add({"w": np.array([[8.0], [math.nan]])})
    copied = duplicate(original)
    assert repr(copied) == repr(original)
    for accumulator in (original, copied):
        norm = accumulator.finish(1.0)
        assert (norm, norm.factor) == (4.0, 0.125)
        assert (norm.nonfinite.name, norm.nonfinite.index) == ("w", (1, 0))
    copied.add(np.array([8.0]))
    assert (copied.finish(), original.finish()) == (8.0, 4.0)


# ------------------------------------------------------------------ threads --


def test_threads_with_accumulators_of_their_own(rng):
    grads = [np.array([rng.gauss(0, 1) for _ in range(500)], "f4") for _ in range(40)]
    parts = [Accumulator() for _ in range(4)]

    def work(i):
        for grad in grads[i::4]:
            parts[i].add(grad)

    run(work, 4)
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].finish() == gradclip.get_total_norm(grads)


def test_threads_on_one_accumulator(rng):
    grads = [np.array([rng.gauss(0, 1) for _ in range(500)], "f4") for _ in range(40)]
    shared, other = Accumulator(), Accumulator()

    def work(i):
        for grad in grads[i::4]:
            shared.add(grad)
            if i % 2:
                shared.merge(other)
            else:
                other.merge(Accumulator())
                shared.finish()
                shared.to_bytes()

    run(work, 4)
    assert shared.finish() == gradclip.get_total_norm(grads)


def test_merging_in_both_directions_at_once_does_not_stop():
    a, b = Accumulator(math.inf), Accumulator(math.inf)
    a.add(np.array([3.0]))
    b.add(np.array([4.0]))
    run(lambda i: [(a.merge(b) if i % 2 else b.merge(a)) for _ in range(2000)], 4)
    assert a.finish() == b.finish() == 4.0


def run(work, count):
    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_bytes_of_a_sum_over_ranks_do_not_say_where_the_nan_is():
    ranks = [gradclip.Accumulator() for _ in range(2)]
    for rank in ranks:
        rank.add(np.array([1.0, np.nan], np.float32))
    words = [(ctypes.c_int64 * ffi.GRADCLIP_WORDS)() for _ in ranks]
    for rank, own in zip(ranks, words):
        assert ffi.gradclip_accumulator_to_words(rank._handle, 1.0, own) == 0
    sums = (ctypes.c_int64 * ffi.GRADCLIP_WORDS)(*map(sum, zip(*words)))
    assert ffi.gradclip_accumulator_from_words(ranks[0]._handle, 1.0, sums) == 0
    found = gradclip.Accumulator.from_bytes(ranks[0].to_bytes()).finish().nonfinite
    assert (found.count, found.nan_count) == (2, 2)
    assert found.tensor is found.element is found.index is found.name is None
    assert str(found) == "2 elements are not finite (2 NaN, 0 infinite)"


def test_a_backward_pass_says_which_gradient_it_adds():
    good, bad = np.float32([1, 2]), np.float32([1, np.nan])
    accumulator = gradclip.Accumulator()
    for i, (grad, name) in reversed(list(enumerate([(good, "a"), (bad, "b"), (bad, "c")]))):
        accumulator.add(grad, names=[name], index=i)
    found = accumulator.finish(1.0).nonfinite
    assert (found.tensor, found.name, found.element, found.count) == (1, "b", 1, 2)
    for wrong in (-1, 2**63):
        with pytest.raises(ValueError, match=rf"index must be .*got {wrong}"):
            accumulator.add(good, index=wrong)
    with pytest.raises(TypeError, match=r"index must be an integer \(got 1.5"):
        accumulator.add(good, index=1.5)
