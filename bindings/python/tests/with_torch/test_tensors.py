"""Which tensors are clipped by the library, and that they come out right."""

import math

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402
from gradclip.torch import _fallback  # noqa: E402

INF = math.inf


@pytest.fixture
def no_torch(monkeypatch):
    """torch's own functions must not be called."""

    def refuse(*arguments, **options):
        raise AssertionError("handed to torch's own function")

    for name in ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"):
        monkeypatch.setattr(_fallback, name, refuse)


def parameter(grad):
    made = torch.zeros_like(grad).requires_grad_()
    made.grad = grad
    return made


FORMATS = {
    "contiguous": lambda: torch.randn(4, 6, 3, 5),
    "channels last": lambda: torch.randn(4, 6, 3, 5).to(memory_format=torch.channels_last),
    "transposed": lambda: torch.randn(6, 4).t(),
    "permuted": lambda: torch.randn(2, 3, 4, 5).permute(2, 0, 3, 1),
    "offset": lambda: torch.randn(100)[7:70],
    "0-dim": lambda: torch.tensor(-3.5),
    "0-dim of a vector": lambda: torch.randn(9)[4],
    "empty": lambda: torch.randn(0, 3),
    "extent 1": lambda: torch.randn(3, 1, 2)[:, :, :1].transpose(0, 1),
    "every second": lambda: torch.randn(40)[::2],
    "a column": lambda: torch.randn(7, 9)[:, 2],
    "a window": lambda: torch.randn(8, 8)[2:5, 3:7],
    "a permuted window": lambda: torch.randn(4, 8, 8)[:, 1:4, ::3].permute(2, 1, 0),
    "real part": lambda: torch.randn(11, dtype=torch.complex64).real,
    "negative bit": lambda: torch.randn(11, dtype=torch.complex64).conj().imag,
}


@pytest.mark.parametrize("name", FORMATS)
def test_any_memory_format(name, no_torch):
    torch.manual_seed(3)
    grad = FORMATS[name]()
    base = grad._base if grad._base is not None else grad
    untouched = base.clone()
    expected = grad.clone().double()
    other = torch.randn(5)
    norm = math.hypot(expected.norm().item(), other.double().norm().item())
    weight, bias = parameter(grad), parameter(other.clone())
    assert gt.get_total_norm([grad, other]).item() == pytest.approx(norm, rel=1e-7)
    assert gt.clip_grad_norm_([weight, bias], INF).item() == pytest.approx(norm, rel=1e-7)
    assert torch.equal(base, untouched)
    assert gt.clip_grad_norm_([weight, bias], 0.5).item() == pytest.approx(norm, rel=1e-7)
    torch.testing.assert_close(grad.double(), expected * (0.5 / norm), rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(bias.grad, other * (0.5 / norm))
    gt.clip_grads_with_norm_(weight, 1.0, torch.tensor(2.0))
    torch.testing.assert_close(grad.double(), expected * (0.25 / norm), rtol=1e-5, atol=1e-12)
    gt.clip_grad_value_([weight], 0.01)
    torch.testing.assert_close(
        grad.double(), (expected * (0.25 / norm)).clamp(-0.01, 0.01), rtol=1e-5, atol=1e-12
    )
    # What lies between the elements of a view is not touched.
    if base.is_complex():
        other_half = "imag" if name == "real part" else "real"
        assert torch.equal(getattr(base, other_half), getattr(untouched, other_half))
    else:
        inside = torch.zeros_like(base, dtype=torch.bool)
        inside.as_strided(grad.shape, grad.stride(), grad.storage_offset()).fill_(True)
        assert torch.equal(base[~inside], untouched[~inside])


@pytest.mark.parametrize("name", ["channels last", "permuted", "a permuted window", "transposed"])
def test_a_nan_is_found_at_its_index_in_any_format(name, no_torch):
    grad = FORMATS[name]()
    index = tuple(extent - 1 - axis % 2 for axis, extent in enumerate(grad.shape))
    grad[index] = math.nan
    with pytest.raises(gradclip.NonFiniteGradientError) as caught:
        gt.clip_grad_norm_([parameter(grad)], 1.0, error_if_nonfinite=True)
    found = caught.value.nonfinite
    assert found.index == index and grad.flatten()[found.element].isnan()


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_gradients_of_order_2(dtype, no_torch):
    torch.manual_seed(4)
    grad = torch.randn(3, 5, dtype=dtype)
    twin = grad.clone()
    for conjugated in (False, True):
        view = grad.conj() if conjugated else grad
        norm = gt.clip_grad_norm_([parameter(view)], 0.5, error_if_nonfinite=True)
        assert norm.dtype == (torch.float64 if dtype == torch.complex128 else torch.float32)
        expected = torch.linalg.vector_norm(twin.to(torch.complex128))
        torch.testing.assert_close(norm.double(), expected, rtol=1e-6, atol=0)
        twin *= 0.5 / (expected + 1e-6)
        torch.testing.assert_close(grad, twin)
    grad[2, 1] = complex(1, INF)
    with pytest.raises(RuntimeError, match=r"element 11, index \(2, 1\)"):
        gt.clip_grad_norm_([parameter(grad)], 0.5, error_if_nonfinite=True)


def test_complex_gradients_with_gaps(no_torch):
    whole = torch.randn(6, 4, dtype=torch.complex64)
    before, grad = whole.clone(), whole[::2, 1::2]
    gt.clip_grads_with_norm_([parameter(grad)], 1.0, 2.0, eps=0)
    torch.testing.assert_close(grad, before[::2, 1::2] * 0.5)
    assert torch.equal(whole[1::2], before[1::2]) and torch.equal(whole[:, ::2], before[:, ::2])


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["float32"], "float32"),
        (["float16"], "float32"),
        (["bfloat16", "float16"], "float32"),
        (["float64"], "float64"),
        (["float32", "bfloat16", "float64", "float16"], "float64"),
    ],
)
def test_mixed_dtypes_and_the_dtype_of_the_norm(dtypes, expected, no_torch):
    torch.manual_seed(5)
    grads = [torch.randn(20).to(getattr(torch, name)) for name in dtypes]
    wide = torch.cat([grad.double() for grad in grads])
    norm = gt.clip_grad_norm_([parameter(grad) for grad in grads], 1.0)
    assert norm.dtype == getattr(torch, expected)
    assert norm.item() == pytest.approx(wide.norm().item(), rel=1e-7)
    clipped = torch.cat([grad.double() for grad in grads])
    torch.testing.assert_close(clipped, wide / wide.norm(), rtol=1e-2, atol=1e-3)


def test_none_gradients_and_no_gradients(no_torch):
    frozen, weight = torch.nn.Parameter(torch.ones(2)), parameter(torch.tensor([3.0, 4.0]))
    assert gt.clip_grad_norm_([frozen, weight, frozen], 1.0) == 5
    weight.grad[1] = math.nan
    with pytest.raises(RuntimeError, match="parameter 2;"):
        gt.clip_grad_norm_([frozen, frozen, weight, frozen], 1.0, error_if_nonfinite=True)
    for none in ([], [frozen], iter([frozen])):
        norm = gt.clip_grad_norm_(none, 1.0)
        assert norm == 0 and norm.dtype == torch.float32
    assert gt.get_total_norm([]) == 0
    gt.clip_grad_value_([frozen], 1.0)
    gt.clip_grads_with_norm_([frozen], 1.0, torch.tensor(2.0))
    assert frozen.grad is None


def test_more_gradients_than_one_portion_with_none_among_them(no_torch):
    torch.manual_seed(6)
    parameters = [torch.nn.Parameter(torch.zeros(3)) for _ in range(1000)]
    for i, p in enumerate(parameters):
        p.grad = None if i % 7 == 5 or 300 < i < 600 else torch.randn(3)
    kept = torch.cat([p.grad for p in parameters if p.grad is not None]).double()
    assert gt.clip_grad_norm_(parameters, 1.0).item() == pytest.approx(kept.norm().item(), rel=1e-7)
    clipped = torch.cat([p.grad for p in parameters if p.grad is not None]).double()
    torch.testing.assert_close(clipped, kept / kept.norm(), rtol=1e-5, atol=1e-9)
    parameters[800].grad[1] = INF
    with pytest.raises(RuntimeError, match="of parameter 800;"):
        gt.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_norm_is_on_the_gradients_device_not_the_default_one(device, no_torch):
    weight = parameter(torch.tensor([3.0, 4.0]))
    with torch.device(device):
        norm = gt.clip_grad_norm_([weight], 1.0)
        assert norm.device.type == "cpu" and norm == 5
        gt.clip_grad_norm_([parameter(torch.randn(10, device="cpu")[::2])], 1.0)


def test_autograd_sees_that_gradients_were_written(no_torch):
    """A backward pass through a gradient that was changed must raise, as with torch."""

    def second_backward(clip, max_norm):
        x = torch.tensor([3.0, 4.0], requires_grad=True)
        (x.grad,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
        y = (x.grad**2).sum()
        clip([x], max_norm)
        y.backward()

    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        second_backward(gt.clip_grad_norm_, 1.0)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        second_backward(gt.clip_grad_value_, 1.0)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        second_backward(lambda p, m: gt.clip_grads_with_norm_(p, m, 2.0), 1.0)
    second_backward(gt.clip_grad_norm_, 1e9)  # nothing was clipped, and nothing written


def test_gradients_that_require_grad_and_inference_tensors(no_torch):
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    (x.grad,) = torch.autograd.grad((x * x).sum(), x, create_graph=True)
    assert gt.clip_grad_norm_([x], 1.0) == 10 and not gt.clip_grad_norm_([x], 1.0).requires_grad
    with torch.inference_mode():
        assert gt.clip_grad_norm_([parameter(torch.tensor([3.0, 4.0]))], 1.0) == 5


def test_nothing_is_written_where_nothing_is_to_be_clipped(no_torch):
    grad = torch.tensor([3.0, 4.0])
    version = grad._version
    gt.clip_grad_norm_([parameter(grad)], INF)
    gt.clip_grad_norm_([parameter(grad)], 5.1)
    gt.get_total_norm(grad)
    gt.clip_grads_with_norm_([parameter(grad)], 5.1, torch.tensor(5.0))
    assert grad._version == version


def test_other_conventions(no_torch):
    weight = parameter(torch.tensor([3.0, 4.0, math.nan]))
    assert gt.clip_grad_norm_([weight], 2.5, eps=0, nonfinite="leave").isnan()
    assert weight.grad[:2].tolist() == [3, 4]
    assert gt.get_total_norm([weight.grad], nonfinite="zero") == 5
    assert gt.clip_grad_norm_([weight], 2.5, eps=0, nonfinite="zero") == 5
    assert weight.grad.tolist() == [1.5, 2, 0]
    assert gt.clip_grad_norm_([weight], 1.25, eps=0, grad_scale=0.5) == 5
    assert weight.grad.tolist() == [0.75, 1, 0]
    weight.grad[0] = INF
    gt.clip_grads_with_norm_([weight], 1.0, torch.tensor(INF), nonfinite="leave")
    assert weight.grad[1] == 1
    gt.clip_grads_with_norm_([weight], 1.0, 2.0, eps=0, nonfinite="zero")
    assert weight.grad.tolist() == [0, 0.5, 0]
    with pytest.raises(ValueError, match="nonfinite must be one of"):
        gt.clip_grad_norm_([weight], 1.0, nonfinite="ignore")


def test_arguments_as_torch_takes_them(no_torch):
    weight = parameter(torch.tensor([3.0, 4.0]))
    assert gt.clip_grad_norm_([weight], torch.tensor(10), "inf") == 4
    assert gt.clip_grad_norm_(weight, "10", torch.tensor(1.0)) == 7
    gt.clip_grads_with_norm_([weight], 1, torch.tensor([10], dtype=torch.int64), True)
    gt.clip_grads_with_norm_([weight], 1, torch.tensor(1.0, requires_grad=True), False)
    torch.testing.assert_close(weight.grad, torch.tensor([0.3, 0.4]))
    with pytest.raises(TypeError, match="parameters must be a model, .* is 1.0"):
        gt.clip_grad_norm_([1.0], 1.0)
    with pytest.raises(ValueError, match="one name a parameter: 1 \\(got 2\\)"):
        gt.clip_grad_norm_([weight], 1.0, names=["a", "b"])
    with pytest.raises(TypeError, match="names must be an iterable"):
        gt.clip_grad_norm_([weight], 1.0, names="a")
