"""examples/in_backward.py: AdaGC inside the backward pass steps as its rule says, in a short form
of what docs/choosers.md tells of, whose table is that of the file beside it."""

import importlib
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import gradclip.torch as gt  # noqa: E402

ROOT = Path(__file__).resolve().parents[4]
EXAMPLES = ROOT / "bindings" / "python" / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="no examples in an installed package")


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("in_backward")


def test_the_page_has_the_table_of_the_file(example):
    found = example.read(EXAMPLES / "data" / "in_backward.csv")
    assert {line.seed for line in found} == {1, 2, 3}
    assert {line.way for line in found} == set(example.WAYS)
    page = (ROOT / "docs" / "choosers.md").read_text(encoding="utf-8")
    assert example.table(found) in page


@pytest.mark.parametrize("way", ["none", "global", "AdaGC", "in backward"])
def test_a_short_run_of_each_way(example, way):
    losses = example.train("recurrent", way, seed=1, steps=30)
    assert len(losses) == 30 and losses == example.train("recurrent", way, seed=1, steps=30)
    (*_, last) = example.lines("recurrent", way, 1, losses)
    assert last.step == 30 and math.isfinite(last.loss)
    assert way == "none" or last.loss < losses[0]


def test_each_tensor_steps_by_its_own_factor_and_not_over_a_nan(example):
    torch.manual_seed(0)
    model, twin = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    parameters = list(model.parameters())

    def sgd(listed):
        return torch.optim.SGD(listed, lr=0.5)

    example.step_in_backward(parameters, sgd)
    adagc = gt.AdaGC(lambda_abs=2**-0.5, warmup_steps=example.WARMUP)
    for step in range(2 * example.WARMUP):
        scale = 50.0 if step == 30 else 1.0  # a spike once the warm-up is over
        x, y = torch.randn(5, 3) * scale, torch.randn(5, 2)
        (model(x) - y).square().mean().backward()
        assert all(parameter.grad is None for parameter in parameters)
        (twin(x) - y).square().mean().backward()
        factors = []
        for index, parameter in enumerate(twin.parameters()):
            factors.append(adagc.feed_tensor(index, parameter.grad))
            if factors[-1] != 1:
                parameter.grad.mul_(factors[-1])
        assert step != 30 or min(factors) < 0.1
        sgd(twin.parameters()).step()
        twin.zero_grad()
        assert all(map(torch.equal, model.parameters(), twin.parameters()))
    before = [parameter.detach().clone() for parameter in parameters]
    (model(torch.ones(1, 3)) * math.nan).sum().backward()
    assert all(map(torch.equal, parameters, before))
