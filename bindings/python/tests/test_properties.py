"""Random calls against the oracle: rational arithmetic, written from the header alone.

The values come as bit patterns and are compared as bit patterns, so that signed
zeros and denormals count.
"""

import math

import clip as oracle
import formats
import ml_dtypes
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gradclip

DTYPES = {
    formats.F32: np.dtype("f4"),
    formats.F64: np.dtype("f8"),
    formats.F16: np.dtype("f2"),
    formats.BF16: np.dtype(ml_dtypes.bfloat16),
}
FORMATS = {dtype: fmt for fmt, dtype in DTYPES.items()}
POLICIES = {"leave": oracle.LEAVE, "propagate": oracle.PROPAGATE, "zero": oracle.ZERO}


def elements(fmt):
    """Bit patterns: anything at all, and more often numbers near 1."""
    one = fmt.inf & ~(fmt.inf >> 1)
    span = fmt.min_normal * min(20, fmt.bias // 2)
    near_one = st.integers(one - span, one + span)
    sign = st.sampled_from([0, fmt.sign_bit])
    return st.one_of(st.builds(int.__or__, near_one, sign), st.integers(0, (1 << fmt.width) - 1))


def tensors(finite):
    def of(fmt):
        values = elements(fmt)
        if finite:
            values = values.filter(fmt.is_finite)
        return st.builds(oracle.Tensor, st.just(fmt), st.lists(values, max_size=12))

    return st.lists(st.sampled_from(list(DTYPES)).flatmap(of), max_size=6)


def arrays(tensor_list):
    return [np.array(t.elements, f"u{t.fmt.width // 8}").view(DTYPES[t.fmt]) for t in tensor_list]


def bits(array_list):
    return [a.view(f"u{a.itemsize}").tolist() for a in array_list]


def same_but_for_nan(array_list, expected):
    """Bit patterns as expected; a NaN may be any NaN."""
    for array, row in zip(array_list, expected):
        fmt = FORMATS[array.dtype]
        found = [fmt.nan if fmt.is_nan(b) else b for b in bits([array])[0]]
        assert found == [fmt.nan if fmt.is_nan(b) else b for b in row]


def close(found, expected, ulps):
    if math.isnan(expected) or math.isinf(expected):
        assert math.isnan(found) if math.isnan(expected) else found == expected
    else:
        assert abs(found - expected) <= ulps * math.ulp(expected), (found, expected)


max_norms = st.one_of(st.sampled_from([0.0, 1.0, 1e-300, math.inf]), st.floats(1e-9, 1e9))
scales = st.sampled_from([1.0, 2.0, 65536.0, 0.1, 3.0])
EXACT = [1.0, 2.0, math.inf, -math.inf, 0.0]
orders = st.one_of(
    st.sampled_from(EXACT),
    st.sampled_from([3.0, 4.0, 0.5, 1.5, 2.7, 100.0, 0.01, -1.0, -2.5]),
    st.floats(-50, 50).filter(lambda p: abs(p) > 1e-3),
)


@settings(max_examples=300, deadline=None)
@given(
    tensors(finite=False),
    max_norms,
    orders,
    st.sampled_from([0.0, 1e-6]),
    scales,
    st.sampled_from(list(POLICIES)),
)
def test_clip_by_norm(given_tensors, max_norm, norm_type, eps, grad_scale, policy):
    arguments = {"eps": eps, "grad_scale": grad_scale, "nonfinite": policy, "tensor_norms": True}
    grads = arrays(given_tensors)
    before = bits(grads)
    new, norm = gradclip.clip_grad_norm(grads, max_norm, norm_type, **arguments)
    assert bits(grads) == before
    expected = oracle.clip_grad_norm(
        given_tensors, max_norm, norm_type, eps, grad_scale, POLICIES[policy]
    )
    # The true norm, correctly rounded; sums over float64 and a division by the
    # scale may cost a unit in the last place each.
    of_powers = 0 if norm_type in EXACT else 4 * max(1, 1 / abs(norm_type))
    of_tensors = [
        of_powers + int(t.fmt is formats.F64) + int(grad_scale != 1.0) for t in given_tensors
    ]
    close(norm, expected.total_norm, max(of_tensors, default=0))
    for found, tensor_norm, ulps in zip(norm.tensor_norms, expected.tensor_norms, of_tensors):
        close(found, tensor_norm, ulps)
    nonfinite = norm.nonfinite
    assert nonfinite.count == expected.nonfinite_count
    assert nonfinite.nan_count == expected.nan_count
    if expected.first is not None:
        assert (nonfinite.tensor, nonfinite.element) == expected.first
    if expected.status == oracle.NON_FINITE:
        assert bits(new) == before and not norm.clipped
    else:
        # The rest follows from the coefficient that was found, bit for bit.
        factor = oracle.quotient(norm.clip_coef, grad_scale)
        same_but_for_nan(new, oracle.scale_all(given_tensors, factor, policy == "zero"))
    again = gradclip.clip_grad_norm_(grads, max_norm, norm_type, **arguments)
    assert repr(again) == repr(norm) and repr(again.clip_coef) == repr(norm.clip_coef)
    same_but_for_nan(grads, bits(new))


@settings(max_examples=200, deadline=None)
@given(tensors(finite=True), max_norms, st.sampled_from([0.0, 1e-6]))
def test_coefficient_follows_from_the_norm(given_tensors, max_norm, eps):
    norm = gradclip.get_total_norm(arrays(given_tensors))
    clipped = gradclip.clip_grad_norm(arrays(given_tensors), max_norm, eps=eps)[1]
    assert clipped == norm
    if not math.isinf(norm):
        assert clipped.clip_coef == oracle.clip_coef(max_norm, norm, eps)


@settings(max_examples=200, deadline=None)
@given(tensors(finite=False), st.one_of(max_norms, st.sampled_from([1e-310, 1e300])))
def test_clip_by_value(given_tensors, clip_value):
    grads = arrays(given_tensors)
    gradclip.clip_grad_value_(grads, clip_value)
    same_but_for_nan(grads, oracle.clip_grad_value(given_tensors, clip_value))


@settings(max_examples=200, deadline=None)
@given(
    tensors(finite=False),
    max_norms,
    st.one_of(max_norms, st.just(math.inf)),
    st.sampled_from(list(POLICIES)),
    scales,
)
def test_clip_by_known_norm(given_tensors, max_norm, total_norm, policy, grad_scale):
    grads = arrays(given_tensors)
    before = bits(grads)
    norm = gradclip.clip_grads_with_norm_(
        grads, max_norm, total_norm, nonfinite=policy, grad_scale=grad_scale
    )
    expected = oracle.clip_grads_with_norm(
        given_tensors, max_norm, total_norm, 1e-6, grad_scale, POLICIES[policy]
    )
    assert norm == total_norm
    if expected.status == oracle.NON_FINITE:
        assert bits(grads) == before
    else:
        assert norm.clip_coef == expected.clip_coef
        same_but_for_nan(grads, expected.outputs)
