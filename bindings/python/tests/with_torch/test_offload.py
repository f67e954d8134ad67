"""examples/offload.py: gradients that arrive in chunks are clipped as a whole would be."""

import copy
import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import gradclip.torch as gt  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "offload.py"


pytestmark = pytest.mark.skipif(not EXAMPLE.exists(), reason="no examples in an installed package")


@pytest.fixture
def offload():
    spec = importlib.util.spec_from_file_location("offload", EXAMPLE)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize("by_torch", [False, True])
@pytest.mark.parametrize("max_norm", [0.01, 1e9])
def test_steps_are_those_of_clip_grad_norm(offload, max_norm, by_torch):
    torch.manual_seed(1)
    ours = offload.Offload([1000, 70], chunk=64, rate=1e12)
    twins = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours.parameters]
    optimizer = torch.optim.AdamW(twins, lr=1e-4, fused=True)
    for _ in range(3):
        for twin, grad in zip(twins, ours.there):
            twin.grad = grad.clone()
        norm = ours.step(max_norm, by_torch)
        assert torch.tensor(norm).equal(gt.clip_grad_norm_(twins, max_norm))
        assert norm.clipped == (max_norm == 0.01)
        optimizer.step()
        assert ours.optimizer.optimizer.grad_scale is None  # for the next step
        for parameter, twin in zip(ours.parameters, twins):
            torch.testing.assert_close(parameter, twin)
    ours.there[1][69] = float("nan")
    before = [parameter.detach().clone() for parameter in ours.parameters]
    norm = ours.step(max_norm, by_torch)
    assert norm.nonfinite.tensor == 1 and all(map(torch.equal, ours.parameters, before))


class Twins:
    """The same two groups of parameters three times: under DeferredAdamW, under AdamW with
    gradients that were multiplied, and in float64."""

    def __init__(self, deferred_adamw, fused):
        torch.manual_seed(2)
        starts = [torch.randn(size) / 50 for size in (300, 40)]
        self.copies = [
            [torch.nn.Parameter(start.to(dtype, copy=True)) for start in starts]
            for dtype in (torch.float32, torch.float32, torch.float64)
        ]
        adamws = []
        for dense, head in self.copies:
            groups = [
                {"params": [dense], "weight_decay": 0.1},
                {"params": [head], "lr": torch.tensor(0.03), "betas": (0.8, 0.95)},
            ]
            adamws.append(torch.optim.AdamW(groups, lr=1e-2, fused=fused))
        self.optimizers = [deferred_adamw(adamws[0]), *adamws[1:]]

    def step(self, factor, without=()):
        grads = [torch.randn(size) * 0.3 / factor for size in (300, 40)]
        for number in without:
            grads[number] = None
        for parameters, optimizer in zip(self.copies, self.optimizers):
            deferred = optimizer is self.optimizers[0]
            for parameter, grad in zip(parameters, grads):
                parameter.grad = None if grad is None else grad.to(parameter.dtype, copy=True)
                if grad is not None and not deferred:
                    parameter.grad.mul_(factor)
            optimizer.step(factor) if deferred else optimizer.step()

    def errors(self):
        """The largest errors of float32's, deferred and multiplied."""
        exact = torch.cat(self.copies[2])
        return [float((torch.cat(ours) - exact).detach().abs().max()) for ours in self.copies[:2]]


# Each clipped alone, in a row, by more than float32 can take up (1e-4, 1e-9), at first and at last.
FACTORS = {
    "now and then": [1, 0.5, 1, 1, 0.01, 1e-4, 1, 0.9, 0.002, 1e-9] * 30,
    "always": [0.0011] * 300,
    "at first": [0.0011] * 100 + [1] * 200,
    "at last": [1] * 200 + [0.0011] * 100,
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("factors", FACTORS.values(), ids=list(FACTORS))
def test_deferred_adamw_is_as_exact_as_multiplied_gradients(offload, factors, fused):
    twins = Twins(offload.DeferredAdamW, fused)
    for factor in factors:
        twins.step(factor)
    deferred, multiplied = twins.errors()
    assert deferred < 2 * multiplied < 1e-4


def test_deferred_adamw_is_adamw_where_nothing_is_clipped(offload):
    twins = Twins(offload.DeferredAdamW, fused=True)
    for _ in range(20):
        twins.step(1.0)
    assert all(map(torch.equal, twins.copies[0], twins.copies[1]))


def test_deferred_adamw_is_saved_with_the_state_of_its_optimizer(offload):
    was, resumed = (Twins(offload.DeferredAdamW, fused=True) for _ in range(2))
    for factor in (0.5, 0.01, 1):
        was.step(factor)
    adamw = resumed.optimizers[0].optimizer
    adamw.load_state_dict(copy.deepcopy(was.optimizers[0].optimizer.state_dict()))
    with torch.no_grad():
        for new, old in zip(resumed.copies[0], was.copies[0]):
            new.copy_(old)
    for twins in (was, resumed):
        torch.manual_seed(3)
        twins.step(0.3)
    assert all(map(torch.equal, was.copies[0], resumed.copies[0]))
    dense, head = adamw.param_groups
    assert (dense["betas"], dense["lr"], dense["weight_decay"]) == ((0.9, 0.999), 1e-2, 0.1)
    assert head["betas"] == (0.8, 0.95) and head["lr"].equal(torch.tensor(0.03))


def test_what_deferred_adamw_refuses_before_it_writes(offload):
    weights = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    adamw = torch.optim.AdamW(weights[:2], fused=True)
    deferred = offload.DeferredAdamW(adamw)

    def refused(message, factor=0.5, grads=(1.0, 1.0, 1.0)):
        for weight, grad in zip(weights, grads):
            weight.grad = None if grad is None else torch.full((2,), grad)
        before = copy.deepcopy((weights, adamw.state_dict()))
        with pytest.raises(ValueError, match=message):
            deferred.step(factor)
        assert str((weights, adamw.state_dict())) == str(before)
        assert [w.grad is None for w in weights] == [grad is None for grad in grads]

    with pytest.raises(TypeError, match="SGD is not torch.optim.AdamW"):
        offload.DeferredAdamW(torch.optim.SGD(weights, lr=1))
    for factor in (0.0, -1.0, 1.5, float("inf"), float("nan")):
        refused(f"factor is {factor}", factor)
    deferred.step(0.5)
    refused("has no gradient", grads=(1.0, None, 1.0))
    refused("has no gradient", 1.0, grads=(None, 1.0, 1.0))
    adamw.param_groups[0]["params"].append(weights[2])
    refused(r"have made \[0, 1\] steps")
    adamw.param_groups[0]["params"].pop()
    adamw.add_param_group({"params": weights[2:], "amsgrad": True})
    refused("amsgrad=True")


def test_a_step_that_fails_leaves_deferred_adamw_as_it_was(offload):
    twins = Twins(offload.DeferredAdamW, fused=True)
    twins.step(0.5)
    adamw = twins.optimizers[0].optimizer
    before = str(adamw.state_dict())

    def fail(*_):
        raise RuntimeError("no")

    hook = adamw.register_step_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no"):
        twins.optimizers[0].step(0.1)
    hook.remove()
    assert str(adamw.state_dict()) == before


def test_a_chunk_that_fails_ends_the_step(offload, monkeypatch):
    ours = offload.Offload([1000, 70], chunk=64, rate=1e12)
    before = [parameter.detach().clone() for parameter in ours.parameters]

    def fail(self, *_, **__):
        raise MemoryError("third chunk")

    with monkeypatch.context() as patched:
        patched.setattr(offload.gradclip.Accumulator, "add", fail)
        with pytest.raises(MemoryError, match="third chunk"):
            ours.step(1.0)
    ours.there[0] = torch.ones(999)  # too short
    with pytest.raises(ValueError):
        ours.step(1.0)
    assert all(map(torch.equal, ours.parameters, before))


@pytest.mark.parametrize(
    "arguments",
    (["--rates", "0"], ["--rates", "nan"], ["--chunk", "-5"], ["--million", "0"], ["--steps", "0"]),
)
def test_arguments_out_of_range_are_named(offload, monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.argv", ["offload.py", *arguments])
    with pytest.raises(SystemExit):
        offload.main()
    assert f"{arguments[0]}: {arguments[1]} is not a number above 0" in capsys.readouterr().err


def test_a_group_without_gradients_waits(offload):
    twins = Twins(offload.DeferredAdamW, fused=True)
    for factor, idle in ((0.5, False), (0.1, True), (0.3, True), (1.0, False), (0.2, False)):
        twins.step(factor, without=(1,) if idle else ())
    deferred, multiplied = twins.errors()
    assert deferred < 2 * multiplied < 1e-4


def test_the_page_has_the_table_of_the_file(offload):
    docs = EXAMPLE.parents[3] / "docs"
    found = offload.read(docs / "data" / "offload.csv")
    assert offload.table(found) in (docs / "scaling.md").read_text(encoding="utf-8")
    for rate in (0.5, 1.0, 2.0, 4.0, 8.0):
        assert offload.quotient(found, rate, "nothing to clip") <= 1.02
        assert offload.quotient(found, rate, "clipped") <= 1.02
