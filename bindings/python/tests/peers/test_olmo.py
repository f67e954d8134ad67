"""SkipStep against OLMo-core's SkipStepOptimizer: the same steps are skipped, by the same mean and
standard deviation."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from olmo_core.optim.skip_step_optimizer import SkipStepOptimizer  # noqa: E402
from streams import norms  # noqa: E402

import gradclip  # noqa: E402


def optimizer(window, sigma_factor):
    weight = torch.nn.Parameter(torch.zeros(1))
    return SkipStepOptimizer([weight], {}, window, sigma_factor)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("window", "sigma_factor"), [(128, 6), (16, 3), (32, 2), (9, 4)])
@pytest.mark.parametrize("with_norms", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_skips_the_same_steps(seed, with_norms, window, sigma_factor, dtype, compared):
    theirs, ours = optimizer(window, sigma_factor), gradclip.SkipStep(window, sigma_factor)
    losses = norms(seed + 50) + np.random.default_rng(seed).normal(size=400)
    name, allowed = ("float64", 1e-12) if dtype == torch.float64 else ("float32", 1e-6)
    skipped = 0
    for step, (norm, loss) in enumerate(zip(norms(seed), losses)):
        loss_of, norm_of = (torch.tensor(x, dtype=dtype) for x in (loss, norm))
        theirs.latest_loss = loss_of
        if with_norms:
            theirs.latest_grad_norm = norm_of
            decision = ours.feed(float(norm_of), loss=float(loss_of))
        else:
            decision = ours.feed(1.0, loss=float(loss_of))
        assert decision.skip == (float(theirs.get_step_factor()) == 0.0), step
        skipped += decision.skip
        if with_norms and math.isfinite(decision.threshold):
            deviation, mean = torch.std_mean(torch.stack(theirs._grad_norms[:-1]))
            compared(f"SkipStep, {name}: mean", decision.mean, float(mean), allowed, case=step)
            kind = f"SkipStep, {name}: deviation"
            compared(kind, decision.deviation, float(deviation), allowed, case=step)
    assert skipped > 0


@pytest.mark.filterwarnings("ignore:std_mean")
def test_one_nan_and_two_losses(finding):
    theirs, ours = optimizer(8, 6), gradclip.SkipStep(8, 6)
    for loss in [1.0, 1.1, 0.9, float("nan"), 1.0, 1.1]:
        theirs.latest_loss = torch.tensor(loss)
        decision = ours.feed(1.0, loss=loss)
    assert float(theirs.get_step_factor()) == 0.0 and not decision.skip
    finding("OLMo-core skips every step while a NaN is among its last losses; here it never enters")
    theirs, ours = optimizer(2, 6), gradclip.SkipStep(2, 6)
    for loss in (1.0, 1.0):
        theirs.latest_loss = torch.tensor(loss)
        decision = ours.feed(1.0, loss=loss)
    assert float(theirs.get_step_factor()) == 0.0 and not decision.skip
    finding("OLMo-core with a window of 2 or 3 skips the second step, for want of a deviation")
