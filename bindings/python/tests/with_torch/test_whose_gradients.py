"""Every function takes a model, named parameters, parameters, an optimizer, groups or a tensor."""

import sys

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402


def model():
    torch.manual_seed(3)
    made = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    (made(torch.ones(5, 3)) ** 2).sum().backward()
    for i, parameter in enumerate(made.parameters()):  # as Opacus leaves them
        generator = torch.Generator().manual_seed(i)
        parameter.grad_sample = torch.randn(6, *parameter.shape, generator=generator)
    return made


GIVEN = {
    "model": lambda m: m,
    "named parameters": lambda m: m.named_parameters(),
    "dictionary": lambda m: dict(m.named_parameters()),
    "parameters": lambda m: m.parameters(),
    "list": lambda m: list(m.parameters()),
    "tuple": lambda m: tuple(m.parameters()),
    "optimizer": lambda m: torch.optim.SGD(m.parameters(), 0.1),
    "groups": lambda m: torch.optim.SGD([{"params": [p]} for p in m.parameters()], 0.1).param_groups,
    "group": lambda m: torch.optim.SGD(m.parameters(), 0.1).param_groups[0],
}
FUNCTIONS = {
    "clip_grad_norm_": lambda given: gt.clip_grad_norm_(given, 0.5),
    "clip_grad_value_": lambda given: gt.clip_grad_value_(given, 0.5),
    "clip_grads_with_norm_": lambda given: gt.clip_grads_with_norm_(given, 0.5, torch.tensor(2.0)),
    "clip_by_norm_": lambda given: gt.clip_by_norm_(given, 0.5),
    "clip_by_block_rms_": lambda given: gt.clip_by_block_rms_(given, 0.5),
    "adaptive_clip_grad": lambda given: gt.adaptive_clip_grad(given, 0.01),
    "dispatch_clip_grad": lambda given: gt.dispatch_clip_grad(given, 0.5),
    "AutoClip": lambda given: gt.AutoClip().clip_(given),
    "AdaGC": lambda given: gt.AdaGC().clip_(given),
    "ZClip": lambda given: gt.ZClip(warmup_steps=1).clip_(given),
    "SkipStep": lambda given: gt.SkipStep().clip_(given),
    "Monitor": lambda given: gt.Monitor(given, 0.5).clip_(),
    "Plan": lambda given: gt.Plan(given).clip_grad_norm_(0.5),
    "inspect": lambda given: gt.inspect(given),
    "clip_per_example": lambda given: gt.clip_per_example(given, 0.5),
}
# What is left: groups are an optimizer's, its param_groups or a dictionary of any of these;
# clip_and_step takes an optimizer; get_total_norm takes gradients, and of what surely holds
# parameters theirs (below).
OTHERS = {"clip_by_group_", "clip_and_step", "get_total_norm", "patch", "Patch"}


def test_no_function_is_left_out():
    assert set(FUNCTIONS) | OTHERS == set(gt.__all__)


def grads(m):
    return [p.grad for p in m.parameters()]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("given", GIVEN)
def test_whatever_holds_parameters_is_taken(given, function):
    mine, theirs = model(), model()
    found = FUNCTIONS[function](GIVEN[given](mine))
    expected = FUNCTIONS[function](list(theirs.parameters()))
    assert all(map(torch.equal, grads(mine), grads(theirs)))
    assert type(found) is type(expected)
    if function == "inspect":
        assert [report.norm for report in found] == [report.norm for report in expected]
    if function == "clip_per_example":
        assert all(map(torch.equal, found.sums, expected.sums)) and found.clipped > 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_tensor_is_a_list_of_one(function):
    mine, theirs = model(), model()
    FUNCTIONS[function](mine[1].weight)
    FUNCTIONS[function]([theirs[1].weight])
    assert all(map(torch.equal, grads(mine), grads(theirs)))


@pytest.mark.parametrize("given", ["optimizer", "groups", "dictionaries"])
def test_groups(given):
    mine, theirs = model(), model()

    def groups(m):
        return [{"params": list(layer.parameters()), "name": f"layer {i}"} for i, layer in enumerate(m)]

    optimizer = torch.optim.SGD(groups(mine), 0.1)
    held = {
        "optimizer": optimizer,
        "groups": optimizer.param_groups,
        "dictionaries": {"layer 0": mine[0], "layer 1": mine[1].named_parameters()},
    }
    norm = gt.clip_by_group_(held[given], {"layer 0": 0.5, "layer 1": 0.25})
    for layer, limit in zip(theirs, (0.5, 0.25)):
        gt.clip_grad_norm_(layer, limit, eps=0)
    assert all(map(torch.equal, grads(mine), grads(theirs)))
    assert set(norm.group_norms) == {"layer 0", "layer 1"}


def test_limits_of_examples_by_name():
    """As gradclip.clip_per_example has them."""
    mine = model()
    limits = {name: 0.1 * (i + 1) for i, (name, _) in enumerate(mine.named_parameters())}
    expected = gt.clip_per_example(list(mine.parameters()), list(limits.values()))
    backwards = dict(reversed(limits.items()))
    for found in (
        gt.clip_per_example(mine, backwards),
        gt.clip_per_example(mine.named_parameters(), backwards),
        gt.clip_per_example(mine.parameters(), backwards, names=limits),
        gt.clip_per_example({n: p.grad_sample for n, p in mine.named_parameters()}, backwards),
    ):
        assert all(map(torch.equal, found.sums, expected.sums))
        assert found.norms == expected.norms
    arrays = {n: p.grad_sample.numpy() for n, p in mine.named_parameters()}
    assert gradclip.clip_per_example(arrays, backwards).factors == expected.factors
    with pytest.raises(ValueError, match=r"max_norm names a gradient that is not there: 'other'"):
        gt.clip_per_example(mine, {**limits, "other": 1.0})
    with pytest.raises(ValueError, match="max_norm has none for the gradient '0.weight'"):
        gt.clip_per_example(mine, {"1.bias": 1.0})
    with pytest.raises(ValueError, match="the gradients have no names"):
        gt.clip_per_example(mine.parameters(), limits)

    mine[0].weight.requires_grad_(False)
    mine[0].weight.grad_sample = None
    del limits["0.weight"]
    found = gt.clip_per_example(mine, limits)  # frozen: its sum is not among them
    assert len(found.sums) == 3
    mine[0].bias.grad_sample = None
    with pytest.raises(TypeError, match=r"grads\[1\] \('0.bias'\) must be a tensor .* \.grad_sample"):
        gt.clip_per_example(mine, 1.0)


def test_over_ranks(tmp_path):
    """gradclip.torch.distributed takes them too."""
    dist = torch.distributed
    from gradclip.torch import distributed

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for given in GIVEN:
            mine, theirs = model(), model()
            expected = gt.get_total_norm([grad.double() for grad in grads(theirs)])
            if given in ("model", "optimizer", "groups"):
                norm = distributed.get_total_norm(GIVEN[given](mine), group=dist.group.WORLD)
                assert norm.equal(expected)
            norm = distributed.clip_grad_norm_(GIVEN[given](mine), 0.5, group=dist.group.WORLD)
            gt.clip_grad_norm_(theirs, 0.5)
            assert norm.equal(expected) and all(map(torch.equal, grads(mine), grads(theirs)))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize("given", GIVEN)
def test_names_come_from_whatever_has_them(given):
    mine = model()
    mine[1].weight.grad[0, 1] = float("nan")
    with pytest.raises(gradclip.NonFiniteGradientError) as error:
        gt.clip_grad_norm_(GIVEN[given](mine), 1.0, error_if_nonfinite=True)
    has_names = given in ("model", "named parameters", "dictionary")
    assert error.value.nonfinite.name == ("1.weight" if has_names else None)
    assert error.value.nonfinite.tensor == 2


def test_the_norm_of_a_models_gradients():
    mine = model()
    expected = gt.get_total_norm(grads(mine))
    for given in ("model", "optimizer", "groups"):
        assert gt.get_total_norm(GIVEN[given](mine)) == expected


def test_inspect_shows_a_model_by_its_names():
    mine = model()
    mine[0].bias.grad.zero_()
    mine[1].bias.grad = None
    shown = gt.inspect(mine)
    assert [report.name for report in shown] == [name for name, _ in mine.named_parameters()]
    assert shown.problems == ["'0.bias' (gradient 1) is all zero"] and shown[3].shape is None
    assert shown.total_norm == gt.get_total_norm(mine).item() or shown.total_norm == pytest.approx(
        gt.get_total_norm(mine).item(), rel=1e-7
    )
    assert shown[0].norm == pytest.approx(mine[0].weight.grad.double().norm().item(), rel=1e-15)
    with pytest.raises(gradclip.UnsupportedError, match="gradient 0 has the layout"):
        weight = torch.nn.Parameter(torch.zeros(2, 2))
        weight.grad = torch.eye(2).to_sparse()
        gt.inspect([weight])


def test_max_norm_may_be_a_chooser():
    mine, theirs = model(), model()
    chooser, same = gradclip.AutoClip(percentile=50), gt.AutoClip(percentile=50)
    for _ in range(3):
        for one in (mine, theirs):
            one.zero_grad()
            (one(torch.rand(5, 3, generator=torch.Generator().manual_seed(4))) ** 2).sum().backward()
        norm = gt.clip_grad_norm_(mine, chooser)
        decision = same.clip_(theirs)
        assert norm.item() == pytest.approx(decision.norm.item(), rel=1e-7)
        assert chooser.last.threshold == decision.threshold
    assert all(map(torch.equal, grads(mine), grads(theirs)))
    mine[0].weight.grad[0, 0] = float("inf")
    before = [grad.clone() for grad in grads(mine)]
    assert not gt.Plan(mine).clip_grad_norm_(chooser).isfinite() and chooser.last.skip
    assert all(map(torch.equal, grads(mine), before))
    with pytest.raises(TypeError, match="max_norm must be a number or one of gradclip's choosers"):
        gt.clip_grad_norm_(mine, type("Mine", (), {"feed": print})())


def test_a_scaler_is_served():
    """As unscale_(), clip_grad_norm_(), step() are; a step that overflows is left out."""
    torch.manual_seed(5)
    results = []
    for ours in (True, False):
        torch.manual_seed(5)
        net = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for step in range(4):
            optimizer.zero_grad()
            x = torch.full((2, 3), float("inf")) if step == 2 else torch.ones(2, 3)
            scaler.scale((net(x) ** 2).sum()).backward()
            if ours:
                norm = gt.clip_and_step(optimizer, 0.1, scaler=scaler)
            else:
                scaler.unscale_(optimizer)
                norm = gt.clip_grad_norm_(net, 0.1)
                scaler.step(optimizer)
            assert bool(norm.isfinite()) == (step != 2)
            scaler.update()
        results.append((*(p.detach() for p in net.parameters()), torch.tensor(scaler.get_scale())))
    assert results[1][2] == 512.0
    for mine, theirs in zip(*results):
        assert torch.equal(mine, theirs)


def test_patch_everywhere_rebinds_what_it_would_only_name():
    from types import ModuleType

    holder = ModuleType("a_trainer")
    original = torch.nn.utils.clip_grad_norm_
    holder.clip = original
    sys.modules["a_trainer"] = holder
    try:
        with pytest.warns(UserWarning, match=r"everywhere=True: .*a_trainer\.clip"):
            with gt.patch() as patched:
                assert holder.clip is original and "a_trainer.clip" in patched.missed
        with gt.patch(everywhere=True) as patched:
            assert holder.clip is gt.clip_grad_norm_ and patched.missed == ()
        assert holder.clip is original and torch.nn.utils.clip_grad_norm_ is original
    finally:
        del sys.modules["a_trainer"]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("given", [None, 3, "ab", [3.0], [torch.ones(1, 1), "x"]], ids=repr)
def test_what_holds_no_parameters_is_refused(given, function):
    argument = "grads" if function == "clip_per_example" else "parameters"
    message = rf"{argument}(\[1\] (is no|must be a) tensor| must be a model, an optimizer)"
    with pytest.raises(TypeError, match=message):
        FUNCTIONS[function](given)


def test_the_norm_of_one_group_is_that_of_its_gradients():
    (group,) = torch.optim.SGD(model().parameters(), lr=0.1).param_groups
    assert gt.get_total_norm(group) == gt.get_total_norm([group]) > 0
    named = {"params": torch.tensor([3.0, 4.0])}  # a gradient of that name
    assert gt.get_total_norm(named) == 5


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_what_torch_cannot_do_either_is_refused_by_name():
    sparse, compressed = torch.nn.Parameter(torch.zeros(3, 3)), torch.eye(3).to_sparse_csr()
    sparse.grad = torch.eye(3).to_sparse()
    with pytest.raises(gradclip.UnsupportedError, match="gradient 0 has the layout torch.sparse_coo"):
        gt.clip_grad_norm_([sparse], 1.0, norm_type=-1)
    compressed = torch.nn.Parameter(compressed)
    compressed.grad = torch.eye(3).to_sparse_csr()
    for call in (
        lambda: gt.clip_grad_norm_([sparse, compressed], 1.0),
        lambda: gt.get_total_norm([compressed.grad]),
        lambda: gt.clip_grad_value_([compressed], 0.5),
        lambda: gt.Plan([compressed]).clip_grad_norm_(1.0),
    ):
        with pytest.raises(gradclip.UnsupportedError, match=r"the layout torch.sparse_csr, and torch"):
            call()


def test_calls_are_shallow():
    """From the call to the library: no more than 15 functions of Python, of 5 modules here."""
    from gradclip._native import ffi

    parameters = list(model().parameters())
    gt.clip_grad_norm_(parameters, 1.0)
    frames = []

    def watch(frame, event, argument):
        if event == "call":
            frames.append(frame.f_code.co_filename)

    real = ffi.gradclip_clip_grad_norm

    def call(*arguments):
        sys.setprofile(None)
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(ffi, "gradclip_clip_grad_norm", call)
        sys.setprofile(watch)
        try:
            gt.clip_grad_norm_(parameters, 1.0)
        finally:
            sys.setprofile(None)
    del frames[-1]  # `call` itself
    assert len(frames) <= 15, "\n".join(frames)
    assert len({name for name in frames if "gradclip" in name}) <= 5, frames
