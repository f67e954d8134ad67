"""The other ways to clip, for parameters: by tensor, group, root mean square, weights, example."""

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float32: 2e-7, torch.float64: 1e-14, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def parameter(shape, dtype=torch.float32, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    p = torch.nn.Parameter((values * 3).to(dtype))
    grad = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    p.grad = grad.to(dtype)
    return p


def wide(tensor):
    return tensor.detach().to(torch.float64, copy=True)


def close(actual, expected, dtype):
    torch.testing.assert_close(actual.double(), expected, rtol=TOLERANCE[dtype], atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_by_norm(dtype):
    ours = [
        parameter((5, 7), dtype, 10, 1),
        parameter((3,), dtype, 1e-3, 2),
        parameter((4, 4), dtype, 10, 3),
    ]
    ours[2].grad = ours[2].grad.t()  # another memory format
    ours.insert(1, torch.nn.Parameter(torch.zeros(2)))
    before = [None if p.grad is None else wide(p.grad) for p in ours]
    norm = gt.clip_by_norm_(ours, 1.0)
    for p, old, coef in zip(ours, before, norm.clip_coefs):
        if old is not None:
            close(p.grad, old * min(1.0, 1.0 / old.norm().item()), dtype)
            assert (coef < 1) == (old.norm() > 1)
    assert norm.clip_coefs[1] == 1.0 and norm.clipped_count == 2
    ours[0].grad = before[0].to(dtype)
    assert gt.clip_by_norm_(ours, [0.5, 1, math.inf, math.inf]).clipped_count == 1


def test_gaps_and_generators_and_versions():
    p = torch.nn.Parameter(torch.zeros(4))
    p.grad = torch.arange(8.0)[::2]
    version = p.grad._version
    old = wide(p.grad)
    norm = gt.clip_by_norm_((q for q in [p]), 1.0)
    close(p.grad, old / old.norm(), torch.float32)
    assert norm == pytest.approx(old.norm().item(), rel=1e-7) and p.grad._version > version


def test_a_gradient_that_is_there_twice_has_one_limit():
    p, other = parameter((6, 6), scale=10), parameter((6,), scale=10, seed=2)
    before = wide(p.grad)
    with pytest.raises(ValueError, match=r"gradient 2 is given twice, with another max_norm"):
        gt.clip_by_norm_([p, other, p], [1.0, 3.0, 2.0])
    assert torch.equal(wide(p.grad), before)
    assert len(set(gt.clip_by_norm_([p, other, p], [1.0, 3.0, 1.0]).clip_coefs)) == 2
    close(p.grad, before / before.norm(), torch.float32)


def test_groups_by_name_and_from_an_optimizer():
    body, head = parameter((6, 6), scale=10, seed=1), parameter((6,), scale=10, seed=2)
    before = [wide(body.grad), wide(head.grad)]
    norm = gt.clip_by_group_({"body": [body], "head": head}, {"body": 1.0, "head": math.inf})
    close(body.grad, before[0] / before[0].norm(), torch.float32)
    close(head.grad, before[1], torch.float32)
    assert norm.group_coefs["head"] == 1.0
    optimizer = torch.optim.SGD([{"params": [body]}, {"params": [head], "name": "top"}], lr=1.0)
    assert set(gt.clip_by_group_(optimizer.param_groups, 0.5).group_norms) == {"0", "top"}
    with pytest.raises(ValueError, match="in two groups"):
        gt.clip_by_group_({"a": [body], "b": [body]}, 1.0)


@pytest.mark.parametrize(
    "first, second, match",
    [
        ("body", "body", r"that of groups\[1\] is 'body', and so is that of groups\[0\]"),
        ("1", None, r"that of groups\[1\] is '1' \(its number\), and so is that of groups\[0\]"),
    ],
)
def test_two_groups_of_one_name_are_refused(first, second, match):
    body, head = parameter((6, 6), scale=10, seed=1), parameter((6,), scale=10, seed=2)
    before = [wide(body.grad), wide(head.grad)]
    groups = [{"params": [body], "name": first}, {"params": [head]}]
    if second is not None:
        groups[1]["name"] = second
    with pytest.raises(ValueError, match=match):
        gt.clip_by_group_(groups, 0.5)
    assert torch.equal(wide(body.grad), before[0]) and torch.equal(wide(head.grad), before[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_block_rms(dtype):
    p = parameter((9, 5), dtype, 4.0)
    old = wide(p.grad)
    gt.clip_by_block_rms_([p], 0.5)
    close(p.grad, old / max(1.0, old.square().mean().sqrt().item() / 0.5), dtype)


def agc(p, grad, axes, clip_factor=0.01, eps=1e-3):
    weight = p.detach().double()
    limit = clip_factor * torch.linalg.vector_norm(weight, dim=axes, keepdim=True).clamp(min=eps)
    norm = torch.linalg.vector_norm(grad, dim=axes, keepdim=True)
    return torch.where(norm < limit, grad, grad * (limit / norm.clamp(min=1e-6)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "layout", ["contiguous", "channels last", "gradient channels last", "gaps"]
)
def test_adaptive(dtype, layout):
    p = parameter((6, 5, 3, 3), dtype, 0.05)
    if layout == "channels last":
        p = torch.nn.Parameter(p.detach().contiguous(memory_format=torch.channels_last))
        p.grad = parameter((6, 5, 3, 3), dtype, 0.05).grad
    if layout != "contiguous":
        p.grad = p.grad.contiguous(memory_format=torch.channels_last)
    for axes in [(1, 2, 3), (0, 1, 2), (0, 2), (1,), (), (0, 1, 2, 3)]:
        p.grad = p.grad.clone(memory_format=torch.preserve_format)
        if layout == "gaps":
            whole = torch.zeros(6, 5, 3, 6, dtype=dtype)
            whole[..., ::2] = parameter((6, 5, 3, 3), dtype, 0.05).grad
            p.grad = whole[..., ::2]
        old = wide(p.grad)
        expected = agc(p, old, axes or (), 0.01) if axes else None
        norm = gt.adaptive_clip_grad([p], axes=axes)
        if expected is not None:
            close(p.grad, expected, dtype)
        assert norm.clipped_count <= len(norm.clip_coefs[0])


def test_adaptive_scales_a_gradient_that_is_there_twice_once():
    once, twice = parameter((5, 4), scale=100), parameter((5, 4), scale=100)
    gt.adaptive_clip_grad([once])
    found = gt.adaptive_clip_grad([twice, parameter((3,)), twice])
    assert torch.equal(once.grad, twice.grad) and found.clip_coefs[0] == found.clip_coefs[2]


def test_adaptive_excludes_by_name_and_names_what_is_nan():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
    for p in model.parameters():
        p.grad = torch.full_like(p, 5.0)
    gt.adaptive_clip_grad(model.named_parameters(), exclude=["1"])
    assert model[0].weight.grad.abs().max() < 1 and (model[1].weight.grad == 5).all()
    p = parameter((3, 4, 5))
    p.grad[1, 2, 3] = math.nan
    for axes in [(0, 2), (1, 2)]:
        with pytest.raises(gradclip.NonFiniteGradientError, match=r"\(1, 2, 3\)"):
            gt.adaptive_clip_grad([p], axes=axes, error_if_nonfinite=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_per_example(dtype):
    grads = [parameter((8, 5, 2), dtype, 1.0, 1).grad, parameter((8,), dtype, 1.0, 2).grad]
    norms = torch.stack([g.double().reshape(8, -1).norm(dim=1) for g in grads]).norm(dim=0)
    found = gt.clip_per_example(grads, 1.5, eps=1e-6)
    factors = (1.5 / (norms + 1e-6)).clamp(max=1)
    for grad, total in zip(grads, found.sums):
        assert total.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        expected = torch.tensordot(factors, grad.double(), 1)
        torch.testing.assert_close(total.double(), expected, rtol=2e-7, atol=1e-7)
    samples = torch.nn.Parameter(torch.zeros(5, 2))
    samples.grad_sample = grads[0]
    expected = gt.clip_per_example(grads[0], 1.5).sums[0]
    assert torch.equal(gt.clip_per_example([samples], 1.5).sums[0], expected)
    # As Opacus has it after several backward passes, one of which had no example.
    samples.grad_sample = [grads[0][:3], grads[0][3:3], grads[0][3:]]
    assert torch.equal(gt.clip_per_example([samples], 1.5).sums[0], expected)
    samples.grad_sample = grads[0][:0]
    assert not gt.clip_per_example([samples], 1.5).sums[0].any()
    for wrong in ([], [grads[0], None], None):
        samples.grad_sample = wrong
        with pytest.raises(TypeError, match=r"grads\[0\] must be a tensor \[examples, ...\]"):
            gt.clip_per_example([samples], 1.5)


def test_dispatch():
    for mode, function in {
        "norm": lambda p: gt.clip_grad_norm_([p], 0.5),
        "value": lambda p: gt.clip_grad_value_([p], 0.5),
        "agc": lambda p: gt.adaptive_clip_grad([p], 0.5),
        "tensor_norm": lambda p: gt.clip_by_norm_([p], 0.5),
        "block_rms": lambda p: gt.clip_by_block_rms_([p], 0.5),
    }.items():
        p, q = parameter((4, 5), scale=5), parameter((4, 5), scale=5)
        assert gt.dispatch_clip_grad([p], 0.5, mode) is None
        function(q)
        assert torch.equal(p.grad, q.grad) and not torch.equal(
            p.grad, parameter((4, 5), scale=5).grad
        )
    p = parameter((4, 5), scale=5)
    gt.dispatch_clip_grad({"all": [p]}, 0.5, "group_norm")
    assert p.grad.norm().item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="mode must be one of 'norm', .*got 'agc2'"):
        gt.dispatch_clip_grad([p], 0.5, "agc2")


def test_errors_leave_the_gradients():
    p = parameter((3, 4))
    old = p.grad.clone()
    meta = torch.nn.Parameter(torch.zeros(2, device="meta"))
    meta.grad = torch.zeros(2, device="meta")

    class Odd(torch.Tensor):
        pass

    odd = torch.zeros(2).as_subclass(Odd)
    odd.grad = torch.ones(2)
    for call, kind, match in [
        (lambda: gt.clip_by_norm_([p, meta], 1.0), gradclip.UnsupportedError, "gradient 1"),
        (lambda: gt.adaptive_clip_grad([p, meta]), gradclip.UnsupportedError, "gradient 1"),
        (lambda: gt.clip_per_example([old, meta.detach()], 1.0), ValueError, "as many examples"),
        (
            lambda: gt.clip_per_example([torch.zeros(2, 2, device="meta")], 1.0),
            gradclip.UnsupportedError,
            r"grads\[0\] is on the device meta",
        ),
        (
            lambda: gt.clip_per_example([old, torch.eye(3).to_sparse()], 1.0),
            gradclip.UnsupportedError,
            r"grads\[1\] has the layout torch.sparse_coo",
        ),
        (
            lambda: gt.clip_per_example([torch.ones(3, dtype=torch.int32)], 1.0),
            TypeError,
            r"grads\[0\] has the wrong dtype: float32, .* \(got torch.int32\)",
        ),
        (
            lambda: gt.adaptive_clip_grad([p, odd]),
            gradclip.UnsupportedError,
            r"parameter 1 is of the type .*\.Odd: its weights cannot be measured",
        ),
        (
            lambda: gt.clip_per_example([[1.0]], 1.0),
            TypeError,
            r"grads must be a model, an optimizer.*first of these is \[",
        ),
        (
            lambda: gt.clip_per_example([old], 1.0, dtype=torch.float16),
            ValueError,
            r"dtype must be torch.float32 or torch.float64 \(got torch.float16\)",
        ),
        (
            lambda: gt.clip_per_example([old], [1.0, 2.0]),
            ValueError,
            r"have one a gradient: 1 \(got 2\)",
        ),
        (lambda: gt.clip_by_norm_([p], -1.0), ValueError, "max_norms"),
        (lambda: gt.clip_by_norm_([p], [1.0, 2.0]), ValueError, "one a parameter: 1"),
        (lambda: gt.adaptive_clip_grad([p], -0.1), ValueError, "clip_factor"),
        (lambda: gt.adaptive_clip_grad([p], axes=(5,)), ValueError, "must lie in its shape"),
        (lambda: gt.adaptive_clip_grad([p], exclude=["x"]), ValueError, "needs names"),
    ]:
        with pytest.raises(kind, match=match):
            call()
        assert torch.equal(p.grad, old)


def test_policies():
    for policy, shape in itertools.product(["propagate", "leave", "zero"], [(2, 2)]):
        p = torch.nn.Parameter(torch.ones(shape))
        p.grad = torch.tensor([[3.0, 4.0], [math.nan, 4.0]])
        gt.adaptive_clip_grad([p], 1.0, nonfinite=policy)
        if policy == "leave":
            assert p.grad[0].tolist() == [3, 4]
            continue
        assert p.grad[0].norm().item() == pytest.approx(math.sqrt(2))
        assert p.grad[1].isnan().all() if policy == "propagate" else p.grad[1, 0] == 0


def test_limits_are_matched_by_the_parameters_names():
    model = torch.nn.Linear(1, 1)
    model.weight.grad, model.bias.grad = torch.full((1, 1), 9.0), torch.full((1,), 4.0)
    norm = gt.clip_by_norm_(model.named_parameters(), {"bias": 8.0, "weight": 3.0})
    assert model.weight.grad.item() == 3.0 and model.bias.grad.item() == 4.0
    assert norm.clip_coefs == (1 / 3, 1.0)
    with pytest.raises(ValueError, match="max_norm has none for the gradient 'weight'"):
        gt.clip_by_norm_(model.named_parameters(), {"bias": 8.0})
