"""Choosers on parameters of torch: what gradclip's decide on arrays, in two lines of a loop."""

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402

KINDS = ["AutoClip", "ZClip", "AdaGC", "SkipStep"]
SMALL = {"ZClip": {"warmup_steps": 5}, "AdaGC": {"warmup_steps": 5}, "SkipStep": {"window": 8}}


def parameters():
    return [torch.nn.Parameter(torch.zeros(n)) for n in (2, 3, 16)]


@pytest.mark.parametrize("kind", KINDS)
def test_decides_as_for_arrays_and_resumes(kind):
    generator = torch.Generator().manual_seed(1)
    owners = parameters()
    chooser = getattr(gt, kind)(**SMALL.get(kind, {}))
    twin = getattr(gradclip, kind)(**SMALL.get(kind, {}))
    for step in range(120):
        grads = [
            torch.randn(p.shape, generator=generator) * (1 + 30 * (step % 17 == 16)) for p in owners
        ]
        if step % 5 == 1:
            grads[1] = None
        if step % 23 == 11:
            grads[0][1] = float("nan")
        for p, grad in zip(owners, grads):
            p.grad = None if grad is None else grad.clone()
        arrays = [None if grad is None else grad.numpy().copy() for grad in grads]
        more = {} if kind == "AdaGC" else {"loss": 1.0 + step % 3}
        ours, theirs = chooser.clip_(owners, **more), twin.clip_(arrays, **more)
        assert ours.skip == theirs.skip and ours.clip_coef == theirs.clip_coef
        assert ours.threshold == theirs.threshold and ours.tensor_coefs == theirs.tensor_coefs
        assert ours.norm == theirs.norm or ours.norm.nonfinite
        if ours.norm.nonfinite:
            assert ours.norm.nonfinite.tensor == 0 and ours.norm.nonfinite.element == 1
        for p, array in zip(owners, arrays):
            assert array is None or np.array_equal(p.grad.numpy(), array, equal_nan=True)
        if step == 60:
            chooser = pickle.loads(pickle.dumps(chooser))
            twin.load_state_dict(chooser.state_dict())


def test_a_training_loop_through_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    autoclip = gt.AutoClip(percentile=50)
    for step in range(20):
        if step == 10:
            torch.save(autoclip.state_dict(), tmp_path / "chooser.pt")
            autoclip = gt.AutoClip()
            autoclip.load_state_dict(torch.load(tmp_path / "chooser.pt", weights_only=True))
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        decision = autoclip.clip_(model.parameters())
        assert not decision.skip
        total = torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])
        assert float(total) <= decision.threshold * (1 + 1e-6)
        optimizer.step()
    assert decision.steps == 20


def test_autograd_learns_of_a_write_and_only_of_one():
    (weight,) = owners = [torch.nn.Parameter(torch.zeros(2))]
    weight.grad = torch.tensor([3.0, 4.0])
    version = weight.grad._version
    gt.AutoClip(percentile=100, threshold_first=True).clip_(owners)
    assert weight.grad._version == version
    clipping = gt.ZClip(max_norm=1.0)
    clipping.clip_(owners)
    assert weight.grad._version == version + 1 and float(weight.grad.norm()) == pytest.approx(1)
    weight.grad = torch.tensor([float("nan"), 1.0])
    version = weight.grad._version
    assert clipping.clip_(owners).skip and weight.grad._version == version


def test_the_parameter_is_named():
    model = torch.nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.ones(1, 2), torch.tensor([float("inf")])
    names = [name for name, _ in model.named_parameters()]
    for kind in KINDS:
        decision = getattr(gt, kind)().clip_(model.parameters(), names=names)
        assert decision.skip and decision.norm.nonfinite.name == "bias"


def test_gradients_that_the_library_has_no_code_for():
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.complex64))
    weight.grad = torch.ones(3, dtype=torch.complex64)
    with pytest.raises(gradclip.UnsupportedError, match="eps"):
        gt.AutoClip().clip_([weight], eps=0.0, norm_type=1)
    with pytest.raises(gradclip.UnsupportedError, match="grad_scale"):
        gt.AdaGC().clip_([weight], grad_scale=2.0, norm_type=1)


def test_adagc_too_where_torch_does_the_work(monkeypatch):
    """Which it does as the library does, to rounding."""
    from gradclip.torch import _choosers
    from gradclip.torch._rows import ForTorch

    look = _choosers.look
    elsewhere = lambda *_, **__: ForTorch(0, "is elsewhere")  # noqa: E731
    choosers = [gt.AdaGC(warmup_steps=1, lambda_rel=2.0) for _ in range(2)]
    for scale in (0.25, 16.0):
        weights = [torch.nn.Parameter(torch.zeros(2, 2)) for _ in choosers]
        biases = [torch.nn.Parameter(torch.zeros(1)) for _ in choosers]
        found = []
        for chooser, weight, bias, way in zip(choosers, weights, biases, (look, elsewhere)):
            monkeypatch.setattr(_choosers, "look", way)
            weight.grad, bias.grad = torch.eye(2) * scale, torch.full((1,), 0.5)
            found.append(chooser.clip_([weight, bias]))
        assert found[0].tensor_coefs == pytest.approx(found[1].tensor_coefs, rel=1e-6)
        assert float(found[0].norm) == pytest.approx(float(found[1].norm), rel=1e-6)
        torch.testing.assert_close(weights[0].grad, weights[1].grad)
    assert found[1].tensor_coefs[0] < 1


def test_what_torch_measures_the_chooser_decides(monkeypatch):
    """Gradients elsewhere: torch's functions do the work, here on the CPU."""
    from gradclip.torch import _choosers
    from gradclip.torch._rows import ForTorch

    monkeypatch.setattr(_choosers, "look", lambda *_, **__: ForTorch(0, "is elsewhere"))
    weight = torch.nn.Parameter(torch.zeros(2))
    chooser = gt.AutoClip(percentile=50)
    for scale, expected in ((1.0, 5.0), (3.0, 10.0)):
        weight.grad = torch.tensor([3.0, 4.0]) * scale
        decision = chooser.clip_([weight])
        assert decision.norm == 5 * scale and decision.threshold == expected
        assert float(weight.grad.norm()) == pytest.approx(min(expected, 5 * scale), rel=1e-5)
    weight.grad = torch.tensor([float("nan"), 4.0])
    assert chooser.clip_([weight]).skip and weight.grad[1] == 4.0


def test_torch_measures_a_nan_and_it_is_named(monkeypatch):
    from gradclip.torch import _choosers
    from gradclip.torch._rows import ForTorch

    monkeypatch.setattr(_choosers, "look", lambda *_, **__: ForTorch(0, "is elsewhere"))
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([0.0, float("nan"), 1.0])
    norm = gt.AutoClip().clip_([weight], names=["embedding"]).norm
    assert norm.nonfinite.name == "embedding" and norm.nonfinite.nan_count == 1
    assert str(norm.nonfinite).endswith("element 1, index (1,), of 'embedding' (gradient 0)")
