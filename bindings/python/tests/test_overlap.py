"""The same memory counts once; memory that overlaps otherwise is refused."""

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradclip
from gradclip._gradients.rows import Table
from gradclip._native import ffi


def test_the_same_array_twice_counts_and_is_scaled_once():
    tied, other = np.array([3.0]), np.array([4.0])
    norm = gradclip.clip_grad_norm_([tied, other, tied], 2.5, eps=0, tensor_norms=True)
    assert norm == 5.0 and norm.tensor_norms == (3.0, 4.0, 3.0)
    assert tied[0] == 1.5 and other[0] == 2.0
    with gradclip.Plan({"a": tied, "b": other, "c": tied}) as plan:
        assert plan.clip_grad_norm_(1.25, eps=0) == 2.5
    assert tied[0] == 0.75
    gradclip.clip_grads_with_norm_([tied, tied], 1.0, 2.0, eps=0)
    assert tied[0] == 0.375


def test_two_views_of_the_same_memory_are_the_same():
    grad = np.array([[3.0, 0.0], [0.0, 4.0]])
    views = [grad, grad.T, grad.reshape(-1), memoryview(grad)]
    assert gradclip.clip_grad_norm_(views, 2.5, eps=0) == 5.0
    assert grad.tolist() == [[1.5, 0.0], [0.0, 2.0]]


def test_out_of_place_each_place_gets_its_own_array():
    tied = np.array([3.0, 4.0])
    (first, _, second), norm = gradclip.clip_grad_norm([tied, np.zeros(3), tied], 2.5, eps=0)
    assert norm == 5.0
    assert first.tolist() == second.tolist() == [1.5, 2.0]
    assert not np.shares_memory(first, second) and tied.tolist() == [3.0, 4.0]
    kinds, _ = gradclip.clip_grad_norm([tied, tied.reshape(2, 1), memoryview(tied)], 2.5, eps=0)
    assert [np.asarray(k).ravel().tolist() for k in kinds] == [[1.5, 2.0]] * 3
    tied[0] = np.inf
    left, _ = gradclip.clip_grad_norm([tied, tied], 2.5)
    assert [g.tolist() for g in left] == [[np.inf, 4.0]] * 2


def test_nonfinite_report_after_a_duplicate():
    tied, bad = np.ones(2), np.array([1.0, np.nan])
    found = gradclip.get_total_norm([tied, tied, bad], names=["a", "b", "c"]).nonfinite
    assert (found.tensor, found.name, found.element) == (2, "c", 1)
    found = gradclip.get_total_norm([tied, bad, bad]).nonfinite
    assert (found.tensor, found.count) == (1, 1)


arena = np.zeros(100, "f4")
OVERLAPS = {
    "arena and a part": (lambda: [arena, arena[10:20]], 0, 1),
    "shared end": (lambda: [arena[:20], np.ones(3), arena[19:40]], 0, 2),
    "same start": (lambda: [arena[:20], arena[:10]], 0, 1),
    "part first": (lambda: [arena[50:60], None, arena[55:70]], 0, 2),
    "other dtype": (lambda: [arena[:20], arena[:20].view("f8")], 0, 1),
    "other dtype, as long": (lambda: [arena[:10], arena[:20].view("f8")], 0, 1),
    "after a duplicate": (lambda: [arena[:5], arena[:5], arena[4:9]], 0, 2),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_partial_overlap_is_refused(name):
    make, first, second = OVERLAPS[name]
    arena[:] = 1.0
    message = rf"^grads\[{second}\] overlaps grads\[{first}\] in memory"
    for call in (
        gradclip.Plan,
        lambda grads: gradclip.clip_grad_norm_(grads, 0.5),
        lambda grads: gradclip.clip_grad_norm(grads, 0.5),
        lambda grads: gradclip.clip_grad_value_(grads, 0.5),
        gradclip.get_total_norm,
    ):
        with pytest.raises(ValueError, match=message):
            call(make())
    assert (arena == 1.0).all()


def test_neighbours_do_not_overlap():
    flat = np.ones(12, "f4")
    parts = [flat[8:], flat[:3], flat[3:8]]
    assert gradclip.clip_grad_norm_(parts, 1.0, eps=0) == pytest.approx(12**0.5)


def test_empty_arrays_overlap_nothing():
    flat = np.ones(4)
    empties = [flat[2:2], flat[2:2], flat[:0], array("d"), array("d")]
    assert gradclip.clip_grad_norm_([flat, *empties, flat], 1.0, eps=0) == 2.0


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12)), max_size=8))
def test_the_library_finds_an_overlap_if_there_is_one(runs):
    starts, lengths = [2 * s for s, _ in runs], [n for _, n in runs]
    used = [place for start, n in runs for place in range(start, start + n)]
    overlap = Table.of(starts, lengths, [ffi.GRADCLIP_F16] * len(runs)).overlap()
    if len(used) == len(set(used)):
        assert overlap is None
    else:
        first, second = (set(range(runs[i][0], sum(runs[i]))) for i in overlap)
        assert overlap[0] < overlap[1] and first & second
