"""The behaviour that torch's own tests hold torch's functions to, held by ours in their place.

Those tests are test_clip_grad_norm, test_clip_grad_norm_error_if_nonfinite and test_clip_grad_value
of torch's test/test_nn.py, which its packages do not carry. The orders, flags and cases here are
theirs; what is to come out is torch's own result, or worked out here.
"""

import math
import warnings

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch  # noqa: E402
from gradclip.torch import _fallback  # noqa: E402

INF, NAN = math.inf, math.nan


@pytest.fixture(autouse=True)
def patched():
    with gradclip.torch.patch():
        assert torch.nn.utils.clip_grad_norm_ is gradclip.torch.clip_grad_norm_
        yield


def linear(weight, bias):
    layer = torch.nn.Linear(10, 10)
    for parameter, grad in zip(layer.parameters(), (weight, bias)):
        parameter.grad = None if grad is None else grad.clone().view_as(parameter)
    return layer


def norm_of(layer, norm_type):
    values = torch.cat([p.grad.flatten() for p in layer.parameters()]).double().abs()
    if norm_type == "inf":
        return values.max().item()
    return values.pow(norm_type).sum().pow(1 / norm_type).item()


def scales(layer, before):
    return torch.cat(
        [(p.grad / g.view_as(p)).flatten() for p, g in zip(layer.parameters(), before)]
    )


def by_one_call(layer, max_norm, norm_type, foreach):
    return torch.nn.utils.clip_grad_norm_(layer.parameters(), max_norm, norm_type, foreach=foreach)


def by_two_calls(layer, max_norm, norm_type, foreach):
    grads = [p.grad for p in layer.parameters()]
    norm = torch.nn.utils.get_total_norm(grads, norm_type, foreach=foreach)
    torch.nn.utils.clip_grads_with_norm_(layer.parameters(), max_norm, norm, foreach)
    return norm


@pytest.mark.parametrize("clip", [by_one_call, by_two_calls])
@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize("norm_type", [0.5, 1.5, 2, 4, "inf"])
def test_large_gradients_are_scaled_by_one_factor_to_max_norm(norm_type, foreach, clip):
    before = torch.arange(1.0, 101).view(10, 10), torch.full((10,), 1e-3)
    layer = linear(*before)
    expected = norm_of(layer, norm_type)
    norm = clip(layer, 2, norm_type, foreach)
    assert norm.dtype == torch.float32 and norm.shape == () and not norm.requires_grad
    assert norm.item() == pytest.approx(expected, rel=1e-6)
    assert norm_of(layer, norm_type) == pytest.approx(2, rel=1e-5)
    torch.testing.assert_close(scales(layer, before).std().item(), 0.0, atol=1e-7, rtol=0)


@pytest.mark.parametrize("clip", [by_one_call, by_two_calls])
@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize("norm_type", [0.5, 1.5, 2, 4, "inf"])
def test_small_gradients_are_left_as_they_are(norm_type, foreach, clip):
    torch.manual_seed(1)
    before = torch.rand(10, 10) / 10_000, torch.full((10,), 1 / 500)
    layer = linear(*before)
    expected = norm_of(layer, norm_type)
    assert clip(layer, 2, norm_type, foreach).item() == pytest.approx(expected, rel=1e-6)
    assert (scales(layer, before) == 1).all()


def test_a_single_tensor_is_a_list_of_one():
    grad = torch.arange(-50.0, 50).view(10, 10) / 5
    for clip in (
        lambda p: torch.nn.utils.clip_grad_norm_(p, 1.0),
        lambda p: torch.nn.utils.clip_grad_value_(p, 2.5),
        lambda p: torch.nn.utils.clip_grads_with_norm_(p, 1.0, torch.tensor(7.0)),
    ):
        alone, listed = torch.randn(10, 10), torch.randn(10, 10)  # tensors with a gradient will do
        alone.grad, listed.grad = grad.clone(), grad.clone()
        assert clip(alone) == clip([listed])
        assert torch.equal(alone.grad, listed.grad) and not torch.equal(alone.grad, grad)
    assert torch.nn.utils.get_total_norm(grad) == torch.nn.utils.get_total_norm([grad])


def test_a_used_up_generator_is_warned_of_and_nothing_else():
    layer = torch.nn.Linear(2, 2)
    parameters = layer.parameters()
    list(parameters)
    with pytest.warns(UserWarning, match="`parameters` is an empty generator") as caught:
        assert torch.nn.utils.clip_grad_norm_(parameters, 1.0) == 0
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.nn.utils.clip_grad_norm_([], 1.0) == 0
        assert torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0) == 0
        layer(torch.ones(2)).sum().backward()
        assert torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0) > 1


# ---------------------------------------------------------------- error_if_nonfinite --

POSITIVE = [0.1, 1, 2, 3.5, INF]
NEGATIVE = [-0.1, -1, -2, -3.5, -INF]


def parameters_with(value, only_one_element, finite_first):
    """Ten gradients of value in double precision (or one and nine zeros), maybe after a 1."""
    weight = torch.ones(10, dtype=torch.float64, requires_grad=True)
    (weight[1] if only_one_element else weight).mul(value).sum().backward()
    first = torch.ones(1, dtype=torch.float64, requires_grad=True)
    first.mul(1).sum().backward()
    return [first, weight] if finite_first else [weight]


@pytest.mark.parametrize("norm_type", [*POSITIVE, *NEGATIVE, 0])
@pytest.mark.parametrize("finite_first", [False, True])
@pytest.mark.parametrize("only_one_element", [False, True])
@pytest.mark.parametrize("value", [INF, -INF, NAN, 2e22, -2e22])
def test_error_if_nonfinite_raises_exactly_when_torch_does(
    value, only_one_element, finite_first, norm_type
):
    theirs = parameters_with(value, only_one_element, finite_first)
    try:
        expected = _fallback.clip_grad_norm_(theirs, 1, norm_type, error_if_nonfinite=True)
    except RuntimeError as error:
        expected = error
    ours = parameters_with(value, only_one_element, finite_first)
    before = [p.grad.clone() for p in ours]
    if isinstance(expected, RuntimeError):
        text = f"The total norm of order {float(norm_type)} for gradients"
        assert text in str(expected)
        with pytest.raises(RuntimeError, match=text):
            torch.nn.utils.clip_grad_norm_(ours, 1, norm_type, error_if_nonfinite=True)
        with pytest.raises(RuntimeError, match=text):
            torch.nn.utils.get_total_norm(before, norm_type, error_if_nonfinite=True)
        for p, grad in zip(ours, before):
            torch.testing.assert_close(p.grad, grad, rtol=0, atol=0, equal_nan=True)
    else:
        norm = torch.nn.utils.clip_grad_norm_(ours, 1, norm_type, error_if_nonfinite=True)
        torch.testing.assert_close(norm, expected)
        for p, q in zip(ours, theirs):
            torch.testing.assert_close(p.grad, q.grad, equal_nan=True)


@pytest.mark.parametrize("norm_type", [*POSITIVE, *NEGATIVE, 0])
@pytest.mark.parametrize("only_one_element", [False, True])
@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_without_it_non_finite_gradients_become_what_they_become_in_torch(
    value, only_one_element, norm_type
):
    theirs = parameters_with(value, only_one_element, True)
    ours = parameters_with(value, only_one_element, True)
    expected = _fallback.clip_grad_norm_(theirs, 0.5, norm_type)
    norm = torch.nn.utils.clip_grad_norm_(ours, 0.5, norm_type)
    torch.testing.assert_close(norm, expected, equal_nan=True)
    for p, q in zip(ours, theirs):
        torch.testing.assert_close(p.grad, q.grad, equal_nan=True)


def test_the_error_names_the_parameter():
    layer = linear(torch.ones(10, 10), torch.ones(10))
    layer.bias.grad[3] = NAN
    names = [name for name, _ in layer.named_parameters()]
    with pytest.raises(gradclip.NonFiniteGradientError) as caught:
        gradclip.torch.clip_grad_norm_(
            layer.parameters(), 1.0, error_if_nonfinite=True, names=names
        )
    assert "element 3, index (3,), of 'bias' (parameter 1); nothing was written" in str(
        caught.value
    )
    found = caught.value.nonfinite
    assert (found.tensor, found.name, found.element, found.nan_count) == (1, "bias", 3, 1)
    with pytest.raises(gradclip.NonFiniteGradientError, match=r"of parameter 2; nothing"):
        gradclip.torch.clip_grad_norm_(
            [torch.nn.Parameter(torch.ones(1)), layer.weight, layer.bias], 1, 2, True
        )


# ---------------------------------------------------------------------- by value --


@pytest.mark.parametrize("foreach", [None, False, True])
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_are_clamped(foreach, with_bias):
    weight = torch.arange(-50.0, 50).view(10, 10) / 5
    layer = linear(weight, torch.full((10,), 2.0) if with_bias else None)
    assert torch.nn.utils.clip_grad_value_(layer.parameters(), 2.5, foreach=foreach) is None
    assert torch.equal(layer.weight.grad, weight.clamp(-2.5, 2.5))
    if with_bias:
        assert (layer.bias.grad == 2).all()
    else:
        assert layer.bias.grad is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_values_are_clamped_as_torch_does_in_every_dtype(dtype):
    torch.manual_seed(2)
    values = torch.tensor([INF, -INF, NAN, 0.0, -0.0, 0.3, -0.30001, 70000.0]).to(dtype)
    ours, theirs = torch.zeros(8, dtype=dtype), torch.zeros(8, dtype=dtype)
    for limit in (0.3, 1e-5, 0.0, INF):
        ours.grad, theirs.grad = values.clone(), values.clone()
        gradclip.torch.clip_grad_value_(iter([ours]), limit)
        _fallback.clip_grad_value_([theirs], limit)
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0, equal_nan=True)
