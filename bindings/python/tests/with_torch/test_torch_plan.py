"""Plan for parameters: follows gradients that every step replaces, with the functions' results."""

import gc
import math
import random
import weakref

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402


def model():
    torch.manual_seed(8)
    return torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))


def backward(net, step, set_to_none):
    net.zero_grad(set_to_none=set_to_none)
    torch.manual_seed(step)
    net(torch.randn(11, 5)).square().sum().backward()


def bits(net):
    return [None if p.grad is None else p.grad.numpy().tobytes() for p in net.parameters()]


@pytest.mark.parametrize("set_to_none", [True, False])
def test_every_step_has_the_results_of_the_functions(set_to_none):
    net, twin = model(), model()
    plan = gt.Plan(net.parameters())
    hostages = []
    for step in range(20):
        for n in (net, twin):
            backward(n, step, set_to_none)
        hostages.append([p.grad for p in net.parameters()])  # so that new ones lie elsewhere
        grads = [p.grad for p in twin.parameters()]
        assert plan.get_total_norm() == gt.get_total_norm(grads)
        norm = gt.clip_grad_norm_(twin.parameters(), 0.7)
        assert plan.clip_grad_norm_(0.7) == norm and norm > 0.7
        assert bits(net) == bits(twin)
        plan.clip_grads_with_norm_(0.3, torch.tensor(0.7))
        gt.clip_grads_with_norm_(twin.parameters(), 0.3, torch.tensor(0.7))
        assert bits(net) == bits(twin)
        plan.clip_grad_value_(0.02)
        gt.clip_grad_value_(twin.parameters(), 0.02)
        assert bits(net) == bits(twin)


CHANGES = {
    "gone": lambda p: setattr(p, "grad", None),
    "other memory format": lambda p: setattr(p, "grad", p.grad.t().contiguous().t()),
    "with gaps": lambda p: setattr(p, "grad", torch.cat([p.grad, p.grad], 1)[:, : p.shape[1]]),
    "wider": lambda p: (
        setattr(p, "grad", None),
        setattr(p, "data", torch.ones(9, 9)),
        setattr(p, "grad", torch.ones(9, 9)),
    ),
    "double": lambda p: (
        setattr(p, "grad", None),
        setattr(p, "data", p.data.double()),
        setattr(p, "grad", torch.ones_like(p)),
    ),
    "empty": lambda p: (
        setattr(p, "grad", None),
        setattr(p, "data", torch.ones(0)),
        setattr(p, "grad", torch.ones(0)),
    ),
}


def test_gradients_that_change_in_other_ways_between_steps():
    """Whatever the plan remembers, the gradients are looked at."""
    rng = random.Random(9)
    for _ in range(60):
        parameters = [torch.nn.Parameter(torch.zeros(4, 6)) for _ in range(5)]
        plan = gt.Plan(parameters)
        for _ in range(4):
            for p in parameters:
                p.grad = torch.randn(p.shape, dtype=p.dtype)
            changes = []
            for p in parameters:
                if rng.random() < 0.3 and p.shape == (4, 6):
                    name = rng.choice(list(CHANGES))
                    changes.append(name)
                    CHANGES[name](p)
            twins = [torch.zeros_like(p) for p in parameters]
            for p, twin in zip(parameters, twins):
                twin.grad = None if p.grad is None else p.grad.clone()
            norm = gt.clip_grad_norm_(twins, 1.0)
            assert torch.equal(plan.clip_grad_norm_(1.0), norm), changes
            for p, twin in zip(parameters, twins):
                assert (p.grad is None) == (twin.grad is None)
                assert p.grad is None or torch.equal(p.grad, twin.grad), changes


class Subclass(torch.Tensor):
    pass


def test_what_is_for_torch_goes_there_in_the_step_where_it_is():
    weight, other = torch.nn.Parameter(torch.eye(3)), torch.nn.Parameter(torch.ones(2))
    plan = gt.Plan([weight, other], names=["weight", "other"])
    weight.grad, other.grad = torch.eye(3), torch.ones(2)
    assert plan.clip_grad_value_(0.5) is None and weight.grad.max() == 0.5
    weight.grad = torch.eye(3).as_subclass(Subclass)
    assert plan.clip_grad_norm_(1e9) == pytest.approx(3.5**0.5)
    with pytest.raises(gradclip.UnsupportedError, match="gradient 0 is of the type"):
        plan.get_total_norm(nonfinite="zero")
    weight.grad = torch.full((3, 3), 2.0)
    assert plan.clip_grad_norm_(100.0, 1.0) == 19


def test_parameters_that_come_to_share_a_gradient_count_once():
    a, b = torch.zeros(1), torch.zeros(1)
    plan = gt.Plan([a, b])
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert plan.get_total_norm() == 5
    b.grad = a.grad
    assert plan.get_total_norm() == 3
    b.grad = torch.tensor([4.0])
    assert plan.get_total_norm() == 5


def test_gradients_are_not_kept_alive():
    weight = torch.zeros(2)
    weight.grad = torch.tensor([3.0, 4.0])
    plan = gt.Plan([weight])
    watch = weakref.ref(weight.grad)
    assert plan.clip_grad_norm_(1.0) == 5
    weight.grad = None
    gc.collect()
    assert watch() is None
    assert plan.clip_grad_norm_(1.0) == 0


def test_other_functions_take_a_plan():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    plan = gt.Plan([weight], names=["w"])
    calls = {
        "clip_by_norm_": lambda given: gt.clip_by_norm_(given, {"w": 1.0}).clip_coefs,
        "adaptive_clip_grad": lambda given: gt.adaptive_clip_grad(given, exclude=["w"]),
        "clip_by_group_": lambda given: gt.clip_by_group_({"all": given}, 1.0).group_norms,
        "inspect": lambda given: str(gt.inspect(given)),
        "AutoClip": lambda given: gt.AutoClip().clip_(given).norm,
        "Monitor": lambda given: gt.Monitor(given, 1.0, optimizer=optimizer).clip_(),
        "get_total_norm": gt.get_total_norm,
    }
    for name, call in calls.items():
        found = []
        for given in (plan, {"w": weight}.items()):
            weight.grad = torch.tensor([3.0, -4.0])
            is_gradients = name == "get_total_norm" and given is not plan
            found.append((call([weight.grad] if is_gradients else given), weight.grad.tolist()))
        assert found[0] == found[1], name
    with pytest.raises(TypeError, match="names must be None for a Plan"):
        plan.clip_grad_norm_(1.0, names=["other"])


def test_errors_and_description():
    weight = torch.zeros(2)
    plan = gt.Plan(iter([torch.zeros(1), weight]), names=["a", "b"])
    assert len(plan) == 2 and repr(plan) == "<gradclip.torch.Plan of 2 parameters>"
    weight.grad = torch.tensor([1.0, math.inf])
    with pytest.raises(gradclip.NonFiniteGradientError, match=r"of 'b' \(parameter 1\)"):
        plan.clip_grad_norm_(1.0, error_if_nonfinite=True)
    assert len(gt.Plan(weight)) == 1
    with pytest.raises(TypeError, match=r"parameters\[1\] is no tensor \(got 'x'\)"):
        gt.Plan([weight, "x"])
    with pytest.raises(ValueError, match="one name a parameter"):
        gt.Plan([weight], names=[])
