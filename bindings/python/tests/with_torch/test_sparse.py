"""Sparse gradients (nn.Embedding(sparse=True)): as the dense ones that they stand for."""

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402


def embeddings(indices, dtype=torch.float32):
    """Two embeddings of the same weights, with the same gradients: sparse and dense."""
    torch.manual_seed(1)
    dense = torch.nn.Embedding(9, 4, dtype=dtype)
    sparse = torch.nn.Embedding(9, 4, sparse=True, dtype=dtype)
    sparse.load_state_dict(dense.state_dict())
    for one in (dense, sparse):
        (one(torch.tensor(indices, dtype=torch.long)) ** 2).sum().backward()
    return sparse.weight, dense.weight


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("indices", [[1, 2, 3], [5, 1, 5, 5, 2], []])
def test_norm_and_clipping_are_those_of_the_dense_gradient(indices, dtype):
    sparse, dense = embeddings(indices, dtype)
    assert not indices or not sparse.grad.is_coalesced()
    twin = sparse.grad.coalesce().to_dense().clone()  # summed in torch's order
    dense.grad.copy_(twin)
    for norm_type in (2.0, 1.0, float("inf")):
        assert gt.get_total_norm(sparse.grad, norm_type) == gt.get_total_norm(dense.grad, norm_type)
    before = sparse.grad
    assert gt.clip_grad_norm_([sparse], 0.5) == gt.clip_grad_norm_([dense], 0.5)
    assert sparse.grad is before and torch.equal(sparse.grad.to_dense(), dense.grad)
    if indices:
        assert sparse.grad.is_coalesced()


def test_values_of_a_coalesced_one_are_scaled_where_they_are():
    sparse, _ = embeddings([3, 1])
    sparse.grad = sparse.grad.coalesce()
    values = sparse.grad._values()
    address = values.data_ptr()
    norm = gt.clip_grad_norm_([sparse], 0.25)
    assert sparse.grad._values().data_ptr() == address
    assert float(sparse.grad._values().norm()) == pytest.approx(0.25) and norm > 0.25


def test_nothing_is_written_where_nothing_is_clipped():
    sparse, _ = embeddings([2, 2])
    before = sparse.grad._values().clone()
    gt.clip_grad_norm_([sparse], 1e9)
    assert not sparse.grad.is_coalesced() and torch.equal(sparse.grad._values(), before)


def test_beside_dense_ones_and_given_twice():
    sparse, dense = embeddings([7, 7, 0])
    other = torch.nn.Parameter(torch.zeros(3))
    for parameters in ([sparse, other, sparse], [dense, other, dense]):
        other.grad = torch.tensor([3.0, 0.0, 4.0])
        norm = gt.clip_grad_norm_(parameters, 1.0)
        assert norm == pytest.approx((float(embeddings([7, 7, 0])[1].grad.norm()) ** 2 + 25) ** 0.5)
    torch.testing.assert_close(sparse.grad.to_dense(), dense.grad)


def test_a_nan_is_named_by_its_place():
    sparse, _ = embeddings([6, 4, 6])
    values = sparse.grad._values()
    values[1, 2] = float("nan")
    with pytest.raises(gradclip.NonFiniteGradientError, match=r"index \(4, 2\), of 'table'") as error:
        gt.clip_grad_norm_([sparse], 1.0, error_if_nonfinite=True, names=["table"])
    assert error.value.nonfinite.element == 4 * 4 + 2


def test_it_trains_as_the_dense_one_does():
    torch.manual_seed(2)
    runs = []
    for is_sparse in (True, False):
        torch.manual_seed(2)
        table = torch.nn.Embedding(20, 3, sparse=is_sparse)
        optimizer = torch.optim.SGD(table.parameters(), lr=0.5)
        for step in range(8):
            optimizer.zero_grad()
            (table(torch.tensor([step, 3, step])) ** 2).sum().backward()
            gt.clip_grad_norm_(table, 0.1)
            optimizer.step()
        runs.append(table.weight.detach())
    torch.testing.assert_close(*runs)


def test_what_stands_for_zeros_counts_as_zeros_or_is_refused():
    sparse, dense = embeddings([1, 2])
    with pytest.raises(gradclip.UnsupportedError, match=r"gradient 0 has the layout torch\.sparse_coo"):
        gt.clip_by_block_rms_([sparse])
    assert gt.clip_by_norm_([sparse], 0.5) == gt.clip_by_norm_([dense], 0.5)
    torch.testing.assert_close(sparse.grad.to_dense(), dense.grad)
    gt.clip_grad_value_([sparse], 0.01)
    assert float(sparse.grad.to_dense().abs().max()) == pytest.approx(0.01)
