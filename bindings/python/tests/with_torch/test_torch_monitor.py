"""gradclip.torch.Monitor: the Monitor for parameters, on all that torch can scale."""

import copy
import csv
import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402
from gradclip.torch import _fallback  # noqa: E402


class Subclass(torch.Tensor):
    pass


def model_and_data():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    return model, torch.randn(64, 4), torch.randn(64, 1)


def backward(model, inputs, targets, times=1.0):
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    (times * loss).backward()
    return loss


def parameter(grad):
    made = grad.detach().clone()
    made.grad = grad
    return made


def test_training_with_it_is_training_with_clip_grad_norm_to_the_bit(tmp_path):
    log = tmp_path / "run.csv"
    model, inputs, targets = model_and_data()
    twin = copy.deepcopy(model)
    ours = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    theirs = torch.optim.SGD(twin.parameters(), lr=0.5, momentum=0.9)
    monitor = gt.Monitor(model, max_norm=0.3, optimizer=ours, log=log)
    norms, losses = [], []
    for _ in range(20):
        ours.zero_grad()
        loss = backward(model, inputs, targets)
        if not monitor.clip_(loss=loss).skip:
            ours.step()
        theirs.zero_grad()
        losses.append(backward(twin, inputs, targets).item())
        norms.append(gt.clip_grad_norm_(twin.parameters(), 0.3).item())
        theirs.step()
    for a, b in zip(model.parameters(), twin.parameters()):
        assert torch.equal(a, b)
    assert 0 < monitor.clipped < 20
    with open(log) as file:
        rows = list(csv.DictReader(file))
    assert [torch.tensor(float(row["grad_norm"])).item() for row in rows] == norms
    assert [float(row["loss"]) for row in rows] == losses
    assert {row["learning_rate"] for row in rows} == {"0.5"}


@pytest.mark.parametrize(
    "given",
    [
        lambda model: model,
        lambda model: model.named_parameters(),
        lambda model: list(model.named_parameters()),
    ],
)
def test_names_come_from_the_model(given):
    model, inputs, targets = model_and_data()
    monitor = gt.Monitor(given(model), 1.0)
    backward(model, inputs, targets)
    model[2].weight.grad[0, 5] = math.nan
    with pytest.warns(gradclip.MonitorWarning, match=r"element 5, index \(0, 5\), of '2.weight'"):
        done = monitor.clip_()
    assert done.skip and done.nonfinite.name == "2.weight"
    assert "(parameter 2)" in str(monitor.diagnosis)
    assert [c.name for c in monitor.culprits] == ["2.weight"] and monitor.diagnosis.tensors == 4


def test_names_can_be_given_and_need_not_be():
    weight = parameter(torch.tensor([math.inf]))
    with pytest.warns(gradclip.MonitorWarning, match="of parameter 0"):
        gt.Monitor(weight, 1.0).clip_()
    with pytest.warns(gradclip.MonitorWarning, match="of 'w'"):
        gt.Monitor([weight], 1.0, names=["w"]).clip_()
    with pytest.raises(ValueError, match="one name a parameter: 1"):
        gt.Monitor([weight], 1.0, names=["w", "b"])
    with pytest.raises(TypeError, match=r"parameters\[1\] is no tensor"):
        gt.Monitor([weight, 3.0], 1.0)
    with pytest.raises(TypeError, match="optimizer must be"):
        gt.Monitor([weight], 1.0, optimizer=0.1)


def test_parameters_without_a_gradient_keep_their_place():
    parameters = [torch.zeros(1), parameter(torch.tensor([3.0])), torch.zeros(2)]
    parameters.append(parameter(torch.tensor([4.0, math.nan])))
    monitor = gt.Monitor(parameters, 1.0, names=["a", "b", "c", "d"])
    parameters[3].grad[1] = 0.0
    assert monitor.clip_().tensor_norms == (0.0, 3.0, 0.0, 4.0)
    parameters[3].grad[1] = math.nan
    with pytest.warns(gradclip.MonitorWarning, match=r"'d' \(parameter 3\)"):
        monitor.clip_()
    assert monitor.diagnosis.tensors == 2


def test_accumulated_gradients_are_one_step():
    model, inputs, targets = model_and_data()
    monitor = gt.Monitor(model, max_norm=math.inf)
    backward(model, inputs, targets)
    whole = monitor.clip_()
    model.zero_grad()
    for x, y in zip(inputs.chunk(4), targets.chunk(4)):
        backward(model, x, y, times=0.25)
    assert monitor.clip_() == pytest.approx(whole, rel=1e-5)
    assert monitor.history.steps == 2


def test_a_grad_scaler_unscales_before():
    model, inputs, targets = model_and_data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = gt.Monitor(model, max_norm=0.1, optimizer=optimizer)
    backward(model, inputs, targets)
    expected = monitor.clip_()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer.zero_grad()
    scaler.scale(torch.nn.functional.mse_loss(model(inputs), targets)).backward()
    scaler.unscale_(optimizer)
    assert monitor.clip_() == pytest.approx(expected, rel=1e-6)
    before = [p.detach().clone() for p in model.parameters()]
    model[0].bias.grad[1] = math.inf
    optimizer.zero_grad()
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    scaler.scale(torch.nn.functional.mse_loss(model(inputs), targets)).backward()
    model[0].bias.grad[1] = math.inf
    scaler.unscale_(optimizer)
    with pytest.warns(gradclip.MonitorWarning, match="0.bias"):
        assert monitor.clip_().skip
    scaler.step(optimizer)  # skips by itself
    scaler.update()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    assert scaler.get_scale() == 512.0


def test_a_program_that_scales_the_loss_itself():
    model, inputs, targets = model_and_data()
    monitor = gt.Monitor(model, max_norm=0.1)
    backward(model, inputs, targets)
    expected = monitor.clip_()
    clipped = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    backward(model, inputs, targets, times=2.0**10)
    done = monitor.clip_(grad_scale=torch.tensor(2.0**10))
    assert done == pytest.approx(expected, rel=1e-6)
    for parameter, grad in zip(model.parameters(), clipped):
        torch.testing.assert_close(parameter.grad, grad)


def test_autograd_sees_that_gradients_were_written():
    weight = torch.ones(2, requires_grad=True)
    weight.grad = 3 * weight**2
    product = weight.grad * weight.grad
    gt.Monitor([weight], 1.0).clip_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


# ----------------------------------------------------- what the library does not take --

ELSEWHERE = {
    "sparse CSR": lambda x: x.to_sparse_csr(),
    "subclass": lambda x: x.as_subclass(Subclass),
}


def diagonal(*values):
    return torch.diag(torch.tensor(values))


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request, monkeypatch):
    """Makes gradients that the library does not take; each test must have used torch."""
    used = []
    measure = _fallback.InTorch.measure
    monkeypatch.setattr(
        _fallback.InTorch, "measure", lambda self, *a: used.append(1) or measure(self, *a)
    )
    yield ELSEWHERE[request.param]
    assert used


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("grad_scale", [1.0, 8.0])
def test_torch_scales_what_the_library_does_not_take(elsewhere, grad_scale):
    parameters = [
        parameter(elsewhere(diagonal(2.0, 4.0, 5.0) * grad_scale)),
        torch.zeros(1),
        parameter(torch.tensor([6.0]) * grad_scale),
    ]
    monitor = gt.Monitor(parameters, 4.5, eps=0)
    done = monitor.clip_(grad_scale=grad_scale)
    assert done == 9.0 and done.clip_coef == 0.5 and done.clipped
    assert done.tensor_norms == (pytest.approx(math.sqrt(45.0)), 0.0, 6.0)
    grad = parameters[0].grad
    dense = grad if grad.layout == torch.strided else grad.to_dense()
    torch.testing.assert_close(torch.Tensor(dense), diagonal(1.0, 2.0, 2.5))
    assert parameters[2].grad.item() == 3.0


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_torch_names_the_culprit(elsewhere):
    parameters = [
        parameter(torch.tensor([6.0])),
        parameter(elsewhere(diagonal(2.0, math.nan, math.inf))),
    ]
    monitor = gt.Monitor(parameters, 1.0, names=["a", "b"])
    with pytest.warns(gradclip.MonitorWarning, match=r"element 4, index \(1, 1\), of 'b'"):
        done = monitor.clip_()
    assert done.skip and done.nonfinite.count == 2 and done.nonfinite.nan_count == 1
    assert monitor.culprits == (gradclip.Culprit(1, "b", 2, 1),)
    assert parameters[0].grad.item() == 6.0


class EachToOne:
    per_tensor = True

    def feed(self, norms):
        self.fed = norms
        coefs = tuple(1.0 if not norm else min(1.0, 1 / norm) for norm in norms)
        return SimpleNamespace(threshold=1.0, clip_coef=min(coefs), tensor_coefs=coefs, skip=False)


@pytest.mark.parametrize("kind", [torch.Tensor, Subclass])
def test_a_chooser_for_each_gradient_by_itself(kind):
    parameters = [torch.zeros(1), parameter(torch.tensor([6.0, 8.0]).as_subclass(kind))]
    parameters += [torch.zeros(2), parameter(torch.tensor([0.5])), torch.zeros(3)]
    chooser = EachToOne()
    done = gt.Monitor(parameters, chooser).clip_(grad_scale=2.0)
    assert chooser.fed == [None, 5.0, None, 0.25, None]
    torch.testing.assert_close(torch.Tensor(parameters[1].grad), torch.tensor([0.6, 0.8]))
    assert parameters[3].grad.item() == 0.25 and done.clip_coef == 0.2


def test_torch_does_not_overflow_either(monkeypatch):
    grad = torch.full((4,), 3e38).as_subclass(Subclass)
    done = gt.Monitor([parameter(grad)], 1.0).clip_()
    assert done == pytest.approx(6e38) and not done.nonfinite
    torch.testing.assert_close(torch.Tensor(grad), torch.full((4,), 0.5))


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_torch_keeps_the_policies():
    def subclass(*values):
        return parameter(torch.tensor(values).as_subclass(Subclass))

    held = subclass(3.0, math.inf, 4.0)
    with pytest.warns(gradclip.MonitorWarning):
        done = gt.Monitor([held], 1.0, eps=0, nonfinite="zero").clip_()
    assert done == 5.0 and not done.skip
    torch.testing.assert_close(torch.Tensor(held.grad), torch.tensor([0.6, 0.0, 0.8]))
    held = subclass(3.0, math.inf, 4.0)
    with pytest.warns(gradclip.MonitorWarning):
        gt.Monitor([held], 1.0, nonfinite="propagate").clip_()
    assert str(held.grad.tolist()) == "[0.0, nan, 0.0]"
    sparse = parameter(diagonal(math.nan, 1.0).to_sparse_csr())
    with pytest.raises(gradclip.UnsupportedError, match="of 's' has the layout"):
        with pytest.warns(gradclip.MonitorWarning):
            gt.Monitor([sparse], 1.0, names=["s"], nonfinite="zero").clip_()


@pytest.mark.parametrize("grad_scale", [0.0, math.nan])
def test_torch_is_not_asked_with_a_scale_that_is_none(grad_scale):
    held = parameter(torch.ones(2).as_subclass(Subclass))
    with pytest.raises(ValueError, match="grad_scale"):
        gt.Monitor([held], 1.0).clip_(grad_scale=grad_scale)
    assert torch.equal(torch.Tensor(held.grad), torch.ones(2))
