"""defer_clip: what clip_grad_norm_ would do, without the write; and exact sums of float64."""

import math

import numpy as np
import pytest

import gradclip


def gradients(rng):
    return [np.array([rng.gauss(0, 3) for _ in range(n)], "f4") for n in (5, 1, 64, 0, 17)]


@pytest.mark.parametrize("grad_scale", [1.0, 1024.0])
@pytest.mark.parametrize("max_norm", [0.0, 1.0, 1e6, math.inf])
def test_says_what_clipping_would_multiply_by(rng, max_norm, grad_scale):
    grads = gradients(rng)
    before = [g.tobytes() for g in grads]
    for grad in grads:
        grad.flags.writeable = False
    deferred = gradclip.defer_clip(grads, max_norm, grad_scale=grad_scale, tensor_norms=True)
    assert [g.tobytes() for g in grads] == before
    for grad in grads:
        grad.flags.writeable = True
    with gradclip.Plan(grads) as plan:
        by_plan = plan.defer_clip(max_norm, grad_scale=grad_scale)
    clipped = gradclip.clip_grad_norm_(grads, max_norm, grad_scale=grad_scale, tensor_norms=True)
    for norm in (deferred, by_plan):
        assert norm == clipped and norm.factor == clipped.factor
        assert norm.clip_coef == clipped.clip_coef and norm.clipped == clipped.clipped
    assert deferred.tensor_norms == clipped.tensor_norms
    assert clipped.factor == clipped.clip_coef / grad_scale
    multiplied = [np.frombuffer(old, "f4") * np.float32(deferred.factor) for old in before]
    assert [g.tobytes() for g in multiplied] == [g.tobytes() for g in grads]


def test_what_is_not_finite():
    grads = {"w": np.array([3.0, math.nan, 4.0])}
    norm = gradclip.defer_clip(grads, 1.0)
    assert (norm.clip_coef, norm.factor, norm.clipped) == (1.0, 1.0, False)
    assert (norm.nonfinite.name, norm.nonfinite.index) == ("w", (1,))
    norm = gradclip.defer_clip(grads, 1.0, nonfinite="zero", eps=0)
    assert (norm, norm.factor) == (5.0, 0.2)
    assert math.isnan(gradclip.defer_clip(grads, 1.0, nonfinite="propagate").factor)
    with pytest.raises(gradclip.NonFiniteGradientError, match="'w'"):
        gradclip.defer_clip(grads, 1.0, error_if_nonfinite=True)
    with pytest.raises(gradclip.InvalidArgumentError, match=r"max_norm .*-1"):
        gradclip.defer_clip(grads, -1.0)


def test_exact_sums_of_float64_do_not_depend_on_the_order(rng):
    grad = np.array([rng.uniform(1, 2) * 10.0 ** rng.uniform(-9, 9) for _ in range(3000)])
    calls = (
        lambda g: gradclip.get_total_norm([g], exact_f64=True),
        lambda g: gradclip.defer_clip([g], 1.0, exact_f64=True),
        lambda g: gradclip.clip_grad_norm([g], 1.0, exact_f64=True)[1],
        lambda g: gradclip.Plan([g]).get_total_norm(exact_f64=True),
        lambda g: gradclip.clip_grad_norm_([g.copy()], 1.0, exact_f64=True),
    )
    norms = set()
    for _ in range(20):
        rng.shuffle(grad)
        for call in calls:
            norms.add(call(grad).hex())
    assert len(norms) == 1


@pytest.mark.parametrize("norm_type", [1.0, 2.0])
@pytest.mark.parametrize(
    "values",
    [
        [1e200, 1e-200],
        [1.0, 2.0**-53, 5e-324],
        [2.0**53 + 2, 0.5, 0.5, 2.0**-1074],
        # Without exact_f64 the library is one unit off for these, p = 2.
        [0.23853293863569563, 9.049775284154851e-08],
        [14.717296262334568, 3.2863256396922636e-06],
        [0.0045015670065277, 0.0005487914078181683],
    ],
)
def test_exact_sums_are_rounded_correctly(values, norm_type):
    import clip as oracle
    import formats

    tensor = oracle.Tensor(formats.F64, [formats.bits_of(x) for x in values])
    expected = oracle.clip_grad_norm([tensor], 1.0, norm_type).total_norm
    found = gradclip.get_total_norm([np.array(values)], norm_type, exact_f64=True)
    assert found == expected
