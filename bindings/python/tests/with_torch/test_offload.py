"""examples/offload.py: gradients that arrive in chunks are clipped as a whole would be."""

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


@pytest.mark.parametrize("max_norm", [0.01, 1e9])
def test_steps_are_those_of_clip_grad_norm(offload, max_norm):
    torch.manual_seed(1)
    ours = offload.Offload([1000, 70], chunk=64, rate=1e12)
    twins = [torch.nn.Parameter(parameter.detach().clone()) for parameter in ours.parameters]
    optimizer = torch.optim.AdamW(twins, lr=1e-4, fused=True)
    for _ in range(3):
        for twin, grad in zip(twins, ours.there):
            twin.grad = grad.clone()
        norm = ours.step(max_norm)
        assert torch.tensor(norm).equal(gt.clip_grad_norm_(twins, max_norm))
        assert norm.clipped == (max_norm == 0.01)
        optimizer.step()
        for parameter, twin in zip(ours.parameters, twins):
            torch.testing.assert_close(parameter, twin)
    ours.there[1][69] = float("nan")
    before = [parameter.detach().clone() for parameter in ours.parameters]
    norm = ours.step(max_norm)
    assert norm.nonfinite.tensor == 1 and all(map(torch.equal, ours.parameters, before))


def test_the_page_has_the_table_of_the_file(offload):
    docs = EXAMPLE.parents[3] / "docs"
    found = offload.read(docs / "data" / "offload.csv")
    assert offload.table(found) in (docs / "scaling.md").read_text(encoding="utf-8")
    for rate in (0.5, 1.0, 2.0, 4.0):
        assert offload.quotient(found, rate, "nothing to clip", "without") <= 1.02
        assert offload.quotient(found, rate, "clipped", "without, scaled") <= 1.02
