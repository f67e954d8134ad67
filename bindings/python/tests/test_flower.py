"""gradclip.flower over NumPy lists: nothing above the limit, nothing that is not finite.

The exact norms are made with rationals, and compared as squares: no rounding decides."""

import logging
import math
from fractions import Fraction

import numpy as np
import pytest
from conftest import CHECKOUT
from hostile_updates import hostile

import gradclip.flower as flower

HUGE = 3e38


def exact_square(arrays, base=None):
    """The exact square of the norm of arrays - base."""
    total = Fraction(0)
    for i, array in enumerate(arrays):
        if array.dtype.kind != "f":
            continue
        x = [Fraction(float(v)) for v in array.ravel()]
        y = (
            [Fraction(0)] * len(x)
            if base is None
            else [Fraction(float(v)) for v in base[i].ravel()]
        )
        total += sum(((a - b) ** 2 for a, b in zip(x, y)), Fraction(0))
    return total


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("seed", range(3))
def test_no_contribution_exceeds_the_limit(dtype, seed):
    rng = np.random.default_rng(seed)
    clipped = 0
    for _ in range(300):
        sizes = rng.integers(0, 6, 3)
        server = [hostile(rng, dtype, n) for n in sizes]
        client = [hostile(rng, dtype, n) for n in sizes]
        limit = float(2.0 ** rng.uniform(-40, 40))
        found = flower.clip_update(client, limit, base=server)
        assert exact_square(found.arrays, server) <= Fraction(limit) ** 2, (seed, limit)
        assert all(np.isfinite(a).all() for a in found.arrays)
        assert [a.dtype for a in found.arrays] == [dtype] * 3
        alone = flower.clip_update(client, limit)
        assert exact_square(alone.arrays) <= Fraction(limit) ** 2, (seed, limit)
        clipped += found.clipped
    assert 50 < clipped < 300


def test_it_is_close_to_the_limit_and_keeps_the_direction():
    rng = np.random.default_rng(3)
    server = [rng.standard_normal((40, 7)).astype("f4"), rng.standard_normal(9).astype("f4")]
    client = [s + rng.standard_normal(s.shape).astype("f4") for s in server]
    found = flower.clip_update(client, 0.5, base=server)
    norm = math.sqrt(exact_square(found.arrays, server))
    assert 0.4999 < norm <= 0.5
    for r, x, y in zip(found.arrays, client, server):
        np.testing.assert_allclose(r - y, (x - y) * found.factor, atol=3e-7)


def test_what_is_within_the_limit_is_left_as_it_is():
    server = [np.float32([1, 2]), np.array(7)]
    client = [np.float32([1.5, 2]), np.array(9)]
    found = flower.clip_update(client, 0.75, base=server)
    assert found.factor == 1 and not found.clipped and found.norm == 0.5
    assert all(a is b for a, b in zip(found.arrays, client))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_update_that_is_not_finite_is_dropped_and_named(bad, caplog):
    server = [np.float32([1, 2]), np.float64([3])]
    client = [np.float32([1, 2]), np.array([bad])]
    with caplog.at_level(logging.WARNING):
        found = flower.clip_update(client, 1.0, base=server)
    assert "array 1 is not finite" in caplog.text
    assert found.clipped and found.factor == 0 and not math.isfinite(found.norm)
    np.testing.assert_equal(found.arrays, server)
    update = [np.float32([1, 2]), np.array([bad])]
    assert flower.adaptive_clip_inputs_inplace(update, 1.0)
    np.testing.assert_equal([np.asarray(a) for a in update], [np.zeros(2, "f4"), np.zeros(1)])


def test_zeros_are_an_update():
    update = [np.zeros(3, "f4")]
    assert flower.get_norm(update) == 0
    assert not flower.adaptive_clip_inputs_inplace(update, 1.0)
    param = [np.float32([1, 2])]
    flower.compute_clip_model_update(param, [np.float32([1, 2])], 1.0)
    np.testing.assert_equal(param, [np.float32([1, 2])])


@pytest.mark.parametrize("dtype", ["i8", "u1", "i4", "?"])
def test_counters_are_left_alone(dtype):
    counter, before = np.ones(2, dtype), np.zeros(2, dtype)
    param = [np.float32([30, 40]), counter]
    flower.compute_clip_model_update(param, [np.zeros(2, "f4"), before], 1.0)
    assert param[1] is counter and param[1].dtype == dtype
    assert 0.999 < math.hypot(*param[0]) <= 1


def test_an_averaged_counter_may_be_float64_at_the_server():
    found = flower.clip_update([np.array(4), np.array(4.0)], 1.0, base=[np.array(2.5), np.array(2)])
    assert found.norm == 2 and found.arrays[0] == 4 and 2.999 < found.arrays[1] <= 3


@pytest.mark.parametrize("sent", ["i8", "u1", "?"])
@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_no_client_can_call_a_weight_a_counter(dtype, sent):
    server = [np.zeros(3, dtype), np.zeros(2, dtype)]
    param = [np.array([200, 0, 1]).astype(sent), np.ones(2, dtype)]
    flower.compute_clip_model_update(param, server, 0.5)
    assert param[0].dtype == dtype and 0.4 < math.sqrt(exact_square(param)) <= 0.5
    exact = [np.array([2**62 + 1, 0, 0]), np.ones(2, dtype)]
    found = flower.clip_update(exact, 0.5, base=server)
    assert exact_square(found.arrays) <= Fraction(1, 4) and found.arrays[0][0] > 0.4


def test_arrays_keep_the_type_that_they_have_at_the_server():
    """So that no float32 weight becomes float64, where integers would be a counter."""
    rng = np.random.default_rng(8)
    server = [rng.standard_normal(50).astype("f4"), rng.standard_normal(4).astype(">f4")]
    client = [s + rng.standard_normal(s.shape) for s in server]
    norm = flower.clip_update(client, math.inf, base=server).norm
    for limit in (norm / 2, norm, norm * (1 + 2.0**-48), norm * 1.01, math.inf):
        found = flower.clip_update(client, limit, base=server)
        assert [a.dtype for a in found.arrays] == [np.dtype("f4")] * 2
        if limit < math.inf:
            assert exact_square(found.arrays, server) <= Fraction(limit) ** 2
        for r, x, y in zip(found.arrays, client, server):
            np.testing.assert_allclose(r - y, (x - y) * found.factor, atol=1e-6)


def test_a_model_that_is_not_finite_is_an_error_wherever_it_is():
    for client in ([np.nan, 1.0], [1, 1.0]):
        for base in ([0.0, np.nan], [np.nan, 0.0]):
            with pytest.raises(ValueError, match=r"of the model .* is not finite"):
                flower.clip_update(
                    [np.array(x) for x in client], 1.0, base=[np.float32(y) for y in base]
                )


@pytest.mark.parametrize("dtype, large", [("f4", HUGE), ("f2", 60000.0), ("f8", 1e308)])
def test_large_values_do_not_become_zeros(dtype, large):
    param = [np.full(4, large, dtype)]
    flower.compute_clip_model_update(param, [np.zeros(4, dtype)], 1.0)
    np.testing.assert_allclose(param[0], 0.5, rtol=2e-3)
    assert exact_square(param) <= 1


def test_differences_beyond_float64_are_dropped():
    found = flower.clip_update([np.array([1.7e308])], 1.0, base=[np.array([-1.7e308])])
    assert found.factor == 0 and found.arrays[0][0] == -1.7e308


def test_views_byte_orders_and_scalars():
    rng = np.random.default_rng(5)
    plain = rng.standard_normal((6, 8))
    same = [plain, np.asfortranarray(plain), plain.astype(">f8"), plain[:, ::2], np.array(3.0)]
    alike = [np.ascontiguousarray(a).astype("f8") for a in same]
    mine = flower.clip_update(same, 1.0)
    theirs = flower.clip_update(alike, 1.0)
    assert mine.norm == theirs.norm
    for a, b in zip(mine.arrays, theirs.arrays):
        np.testing.assert_array_equal(a, b)


def test_scalars_of_numpy_are_arrays_without_axes():
    update = [np.float32(3), np.int64(2), np.float32(4)]
    assert flower.adaptive_clip_inputs_inplace(update, 1.0)
    assert 0.999 < math.hypot(update[0], update[2]) <= 1 and update[1] == 2


def test_in_place_writes_the_arrays_given():
    array = np.float32([3, 4])
    update = [array]
    flower.clip_inputs_inplace(update, 1.0)
    assert 0.999 < math.hypot(*array) <= 1


@pytest.mark.parametrize(
    ("arrays", "base", "limit", "error", "words"),
    [
        ([np.zeros(2)], None, -1, ValueError, r"clipping_norm must be .* \(got -1\)"),
        ([np.zeros(2)], None, math.nan, ValueError, "clipping_norm must be"),
        ([np.zeros(2)], None, 5e-324, ValueError, "clipping_norm must be"),
        (
            [np.zeros(2)],
            [np.zeros(3)],
            1,
            ValueError,
            r"array 0 has the shape \(2,\), the model's \(3,\)",
        ),
        ([np.zeros(2)], [], 1, ValueError, "1 arrays for 0 of the model"),
        ([np.zeros(2, "c8")], None, 1, TypeError, "array 0 is of complex64"),
        ([np.array(["a"])], None, 1, TypeError, "array 0 is of <U1"),
        ([np.zeros(2)], [np.zeros(2, "c8")], 1, TypeError, "array 0 is of complex64"),
        ([np.zeros(1)], [np.array([math.nan])], 1, ValueError, "array 0 of the model"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(arrays, base, limit, error, words):
    before = [a.copy() for a in arrays]
    with pytest.raises(error, match=words):
        flower.clip_update(arrays, limit, base=base)
    for a, b in zip(arrays, before):
        np.testing.assert_array_equal(a, b)


def test_server_and_auditor_have_the_same_bits():
    rng = np.random.default_rng(7)
    server = [rng.standard_normal(100_003).astype("f4")]
    client = [rng.standard_normal(100_003).astype("f4")]
    once = flower.clip_update(client, 1.0, base=server)
    parts = [a[k : k + 777].copy() for a in client for k in range(0, 100_003, 777)]
    bases = [a[k : k + 777].copy() for a in server for k in range(0, 100_003, 777)]
    order = rng.permutation(len(parts))
    again = flower.clip_update([parts[k] for k in order], 1.0, base=[bases[k] for k in order])
    assert again.norm == once.norm and again.factor == once.factor
    np.testing.assert_array_equal(
        np.concatenate([again.arrays[k] for k in np.argsort(order)]), once.arrays[0]
    )


def test_the_page_prints_what_it_says(capsys):
    text = (CHECKOUT / "docs" / "federated.md").read_text()
    exec(text.rpartition("```python")[2].partition("```")[0], {})
    assert capsys.readouterr().out == "5.0 True\n"
