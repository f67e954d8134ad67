"""Opacus with the lines of docs/methods.md in its place: empty Poisson batches, several backward
passes before a step, and parts of a batch, against Opacus itself."""

import re
import textwrap
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from opacus import GradSampleModule  # noqa: E402
from opacus.data_loader import DPDataLoader  # noqa: E402
from opacus.optimizers import DPOptimizer  # noqa: E402
from torch.utils.data import TensorDataset  # noqa: E402

CLOSE = 1e-12  # of weights in float64, after some steps


def recipe():
    """The optimizer that docs/methods.md has."""
    page = (Path(__file__).parents[4] / "docs" / "methods.md").read_text()
    block = re.search(r"\n\n((?:    .*\n|\n)*    class ExactDPOptimizer\(.*\n(?:    .*\n)*)", page)
    names = {}
    exec(compile(textwrap.dedent(block[1]), "docs/methods.md", "exec"), names)
    return names["ExactDPOptimizer"]


ExactDPOptimizer = recipe()


class Trainer:
    """A small model, whose weights, batches and noise are the same for every kind of optimizer."""

    def __init__(self, kind):
        torch.manual_seed(1)
        net = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
        self.model = GradSampleModule(net.double(), loss_reduction="sum")
        self.optimizer = kind(
            torch.optim.SGD(self.model.parameters(), lr=0.05),
            noise_multiplier=0.5,
            max_grad_norm=0.3,
            expected_batch_size=4,
            generator=torch.Generator().manual_seed(2),
        )

    def backward(self, x, y):
        loss = torch.nn.functional.cross_entropy(self.model(x), y, reduction="sum")
        loss.backward()

    def step(self):
        self.optimizer.step()
        self.optimizer.zero_grad()

    def weights(self):
        return torch.cat([p.detach().reshape(-1) for p in self.model.parameters()]).numpy()


def examples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 6, dtype=torch.float64, generator=generator)
    return x, torch.randint(2, (count,), generator=generator)


def test_training_on_poisson_batches_some_of_them_empty(compared):
    weights, sizes = [], []
    for kind in (DPOptimizer, ExactDPOptimizer):
        trainer = Trainer(kind)
        batches = DPDataLoader(
            TensorDataset(*examples(40, 3)),
            sample_rate=0.05,
            generator=torch.Generator().manual_seed(4),
        )
        for _ in range(3):
            for x, y in batches:
                sizes.append(len(x))
                trainer.backward(x.reshape(-1, 6).double(), y.reshape(-1).long())
                trainer.step()
        weights.append(trainer.weights())
    assert 0 in sizes and max(sizes) > 2, sizes
    assert len(sizes) == 120
    compared("training of Opacus on Poisson batches, empty ones too", weights[1], weights[0], CLOSE)


@pytest.mark.parametrize("counts", [(3, 2), (3, 0), (0, 4), (0, 0), (2, 1, 3)])
def test_several_backward_passes_before_a_step(counts, compared):
    weights = []
    for kind in (DPOptimizer, ExactDPOptimizer):
        trainer = Trainer(kind)
        for step in range(3):
            for i, count in enumerate(counts):
                trainer.backward(*examples(count, 10 * step + i))
            held = next(trainer.model.parameters()).grad_sample
            assert isinstance(held, list) and [len(one) for one in held] == list(counts)
            trainer.step()
        weights.append(trainer.weights())
    what = "training of Opacus with several backward passes a step"
    compared(what, weights[1], weights[0], CLOSE, case=counts)


def test_parts_of_a_batch_are_clipped_as_they_come(compared):
    """What BatchMemoryManager does: all parts but the last are no step."""
    weights = []
    for kind in (DPOptimizer, ExactDPOptimizer):
        trainer = Trainer(kind)
        for step in range(3):
            for part, count in enumerate((4, 0, 3)):
                trainer.backward(*examples(count, 10 * step + part))
                trainer.optimizer.signal_skip_step(do_skip=part < 2)
                trainer.step()
        weights.append(trainer.weights())
    compared("training of Opacus in parts of a batch", weights[1], weights[0], CLOSE)


@pytest.mark.parametrize("kind", [DPOptimizer, ExactDPOptimizer])
def test_examples_that_were_not_cleared_are_refused(kind):
    trainer = Trainer(kind)
    trainer.backward(*examples(3, 1))
    trainer.optimizer.step()
    before = trainer.weights()
    with pytest.raises(ValueError, match="call optimizer.zero_grad"):
        trainer.optimizer.step()
    assert (trainer.weights() == before).all()
