"""Tensors given to gradclip itself, which takes them as it takes any array: through DLPack."""

import gc

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_are_clipped_in_place_and_out_of_place(dtype):
    grad = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=dtype)
    (clipped,), norm = gradclip.clip_grad_norm([grad], 2.5, eps=0)
    assert norm == 5 and torch.equal(clipped, grad / 2) and grad[0, 0] == 3
    channels_last = grad.reshape(1, 2, 1, 2).permute(0, 3, 1, 2)
    assert channels_last.is_contiguous(memory_format=torch.channels_last)
    for view in (grad, grad.t(), channels_last):
        grad.copy_(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
        assert gradclip.clip_grad_norm_({"w": view}, 2.5, eps=0) == 5
        assert torch.equal(grad, torch.tensor([[1.5, 0.0], [0.0, 2.0]], dtype=dtype))


@pytest.mark.parametrize(
    ("grad", "kind", "message"),
    [
        (lambda: torch.ones(4)[::2], ValueError, "is not dense"),
        (lambda: torch.ones(2, device="meta"), ValueError, "cannot be exported.*meta"),
        (lambda: torch.eye(2).to_sparse(), ValueError, "cannot be exported"),
        (lambda: torch.ones(2, dtype=torch.complex64), TypeError, "wrong dtype.*complex64"),
        (lambda: torch.ones(2, dtype=torch.int32), TypeError, "wrong dtype.*int32"),
        (lambda: torch.nn.Parameter(torch.ones(2)), TypeError, "torch parameter.*gradclip.torch"),
        (lambda: torch.ones(2, requires_grad=True), TypeError, "requires grad.*gradclip.torch"),
        (lambda: torch.nn.Linear(2, 2), TypeError, "torch module.*gradclip.torch"),
    ],
)
def test_what_cannot_be_clipped_is_named_and_nothing_is_written(grad, kind, message):
    first = torch.tensor([3.0, 4.0])
    with pytest.raises(kind, match=rf"^grads\[1\] \('b'\) .*{message}"):
        gradclip.clip_grad_norm_({"w": first, "b": grad()}, 1.0)
    assert first.tolist() == [3, 4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_plan_forbids_resizing(dtype):
    """torch's storage would move away from under the plan."""
    pytest.importorskip("numpy")
    grad = torch.tensor([[3.0, 0.0], [0.0, 4.0]], dtype=dtype).t()
    plan = gradclip.Plan([grad, torch.tensor(12.0, dtype=dtype)])
    with pytest.raises(RuntimeError, match="not resizable"):
        grad.detach().resize_(10_000)
    assert plan.clip_grad_norm_(6.5, eps=0) == 13 and grad.tolist() == [[1.5, 0], [0, 2]]
    # A tensor that is given other memory leaves its old to the plan.
    grad.data = torch.zeros(100, 100, dtype=dtype)
    gc.collect()
    assert plan.get_total_norm() == 6.5
