"""Where gradclip.torch differs from torch on purpose; docs/coming-from.md lists the same."""

import math
import warnings

import pytest

torch = pytest.importorskip("torch")

import gradclip.torch as gt  # noqa: E402
from gradclip.torch import _fallback  # noqa: E402

INF, NAN = math.inf, math.nan


def parameter(values, dtype=torch.float32):
    made = torch.zeros(len(values), dtype=dtype)
    made.grad = torch.tensor(values, dtype=dtype)
    return made


def test_the_norm_of_many_elements_is_right_where_torchs_is_not():
    torch.manual_seed(7)
    grad = torch.randn(20_000_000)
    true = grad.double().norm().item()
    assert gt.get_total_norm(grad).item() == pytest.approx(true, rel=1e-7)
    assert gt.get_total_norm(grad, 1.0).item() == pytest.approx(
        grad.double().norm(1).item(), rel=1e-7
    )


@pytest.mark.parametrize("norm_type", [2, -2, 3.5, -3.5])
def test_finite_gradients_do_not_overflow(norm_type):
    """torch's norm is 0 or infinite here; with error_if_nonfinite it raises for the latter."""
    ours = parameter([2e200] * 10, torch.float64)
    norm = gt.clip_grad_norm_([ours], 1, norm_type, error_if_nonfinite=True)
    assert norm.item() == pytest.approx(2e200 * 10 ** (1 / norm_type), rel=1e-12)
    assert ours.grad.norm(1).item() == pytest.approx(10 * 10 ** (-1 / norm_type), rel=1e-9)
    assert not math.isfinite(_fallback.get_total_norm([torch.tensor([2e200] * 10).double()], 2))


def test_gradients_whose_norm_no_float64_can_hold_are_clipped():
    ours = parameter([1.7e308, 1.7e308], torch.float64)
    norm = gt.clip_grad_norm_([ours], 1.0, error_if_nonfinite=True)
    assert norm.item() == INF
    assert ours.grad.tolist() == pytest.approx([0.5**0.5] * 2, rel=1e-12)


def test_a_norm_beyond_float32_comes_as_float64():
    ours, theirs = parameter([3e38, 3e38]), parameter([3e38, 3e38])
    norm = gt.clip_grad_norm_([ours], 1.0, error_if_nonfinite=True)
    assert norm.dtype == torch.float64 and norm.item() == pytest.approx(
        math.hypot(3e38, 3e38), 1e-6
    )
    assert ours.grad.tolist() == pytest.approx([0.5**0.5] * 2, rel=1e-6)
    assert _fallback.clip_grad_norm_([theirs], 1.0) == INF
    assert theirs.grad.tolist() == [0, 0]


def test_an_infinite_max_norm_never_makes_nan():
    ours, theirs = parameter([3e38, 3e38]), parameter([3e38, 3e38])
    gt.clip_grad_norm_([ours], INF)
    assert ours.grad.tolist() == theirs.grad.tolist()
    _fallback.clip_grad_norm_([theirs], INF)
    assert theirs.grad.isnan().all()
    ours.grad[0] = INF
    assert gt.clip_grad_norm_([ours], INF) == INF and ours.grad[1] > 1e38


@pytest.mark.parametrize("value", [-1.0, -INF, NAN])
def test_a_max_norm_below_0_is_an_error(value):
    ours, theirs = parameter([3.0, 4.0]), parameter([3.0, 4.0])
    on_meta = torch.zeros(2, device="meta")
    on_meta.grad = torch.zeros(2, device="meta")
    for parameters in ([ours], [on_meta], []):
        with pytest.raises(ValueError, match=r"^max_norm must be"):
            gt.clip_grad_norm_(parameters, value)
        with pytest.raises(ValueError, match=r"^max_norm must be"):
            gt.clip_grads_with_norm_(parameters, value, torch.tensor(5.0))
    with pytest.raises(ValueError, match=r"^max_norm must be"):
        gt.clip_grads_with_norm_([ours], value, torch.tensor(NAN))
    assert ours.grad.tolist() == [3, 4]
    _fallback.clip_grad_norm_([theirs], -1.0)
    assert theirs.grad[0] < 0


def test_other_arguments_out_of_range_are_errors():
    ours = parameter([3.0, 4.0])
    on_meta = torch.zeros(2, device="meta")
    on_meta.grad = torch.zeros(2, device="meta")
    for parameters in ([ours], [on_meta], []):
        with pytest.raises(ValueError, match=r"^clip_value must be"):
            gt.clip_grad_value_(parameters, -1.0)
    with pytest.raises(ValueError, match=r"^norm_type must be"):
        gt.clip_grad_norm_([ours], 1.0, NAN)
    with pytest.raises(ValueError, match=r"^total_norm must be"):
        gt.clip_grads_with_norm_([ours], 1.0, torch.tensor(-5.0))
    assert ours.grad.tolist() == [3, 4]


def test_the_same_parameter_twice_counts_and_is_scaled_once():
    weight, other = parameter([3.0]), parameter([4.0])
    assert gt.clip_grad_norm_([weight, other, weight], 2.5, eps=0) == 5
    assert weight.grad == 1.5 and other.grad == 2
    assert gt.Plan([weight, weight, other]).clip_grad_norm_(1.25, eps=0) == 2.5
    assert weight.grad == 0.75 and other.grad == 1
    tied = parameter([0.0])
    tied.grad = weight.grad  # another parameter, the same gradient
    assert gt.clip_grad_norm_([weight, tied, other], 10.0) == 1.25
    gapped = torch.arange(6.0)[::2]
    weight.grad, tied = None, torch.zeros(3)
    tied.grad = gapped
    assert gt.clip_grad_norm_([tied, tied], 1.0).item() == pytest.approx(20**0.5)
    assert gapped.norm().item() == pytest.approx(1)
    assert _fallback.get_total_norm([gapped, gapped]) == pytest.approx(2**0.5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_norm_is_never_of_half_precision(dtype):
    grads = [torch.full((100_000,), 7.0, dtype=dtype), torch.ones(1, dtype=dtype)]
    norm = gt.get_total_norm(grads)
    assert norm.dtype == torch.float32
    assert norm.item() == pytest.approx((100_000 * 49 + 1) ** 0.5, rel=1e-7)
    assert _fallback.get_total_norm(grads).dtype == dtype
    large = torch.full((10_000,), 60000.0, dtype=torch.float16)
    assert gt.get_total_norm([large]) == 6e6
    assert _fallback.get_total_norm([large]) == INF


@pytest.mark.parametrize("norm_type", [0, 1, 2, 3.5, INF, -1, -INF])
def test_empty_gradients_are_fine_for_every_order(norm_type):
    empty, weight = parameter([]), parameter([2.0])
    expected = 1 if norm_type == 0 else 2
    assert gt.clip_grad_norm_([empty, weight, empty], 10.0, norm_type) == expected
    assert gt.clip_grad_norm_([empty], 1.0, norm_type) == 0
    if norm_type in (-1, INF, -INF):
        with pytest.raises(RuntimeError, match="empty tensor"):
            _fallback.get_total_norm([empty.grad, weight.grad], norm_type)


def test_a_clip_value_beyond_the_dtype_and_no_gradients_at_all():
    """torch refuses both."""
    half = parameter([INF, 7.0], torch.float16)
    gt.clip_grad_value_([half], 1e9)
    assert half.grad[1] == 7
    gt.clip_grad_value_([], 1.0)
    gt.clip_grad_value_([torch.nn.Parameter(torch.ones(1))], 1.0)


def test_gradients_in_the_place_of_parameters_are_warned_of():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    for given in ([weight.grad], weight.grad, iter([weight.grad])):
        with pytest.warns(UserWarning, match=r"takes parameters, and was given") as caught:
            gt.clip_grads_with_norm_(given, 1.0, torch.tensor(5.0))
        assert caught[0].filename == __file__
    assert weight.grad.tolist() == [3, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frozen = torch.nn.Parameter(torch.zeros(2), requires_grad=False)
        for given in ([], [frozen], [torch.zeros(2, requires_grad=True)], [weight.grad, weight]):
            gt.clip_grads_with_norm_(given, 1.0, torch.tensor(5.0))


def test_a_total_norm_that_is_nan_makes_nan_as_in_torch():
    """No difference, though the library itself refuses it: it is what get_total_norm returns."""
    weight = parameter([3.0, NAN])
    gt.clip_grads_with_norm_([weight], 1.0, gt.get_total_norm([weight.grad]))
    assert weight.grad.isnan().all()
