"""clip_and_step: parameters as after clip-then-step, without the pass that multiplies gradients."""

import math
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from torch.optim.optimizer import register_optimizer_step_pre_hook  # noqa: E402

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402

FUSED = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01, fused=True),
    "Adam amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True, fused=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1, fused=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01, fused=True),
    "SGD momentum": lambda p: torch.optim.SGD(
        p, lr=0.01, momentum=0.9, nesterov=True, weight_decay=0.01, fused=True
    ),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01, fused=True),
}
OTHERS = {
    "AdamW, not fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=False),
    "SGD, foreach": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, foreach=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
}


def model(dtype=torch.float32):
    torch.manual_seed(10)
    net = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Tanh(), torch.nn.Linear(9, 4))
    return net.to(dtype)


def groups(net):
    """The parameters in two groups, and a frozen one."""
    weights, biases = ([p for p in net.parameters() if p.dim() == d] for d in (2, 1))
    biases[-1].requires_grad_(False)
    return [{"params": weights}, {"params": biases, "lr": 0.02}]


def backward(net, step, scale=1.0):
    net.zero_grad()
    torch.manual_seed(step)
    dtype = next(net.parameters()).dtype
    loss = net(torch.randn(32, 6, dtype=dtype)).square().sum() * (2.0 if step % 3 else 0.01)
    (loss * scale).backward()


def deferred(optimizer, monkeypatch):
    """A list that gets a line for each step: the grad_scale the optimizer saw."""
    seen = []
    original = type(optimizer).step

    def step(self, *arguments):
        scale = getattr(self, "grad_scale", None)
        seen.append(None if scale is None else (scale.dtype, scale.item()))
        return original(self, *arguments)

    monkeypatch.setattr(type(optimizer), "step", step)
    return seen


def compare(nets, rtol):
    for p, q in zip(nets[0].parameters(), nets[1].parameters()):
        torch.testing.assert_close(p, q, rtol=rtol, atol=rtol / 10)


@pytest.mark.parametrize("name", [*FUSED, *OTHERS])
def test_parameters_are_those_of_clip_then_step(name, monkeypatch):
    make = {**FUSED, **OTHERS}[name]
    nets = model(), model()
    optimizers = [make(groups(net)) for net in nets]
    seen = deferred(optimizers[0], monkeypatch)
    clipped = []
    for step in range(100):
        for net in nets:
            backward(net, step)
        norm = gt.clip_and_step(optimizers[0], 1.0)
        expected = gt.clip_grad_norm_(nets[1].parameters(), 1.0)
        # The parameters drift apart by rounding, and with them the gradients.
        torch.testing.assert_close(norm, expected, rtol=1e-3, atol=1e-6)
        assert norm.dtype == torch.float32
        clipped.append(bool(norm > 1))
        if name in FUSED and clipped[-1]:
            dtype, scale = seen[-1]
            assert dtype == torch.float32 and scale == pytest.approx(norm.item(), rel=1e-4)
        else:
            assert seen[-1] is None
        assert not hasattr(optimizers[0], "grad_scale")
        optimizers[1].step()
    assert 10 < sum(clipped) < 90
    compare(nets, 1e-4)


@pytest.mark.parametrize("name", FUSED)
def test_a_grad_scale_that_is_set_counts(name, monkeypatch):
    """The gradients are those of a loss times 1024, the optimizer is told so, and both hold."""
    nets = model(), model()
    optimizers = [FUSED[name](groups(net)) for net in nets]
    theirs = torch.tensor(1024.0)
    optimizers[0].grad_scale = theirs
    seen = deferred(optimizers[0], monkeypatch)
    for step in range(30):
        backward(nets[0], step, 1024.0)
        backward(nets[1], step)
        norm = gt.clip_and_step(optimizers[0], 1.0)
        assert optimizers[0].grad_scale is theirs and theirs == 1024
        expected = gt.clip_grad_norm_(nets[1].parameters(), 1.0)
        torch.testing.assert_close(norm, expected, rtol=1e-3, atol=1e-6)
        scale = seen[-1][1]
        assert scale == pytest.approx(1024 * max(1.0, norm.item()), rel=1e-4)
        optimizers[1].step()
    compare(nets, 1e-4)


@pytest.mark.parametrize("norm_type", [0, 2])
@pytest.mark.parametrize("scale", [None, 8.0])
def test_double_precision_is_clipped_in_place(scale, norm_type, monkeypatch):
    """grad_scale is float32, and would round."""
    nets = model(torch.float64), model(torch.float64)
    optimizers = [FUSED["Adam"](groups(net)) for net in nets]
    if scale is not None:
        optimizers[0].grad_scale = torch.tensor(scale)
    seen = deferred(optimizers[0], monkeypatch)
    for step in range(20):
        backward(nets[0], step, scale or 1.0)
        backward(nets[1], step)
        norm = gt.clip_and_step(optimizers[0], 1.0, norm_type)
        assert norm.dtype == torch.float64
        expected = gt.clip_grad_norm_(nets[1].parameters(), 1.0, norm_type)
        torch.testing.assert_close(norm, expected, rtol=1e-9, atol=0)
        assert seen[-1] == (None if scale is None else (torch.float32, scale))
        optimizers[1].step()
    compare(nets, 1e-9)


@pytest.mark.parametrize("name", [*FUSED, *OTHERS])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_step_for_gradients_that_are_not_finite(name, value, monkeypatch):
    net = model()
    optimizer = {**FUSED, **OTHERS}[name](groups(net))
    seen = deferred(optimizer, monkeypatch)
    backward(net, 1)
    net[0].weight.grad[3, 1] = value
    before = [p.detach().clone() for p in net.parameters()]
    grads = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    norm = gt.clip_and_step(optimizer, 1.0)
    assert not norm.isfinite() and not seen
    assert gt.clip_and_step(optimizer, 1.0, norm_type=0) == 3 and not seen  # finite, all the same
    names = [name for name, p in net.named_parameters() if p.dim() == 2]
    names += [name for name, p in net.named_parameters() if p.dim() == 1]
    with pytest.raises(gradclip.NonFiniteGradientError, match=r"index \(3, 1\), of '0.weight'"):
        gt.clip_and_step(optimizer, 1.0, error_if_nonfinite=True, names=names)
    assert not seen and not hasattr(optimizer, "grad_scale")
    after = [p.grad for p in net.parameters() if p.grad is not None]
    for now, then in zip([*net.parameters(), *after], [*before, *grads]):
        torch.testing.assert_close(now.detach(), then, rtol=0, atol=0, equal_nan=True)


def test_the_momentum_of_sgd_is_sound_after_a_first_step_left_out():
    """found_inf would leave it uninitialised."""
    weight = torch.nn.Parameter(torch.zeros(1000))
    optimizer = torch.optim.SGD([weight], lr=1.0, momentum=0.5, fused=True)
    weight.grad = torch.full((1000,), math.nan)
    gt.clip_and_step(optimizer, 1.0)
    for _ in range(2):
        weight.grad = torch.ones(1000)
        gt.clip_and_step(optimizer, math.inf)
    assert (weight == -2.5).all()


def test_grad_scale_is_reset_when_the_step_raises(monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)

    def fail(self):
        assert self.grad_scale == pytest.approx(5)
        raise KeyError

    monkeypatch.setattr(torch.optim.SGD, "step", fail)
    for before in (None, torch.tensor(1.0)):
        if before is not None:
            optimizer.grad_scale = before
        weight.grad = torch.tensor([3.0, 4.0])
        with pytest.raises(KeyError):
            gt.clip_and_step(optimizer, 1.0)
        assert getattr(optimizer, "grad_scale", None) is before


def test_gradients_are_not_written_before_the_step(monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
    seen = []
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: seen.append(weight.grad.tolist()))
    assert gt.clip_and_step(optimizer, 1.0) == 5
    assert seen == [[3, 4]]


@pytest.mark.parametrize("where", ["optimizer", "global"])
def test_hooks_before_the_step_see_clipped_gradients(where):
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
    seen = []
    hook = lambda *_: seen.append(weight.grad.norm().item())  # noqa: E731
    register = optimizer.register_step_pre_hook
    if where == "global":
        register = register_optimizer_step_pre_hook
    handle = register(hook)
    try:
        gt.clip_and_step(optimizer, 1.0)
    finally:
        handle.remove()
    assert seen == [pytest.approx(1)]
    torch.testing.assert_close(weight.data, torch.tensor([-0.6, -0.8]))


def test_a_subclass_steps_itself_on_clipped_gradients():
    class Signed(torch.optim.SGD):
        def step(self, closure=None):
            self.seen = [p.grad.clone() for g in self.param_groups for p in g["params"]]
            return super().step(closure)

    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = Signed([weight], lr=1.0, fused=True)
    gt.clip_and_step(optimizer, 1.0)
    torch.testing.assert_close(optimizer.seen[0], torch.tensor([0.6, 0.8]))


def test_extremes_of_the_coefficient():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
    weight.grad = torch.tensor([3e38, 3e38])
    norm = gt.clip_and_step(optimizer, 1e-3)  # the divisor has no float32
    assert norm.dtype == torch.float64 and norm.item() == pytest.approx(3e38 * 2**0.5, rel=1e-6)
    torch.testing.assert_close(weight.data, torch.full((2,), -1e-3 * 0.5**0.5))
    weight.grad = torch.tensor([3.0, 4.0])
    before = weight.detach().clone()
    assert gt.clip_and_step(optimizer, 0.0) == 5
    assert torch.equal(weight.detach(), before)
    assert weight.grad.tolist() == [0, 0]
    wide = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    wide.grad = torch.tensor([1.7e308, 1.7e308], dtype=torch.float64)
    assert gt.clip_and_step(torch.optim.SGD([wide], lr=1.0, fused=True), 1.0) == math.inf
    torch.testing.assert_close(wide.data, torch.full((2,), -(0.5**0.5)).double())


def test_arguments(monkeypatch):
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
    seen = deferred(optimizer, monkeypatch)
    with pytest.raises(ValueError, match="closure must be None"):
        gt.clip_and_step(optimizer, 1.0, closure=lambda: 1.0)
    with pytest.raises(ValueError, match=r"^max_norm must be a number >= 0 \(got -1\)"):
        gt.clip_and_step(optimizer, -1.0)
    with pytest.raises(ValueError, match=r"^norm_type"):
        gt.clip_and_step(optimizer, 1.0, math.nan)
    with pytest.raises(ValueError, match=r"^eps"):
        gt.clip_and_step(optimizer, 1.0, eps=-1.0)
    with pytest.raises(ValueError, match="one name a parameter"):
        gt.clip_and_step(optimizer, 1.0, names=["a", "b"])
    assert not seen and weight.grad.tolist() == [3, 4] and not weight.any()
    assert gt.clip_and_step(optimizer, 2.0, "inf", eps=0) == 4
    assert weight.tolist() == [-1.5, -2.0]
    weight.grad = None
    assert gt.clip_and_step(optimizer, 1.0) == 0 and len(seen) == 2


def test_gradients_for_torch_are_clipped_and_stepped_by_torch():
    weight, table = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight, table], lr=1.0)
    arena = torch.tensor([1.0, 2.0, 2.0, 4.0])
    weight.grad, table.grad = arena[:2], arena[1:]  # overlapping: as torch does, twice
    expected = math.sqrt(1 + 4 + 4 + 4 + 16)
    assert gt.clip_and_step(optimizer, 1.0).item() == pytest.approx(expected)
    assert weight[0].item() == pytest.approx(-1 / expected)
    arena[0] = math.nan
    before = weight.detach().clone()
    assert gt.clip_and_step(optimizer, 1.0).isnan()
    assert torch.equal(weight, before)
    with pytest.raises(gradclip.UnsupportedError, match="eps=0"):
        gt.clip_and_step(optimizer, 1.0, eps=0)


def test_a_torch_with_other_private_names_is_clipped_in_place():
    """Without its list of hooks, one has to be taken for possible: no coefficient is deferred."""
    program = """
import torch.optim.optimizer as hooks
del hooks._global_optimizer_pre_hooks
import torch
import gradclip.torch as gt
from gradclip.torch import _step
weight = torch.nn.Parameter(torch.zeros(2))
weight.grad = torch.tensor([3.0, 4.0])
optimizer = torch.optim.SGD([weight], lr=1.0, fused=True)
optimizer.step = lambda: weight.data.sub_(weight.grad)
assert gt.clip_and_step(optimizer, 1.0, eps=0) == 5
torch.testing.assert_close(weight.data, torch.tensor([-0.6, -0.8]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
