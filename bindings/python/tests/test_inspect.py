"""inspect: the numbers are NumPy's and the oracle's, and the text says first what is wrong."""

import math
import pickle
import sys
from array import array

import clip as oracle
import formats
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradclip

DTYPES = {
    formats.F32: np.dtype("f4"),
    formats.F64: np.dtype("f8"),
    formats.F16: np.dtype("f2"),
    formats.BF16: np.dtype(ml_dtypes.bfloat16),
}


def tensors():
    def of(fmt):
        one = fmt.inf & ~(fmt.inf >> 1)
        near_one = st.integers(one - 4 * fmt.min_normal, one + 4 * fmt.min_normal)
        anything = st.integers(0, (1 << fmt.width) - 1)
        special = st.sampled_from([0, fmt.sign_bit, fmt.inf, fmt.sign_bit | fmt.inf, fmt.nan, 1])
        elements = st.lists(st.one_of(near_one, anything, special), max_size=40)
        return st.builds(oracle.Tensor, st.just(fmt), elements)

    return st.lists(st.sampled_from(list(DTYPES)).flatmap(of), max_size=6)


def array_of(tensor):
    return np.array(tensor.elements, f"u{tensor.fmt.width // 8}").view(DTYPES[tensor.fmt])


@settings(max_examples=300, deadline=None)
# (A signalling NaN of bfloat16 makes NumPy warn when the test itself converts it.)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@given(tensors(), st.sampled_from([1.0, 2.0, math.inf]), st.sampled_from([1.0, 1024.0]))
def test_numbers_are_those_of_numpy_and_the_oracle(given_tensors, norm_type, grad_scale):
    grads = [array_of(tensor) for tensor in given_tensors]
    reports = gradclip.inspect(grads, norm_type=norm_type, grad_scale=grad_scale)
    expected = oracle.clip_grad_norm(
        given_tensors, 1.0, norm_type, grad_scale=grad_scale, policy=oracle.ZERO
    )
    assert len(reports) == len(grads)
    ulp = 2 * any(tensor.fmt is formats.F64 for tensor in given_tensors)
    close(reports.total_norm, expected.total_norm, ulp)
    assert reports.nonfinite.count == expected.nonfinite_count
    assert reports.nonfinite.nan_count == expected.nan_count
    for report, grad, tensor, norm in zip(reports, grads, given_tensors, expected.tensor_norms):
        wide = grad.astype(np.longdouble)
        finite = wide[np.isfinite(wide)]
        assert (report.length, report.shape) == (grad.size, grad.shape)
        assert report.dtype == grad.dtype.name
        assert report.nan_count == np.isnan(wide).sum()
        assert report.positive_infinity_count == (wide == math.inf).sum()
        assert report.negative_infinity_count == (wide == -math.inf).sum()
        assert report.zero_count == (wide == 0).sum()
        magnitudes = [bits & ~tensor.fmt.sign_bit for bits in tensor.elements]
        subnormal = sum(0 < bits < tensor.fmt.min_normal for bits in magnitudes)
        assert report.subnormal_count == subnormal
        bad = np.flatnonzero(~np.isfinite(wide))
        assert report.first_nonfinite == (bad[0] if bad.size else None)
        assert report.index == ((bad[0],) if bad.size else None)
        assert report.max_abs == float(abs(finite).max(initial=0) / grad_scale)
        mean = finite.mean() / grad_scale if finite.size else 0
        size = abs(finite).mean() / grad_scale if finite.size else 0
        assert abs(report.mean - mean) <= size * 2.0**-50 + 2.0**-1060
        close(report.norm, norm, 2 * (tensor.fmt is formats.F64))


def close(found, expected, ulps):
    if math.isinf(expected):
        assert found == expected
    else:
        assert abs(found - expected) <= ulps * math.ulp(expected), (found, expected)


@settings(max_examples=200, deadline=None)
@given(tensors(), st.sampled_from([0.5, 1.0, 2.0, 3.0, 100.0, math.inf]))
def test_shares(given_tensors, norm_type):
    reports = gradclip.inspect([array_of(t) for t in given_tensors], norm_type=norm_type)
    assert all(0 <= report.share <= 1 for report in reports)
    largest = max((report.norm for report in reports), default=0.0)
    if not largest:
        assert all(report.share == 0 for report in reports)
    elif norm_type == math.inf:
        assert [report.share for report in reports] == [r.norm / largest for r in reports]
    else:
        assert math.fsum(report.share for report in reports) == pytest.approx(1)
        if math.isfinite(largest):
            powers = [(np.longdouble(r.norm) / largest) ** norm_type for r in reports]
            for report, power in zip(reports, powers):
                assert report.share == pytest.approx(float(power / sum(powers)), rel=1e-9)


def test_shares_where_no_float64_holds_the_norm():
    reports = gradclip.inspect([np.full(8, 1e308), np.full(24, 1e308), np.ones(1)], norm_type=1.0)
    assert reports.total_norm == math.inf and reports[0].norm == math.inf
    assert [r.share for r in reports[:2]] == pytest.approx([0.25, 0.75])
    assert reports[2].share < 1e-300 and reports[0].mean == 1e308


@pytest.mark.parametrize(
    ("norm_type", "shares"),
    [(0.0, [0.5, 0.5, 0, 0]), (-1.0, [0, 0, 1, 0]), (-math.inf, [0, 0, 1, 0])],
)
def test_shares_of_other_orders(norm_type, shares):
    grads = [np.ones(3), np.ones(1), np.zeros(2), np.ones(0)]
    assert [r.share for r in gradclip.inspect(grads, norm_type=norm_type)] == shares
    grads = [np.array([2.0]), np.array([4.0])]
    shares = {0.0: [0.5, 0.5], -1.0: [2 / 3, 1 / 3], -math.inf: [1.0, 0.5]}[norm_type]
    assert [r.share for r in gradclip.inspect(grads, norm_type=norm_type)] == pytest.approx(shares)


# ------------------------------------------------------------ what it is given --


def test_nested_named_none_repeated_and_read_only():
    weight = np.arange(6, dtype="f4").reshape(2, 3)
    weight.flags.writeable = False
    reports = gradclip.inspect({"a": {"w": weight, "none": None}, "b": [weight, array("d", [2.0])]})
    assert [r.name for r in reports] == ["a.w", "a.none", "b.0", "b.1"]
    assert [r.tensor for r in reports] == [0, 1, 2, 3]
    assert [r.dtype for r in reports] == ["float32", None, "float32", "float64"]
    assert reports[1].shape is None and reports[1].length == 0 and reports[1].norm == 0
    assert reports[0].norm == reports[2].norm == math.sqrt(55)
    assert reports[0].share == reports[2].share == pytest.approx(55 / 59)
    assert reports.total_norm == math.sqrt(59)  # the same memory counts once
    assert gradclip.inspect([weight], names=["x"])[0].name == "x"
    assert gradclip.inspect(weight)[0].name is None


@pytest.mark.parametrize("order", ["C", "F"])
def test_index_is_that_of_the_array(order):
    grad = np.zeros((3, 4, 5), order=order)
    grad[1, 2, 3] = math.nan
    (report,) = gradclip.inspect([grad])
    assert report.index == (1, 2, 3)
    assert math.isnan(grad.ravel()[report.first_nonfinite])
    (report,) = gradclip.inspect([grad[::-1]])
    assert report.index == (1, 2, 3)


def test_nothing_is_written(rng):
    grad = np.array([rng.gauss(0, 1), math.nan, 0.0])
    before = grad.tobytes()
    gradclip.inspect([grad])
    assert grad.tobytes() == before


def test_a_plan_inspects_too():
    grads = {"w": np.array([3.0, math.nan]), "b": np.array([8.0])}
    with gradclip.Plan(grads) as plan:
        reports = plan.inspect(grad_scale=2.0)
        assert list(reports) == list(gradclip.inspect(grads, grad_scale=2.0))
        grads["w"][1] = 4.0
        assert plan.inspect(norm_type=1.0)[0].norm == 7.0
    with pytest.raises(ValueError, match="closed"):
        plan.inspect()


def test_arguments_are_checked():
    grads = [np.ones(2)]
    with pytest.raises(ValueError, match="norm_type"):
        gradclip.inspect(grads, norm_type=math.nan)
    with pytest.raises(ValueError, match="grad_scale"):
        gradclip.inspect(grads, grad_scale=0.0)
    with pytest.raises(TypeError, match="norm_type"):
        gradclip.inspect(grads, norm_type="2")
    with pytest.raises(ValueError, match="names"):
        gradclip.inspect(grads, names=["a", "b"])


# -------------------------------------------------------------- what it returns --


def test_reports_are_a_sequence_of_records():
    reports = gradclip.inspect([np.ones(1), np.ones(4), np.zeros(1)])
    assert isinstance(reports, gradclip.Inspection)
    assert all(type(report) is gradclip.Report for report in reports)
    assert [r.norm for r in reports] == [1.0, 2.0, 0.0]
    assert reports[-1].tensor == 2 and len(reports[:2]) == 2
    assert max(reports, key=lambda r: r.norm).tensor == 1
    assert not hasattr(reports[0], "__dict__")
    with pytest.raises(AttributeError):
        reports[0].norm = 3.0
    assert pickle.loads(pickle.dumps(reports[1])) == reports[1] != reports[0]
    assert len({*reports, *reports}) == 3
    assert str(pickle.loads(pickle.dumps(reports))) == str(reports)
    assert repr(reports) == (
        f"<gradclip.Inspection of 3 gradients, total_norm {math.sqrt(5)!r}, 0 elements not finite>"
    )
    with pytest.raises(AttributeError, match="Nothing"):
        gradclip.Nothing  # noqa: B018


def text(grads, **arguments):
    return str(gradclip.inspect(grads, **arguments)).splitlines()


def test_says_first_what_is_not_finite():
    grads = {"w": np.ones((2, 3)), "v": np.ones((2, 3)), "u": np.array([math.inf, -math.inf])}
    grads["v"][1, 0] = grads["v"][1, 2] = math.nan
    lines = text(grads)
    assert lines[:3] == [
        "'v' (gradient 1) is not finite: 2 NaN; the first is element 3, index (1, 0)",
        "'u' (gradient 2) is not finite: 1 +inf, 1 -inf; the first is element 0, index (0,)",
        "total_norm 3.16228, norm_type 2, 3 gradients, 14 elements",
    ]
    assert lines[3].split()[-3:] == ["NaN", "+inf", "-inf"]
    many = text([np.array([math.nan]) for _ in range(31)])
    assert many[10] == "... and 21 more gradients are not finite"
    assert many[11].startswith("total_norm 0,")


def test_says_what_is_zero():
    assert text([np.zeros(2), np.zeros(3), None])[0] == "all 2 gradients are zero"
    assert text([np.zeros(2)])[0] == "gradient 0 is all zero"
    assert text({"a": np.zeros(2), "b": np.ones(1), "c": np.zeros(1), "d": np.ones(0)})[0] == (
        "'a' (gradient 0), 'c' (gradient 2) are all zero"
    )
    lines = text([np.ones(1)] + [np.zeros(1) for _ in range(15)])
    assert lines[0].endswith("gradient 10 and 5 more are all zero")
    assert text([]) == [
        "total_norm 0, norm_type 2, 0 gradients, 0 elements",
        "gradient  shape  dtype  share  norm  max_abs  mean",
    ]


def test_says_who_dominates():
    grads = [np.array([100.0]), np.array([10.0]), np.array([1.0])]
    assert text(grads)[0] == "gradient 0 makes up 99.0% of the norm"
    assert text(grads, norm_type=1.0)[0] == "gradient 0 makes up 90.1% of the norm"
    grads[2][0] = 2.0  # 89.3 % by that
    assert text(grads, norm_type=1.0)[0].startswith("total_norm")
    assert text(grads[:2])[0].startswith("total_norm")  # of two one is always the larger
    balanced = [np.array([2.0]), np.array([1.0]), np.array([1.0])]
    assert gradclip.inspect(balanced).problems == []
    assert gradclip.inspect(balanced, norm_type=math.inf).problems == []


def test_says_what_is_subnormal():
    grads = [np.full(8, 1e-6, "f2"), np.ones(8, "f2")]
    assert text(grads)[0] == "gradient 0 has mostly subnormal elements: digits are lost"
    grads[0][:] = 1e-3
    assert gradclip.inspect(grads).problems == []


def test_the_table_is_sorted_by_share():
    grads = {"b": np.full(4, 0.5), "big": np.ones((2, 2)), "none": None, "z": np.zeros(1)}
    lines = text(grads)
    assert lines[0] == "'z' (gradient 3) is all zero"
    assert lines[1] == "total_norm 2.23607, norm_type 2, 4 gradients, 1 of them None, 9 elements"
    assert lines[2].split() == "gradient shape dtype share norm max_abs mean zeros".split()
    assert lines[3].split() == "big (2, 2) float64 80% 2 1 1 0".split()
    assert lines[4].split() == "b (4,) float64 20% 1 0.5 0.5 0".split()
    assert lines[5].split() == "none None 0% 0 0 0 0".split()
    assert lines[6].split() == "z (1,) float64 0% 0 0 0 1".split()
    ends = {len(line) for line in lines[2:]}
    assert len(ends) == 1  # right-aligned numbers
    reports = gradclip.inspect([np.full(1, float(i)) for i in range(1, 100)])
    assert len(reports.table().splitlines()) == 100
    short = reports.table(2).splitlines()
    assert [line.split()[0] for line in short[1:3]] == ["98", "97"]
    assert short[3:] == ["... and 97 more"]
    assert str(reports).splitlines()[-1] == "... and 59 more"


def test_is_loaded_when_first_used(python):
    code = (
        "import sys, gradclip; assert 'dataclasses' not in sys.modules; "
        "gradclip.inspect(memoryview(bytearray(8)).cast('d')); "
        "assert 'numpy' not in sys.modules and gradclip.Report.__module__ == 'gradclip'"
    )
    python("-c", code)
    assert sys.modules["gradclip"].inspect.__module__.startswith("gradclip")
