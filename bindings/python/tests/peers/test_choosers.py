"""Choosers against the packages of PyPI they are modelled on: the same decisions, the same state,
step by step over the same gradients, in float64 to 1e-12 and in float32 to 1e-6."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from autoclip.torch import QuantileClip  # noqa: E402
from pytorch_optimizer import AdaGC as PackageAdaGC  # noqa: E402
from streams import norms  # noqa: E402
from zclip import ZClip as PackageZClip  # noqa: E402

import gradclip  # noqa: E402

SEEDS = range(4)
ALLOWED = {torch.float64: 1e-12, torch.float32: 1e-6}
NAMES = {torch.float64: "float64", torch.float32: "float32"}


def gradients(seed, dtype, shapes=((3,), (2, 5), (1,)), length=400):
    """For each step the gradients of some parameters; their total norms are those of norms()."""
    rng = np.random.default_rng(seed + 1000)
    for norm in norms(seed, length):
        made = [rng.normal(size=shape) for shape in shapes]
        scale = norm / math.sqrt(sum(float((grad**2).sum()) for grad in made))
        yield [torch.tensor(grad * scale, dtype=dtype) for grad in made]


def owners_of(dtype, shapes=((3,), (2, 5), (1,))):
    return [torch.nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in shapes]


def give(owners, grads):
    for owner, grad in zip(owners, grads):
        owner.grad = grad.clone()
    return [grad.numpy().copy() for grad in grads]


def flat(arrays):
    return np.concatenate([np.asarray(array, "f8").ravel() for array in arrays])


# ------------------------------------------------------------------------ autoclip --


def rank_rounding(history, quantile):
    """How far torch.quantile is off in float32, where quantile * (n - 1) is rounded to 24 bits."""
    values = sorted(history.tolist())
    rank = int(quantile * (len(values) - 1))
    near = values[max(0, rank - 1) : rank + 3]
    return (near[-1] - near[0]) * len(values) * 2.0**-23


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize(("quantile", "window"), [(0.9, 1000), (0.1, 50), (0.37, 7), (1.0, 1)])
@pytest.mark.parametrize("seed", SEEDS)
def test_autoclip_global_threshold(seed, quantile, window, dtype, compared):
    owners = owners_of(dtype)
    theirs = QuantileClip(owners, quantile, window, global_threshold=True)
    ours = gradclip.AutoClip(100 * quantile, window, threshold_first=True)
    what = f"autoclip, {NAMES[dtype]}: "
    for step, grads in enumerate(gradients(seed, dtype)):
        arrays = give(owners, grads)
        history = theirs.state["global_history"]
        threshold = float(torch.quantile(history, quantile)) if len(history) else math.inf
        theirs.step()
        decision = ours.clip_(arrays)
        allowed = ALLOWED[dtype]
        if dtype == torch.float32 and len(history):
            allowed += rank_rounding(history, quantile) / threshold
        compared(what + "threshold", decision.threshold, threshold, allowed, case=step)
        norm = float(theirs.state["global_history"][-1])
        compared(what + "norm", decision.norm, norm, ALLOWED[dtype], case=step)
        clipped = flat([owner.grad for owner in owners])
        compared(what + "gradients", flat(arrays), clipped, allowed, case=step)


@pytest.mark.parametrize("seed", SEEDS)
def test_autoclip_one_for_each_parameter(seed, compared):
    owners = owners_of(torch.float64)
    theirs = QuantileClip(owners)
    ours = [gradclip.AutoClip(90, 1000, threshold_first=True) for _ in owners]
    for step, grads in enumerate(gradients(seed, torch.float64)):
        arrays = give(owners, grads)
        theirs.step()
        for chooser, array in zip(ours, arrays):
            chooser.clip_(array)
        clipped = flat([owner.grad for owner in owners])
        compared("autoclip, each parameter: gradients", flat(arrays), clipped, 1e-12, case=step)


# --------------------------------------------------------------------------- zclip --


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"max_grad_norm": None},
        {"max_grad_norm": None, "clip_option": "mean", "skip_update_on_spike": True},
        {"max_grad_norm": None, "mode": "percentile", "z_thresh": 1.5},
        {"alpha": 0.9, "warmup_steps": 3, "clip_factor": 0.7, "max_grad_norm": 2.0},
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_zclip(seed, settings, dtype, compared):
    model = torch.nn.ParameterList(owners_of(dtype))
    owners = list(model)
    theirs = PackageZClip(**settings)
    options = dict(settings)
    cap = options.pop("max_grad_norm", 1.0)
    mode = {"percentile": "percentile"}.get(options.pop("mode", ""), None)
    mode = mode or {"mean": "mean"}.get(options.pop("clip_option", ""), "adaptive")
    ours = gradclip.ZClip(**options, mode=mode, max_norm=math.inf if cap is None else cap)
    what = f"zclip, {NAMES[dtype]}: "
    allowed = ALLOWED[dtype]
    for step, grads in enumerate(gradients(seed, dtype)):
        arrays = give(owners, grads)
        norm = theirs.step(model)
        decision = ours.clip_(arrays)
        compared(what + "norm", decision.norm, norm, ALLOWED[dtype], case=step)
        if theirs.initialized:
            compared(what + "mean", decision.mean, theirs.mean, allowed, case=step)
            # (Of differences between norms, which each have the rounding of theirs.)
            variance, more = decision.deviation**2, 1 if dtype == torch.float64 else 5
            compared(what + "variance", variance, theirs.var, more * allowed, case=step)
        clipped = flat([owner.grad for owner in owners])
        compared(what + "gradients", flat(arrays), clipped, allowed, case=step)


# --------------------------------------------------------------------------- AdaGC --


@pytest.mark.parametrize("dtype", ALLOWED)
@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beta": 0.9, "lambda_rel": 1.5, "lambda_abs": 3.0, "warmup_steps": 5},
        {"lambda_abs": 1e9},
        {"beta": 0.5, "lambda_abs": 1e9, "warmup_steps": 0},
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_adagc(seed, settings, foreach, dtype, compared):
    owners = owners_of(dtype)
    # With beta1 = 0 the first moment is the clipped gradient.
    theirs = PackageAdaGC(owners, betas=(0.0, 0.999), weight_decay=0.0, foreach=foreach, **settings)
    ours = gradclip.AdaGC(**settings)
    # The package adds up the total norm in float32, whatever the gradients are: that shows where
    # the warm-up clips, and in gamma after it. Of float32 gradients gamma itself is float32, and
    # has the roundings of hundreds of steps.
    in_float64 = dtype == torch.float64 and settings.get("lambda_abs") == 1e9
    what = "AdaGC, float64: " if in_float64 else "AdaGC, float32 norms: "
    allowed = 1e-12 if in_float64 else 1e-6 if dtype == torch.float64 else 5e-6
    gammas = None
    for step, grads in enumerate(gradients(seed, dtype)):
        arrays = give(owners, grads)
        theirs.step()
        decision = ours.clip_(arrays)
        if math.isfinite(decision.tensor_thresholds[0]):
            expected = [ours._settings["lambda_rel"] * gamma for gamma in gammas]
            compared(what + "thresholds", decision.tensor_thresholds, expected, allowed, case=step)
        clipped = flat([theirs.state[owner]["exp_avg"] for owner in owners])
        compared(what + "gradients", flat(arrays), clipped, allowed, case=step)
        gammas = [float(theirs.state[owner]["gamma"]) for owner in owners]


# ------------------------------------------------------- what one NaN does to them --


def test_one_nan_breaks_the_packages_and_not_ours(finding):
    with_nan = [1.0, 2.0, float("nan"), 1.5, 1.2, 1.0]

    owner = torch.nn.Parameter(torch.zeros(1))
    theirs, ours = QuantileClip([owner], global_threshold=True), gradclip.AutoClip()
    broken = []
    for norm in with_nan:
        owner.grad = torch.tensor([norm])
        theirs.step()
        broken.append(bool(torch.isnan(owner.grad).any()))
        assert ours.feed(norm).skip == math.isnan(norm)
    assert broken == [False, False, True, True, True, True]
    finding("autoclip: after one NaN every later gradient becomes NaN; here it never enters")

    model = torch.nn.ParameterList([owner])
    zclip, zours = PackageZClip(warmup_steps=2, max_grad_norm=None), gradclip.ZClip(warmup_steps=2)
    for norm in [*with_nan, 500.0]:
        owner.grad = torch.tensor([norm])
        zclip.step(model)
        decision = zours.feed(norm)
    assert math.isnan(zclip.mean) and float(owner.grad) == 500.0
    assert decision.clipped and decision.mean < 3
    finding("zclip: after one NaN it never clips again; here it never enters")

    adagc, aours = PackageAdaGC([owner], warmup_steps=1), gradclip.AdaGC(warmup_steps=1)
    for norm in with_nan:
        owner.grad = torch.tensor([norm])
        adagc.step()
        decision = aours.feed(norm)
    assert math.isnan(float(adagc.state[owner]["gamma"]))
    assert math.isfinite(decision.tensor_thresholds[0])
    finding("AdaGC of pytorch_optimizer: after one NaN gamma stays NaN; here it never enters")
