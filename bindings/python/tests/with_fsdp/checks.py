"""torchrun --nproc-per-node N checks.py: DTensors in CPU memory under gradclip.torch.patch().

fully_shard with CPUOffloadPolicy, and what tensor, expert and pipeline parallelism leave:
torch's own names are called, as torchtitan, accelerate and axolotl do. The norm is compared,
to the bit, with one call on the gradients as a whole.
"""

import math
import os
import random
import warnings

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn import utils

import gradclip
import gradclip.torch

torch.set_num_threads(1)
dist.init_process_group("gloo")
RANK, RANKS = dist.get_rank(), dist.get_world_size()
OFFLOAD = CPUOffloadPolicy(pin_memory=False)
TORCHS = {name: getattr(utils, name) for name in ("clip_grad_norm_", "get_total_norm")}


def seeded(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def with_grad(grad):
    parameter = torch.nn.Parameter(torch.zeros_like(grad))
    parameter.grad = grad
    return parameter


def full(grad):
    return grad.full_tensor() if isinstance(grad, DTensor) else grad


def raises(kind, text, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except kind as error:
        assert text in str(error), error
        return
    raise AssertionError(f"no {kind.__name__}")


def agree(value):
    """All ranks have the same, to the bit."""
    everyones = [None] * RANKS
    dist.all_gather_object(everyones, float(value).hex())
    assert len(set(everyones)) == 1, everyones


def check(parameters, whole=None, max_norm=0.01):
    """One norm through torch's names, and the gradients scaled by it. `whole`: those of all."""
    if whole is None:
        whole = [full(parameter.grad).clone() for parameter in parameters]
    grads = [parameter.grad for parameter in parameters]
    for p in (1.0, 2.0, math.inf, 3.0):
        norm = utils.get_total_norm(grads, p)
        expected = gradclip.get_total_norm([grad.numpy() for grad in whole], p, exact_f64=True)
        wide = any(grad.dtype == torch.float64 for grad in whole)
        one = torch.tensor(expected, dtype=torch.float64 if wide else torch.float32)
        assert type(norm) is torch.Tensor and norm.dtype == one.dtype
        if p == 3.0:
            torch.testing.assert_close(norm, one)
        else:
            assert norm.equal(one), (p, norm, one)
        agree(norm)
    references = [with_grad(grad.clone()) for grad in whole]
    expected = gradclip.torch.clip_grad_norm_(references, max_norm)
    norm = utils.clip_grad_norm_(parameters, max_norm)
    assert norm.equal(expected) and norm > max_norm
    after = [full(parameter.grad) for parameter in parameters]
    for mine in after:
        assert any(mine.equal(reference.grad) for reference in references)
    return norm


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3), torch.nn.Linear(3, 1)
    )


def backward(model, **keywords):
    reference = net()
    for layer in (model[0], model[2], model):
        fully_shard(layer, offload_policy=OFFLOAD, **keywords)
    for one in (model, reference):
        one(seeded(4, 5)).square().mean().backward()
    parameters = list(model.parameters())
    for parameter, other in zip(parameters, reference.parameters()):
        assert parameter.grad.device.type == "cpu"
        torch.testing.assert_close(full(parameter.grad), other.grad)
    return parameters


# ------------------------------------------------------------------------ meshes --


def offloaded(*meshes):
    """The same bits for any mesh."""
    norms = {check(backward(net(), mesh=mesh)).item() for mesh in meshes}
    assert len(norms) == 1
    return norms.pop()


def torchs_own_norm_of_two_meshes():
    """torch refuses to put norms of two meshes together; here they are one norm."""
    if RANKS != 4:
        return
    one = init_device_mesh("cpu", (4,), mesh_dim_names=("all",))
    two = init_device_mesh("cpu", (2, 2), mesh_dim_names=("expert", "shard"))
    dense, experts = seeded(9, 3, seed=1), seeded(6, 4, 5, seed=2)

    def parameters():
        return [
            with_grad(distribute_tensor(dense.clone(), one, [Shard(0)])),
            with_grad(distribute_tensor(experts.clone(), two, [Shard(0), Shard(1)])),
            with_grad(distribute_tensor(seeded(5, seed=3), two["shard"], [Replicate()])),
        ]

    raises(Exception, "", TORCHS["clip_grad_norm_"], parameters(), 0.01)
    check(parameters())


def random_meshes():
    """DTensors on any meshes, sharded, replicated and uneven, some empty on some ranks."""
    rng = random.Random(29)
    layouts = [init_device_mesh("cpu", (RANKS,))]
    if RANKS == 4:
        layouts.append(init_device_mesh("cpu", (2, 2)))
    seen = set()
    for case in range(12):
        whole = [
            seeded(*(rng.randrange(1, 6) for _ in range(3)), seed=100 * case + i) for i in range(5)
        ]
        for _ in range(3):
            parameters = []
            for grad in whole:
                mesh = rng.choice(layouts)
                placements = [
                    rng.choice([Shard(0), Shard(1), Shard(2), Replicate()])
                    for _ in range(mesh.ndim)
                ]
                parameters.append(with_grad(distribute_tensor(grad.clone(), mesh, placements)))
            seen.add(check(parameters, whole).item())
    assert len(seen) == 12


def plain_tensors_beside_dtensors():
    mesh = init_device_mesh("cpu", (RANKS,))
    whole = [seeded(7, 2, seed=1), seeded(4, seed=2)]
    parameters = [
        with_grad(distribute_tensor(whole[0].clone(), mesh, [Shard(0)])),
        with_grad(whole[1].clone()),
    ]
    check(parameters, whole)
    if RANKS == 1:
        return
    # Ranks that do not have the same plain gradient: nobody clips.
    parameters = [
        with_grad(distribute_tensor(whole[0].clone(), mesh, [Shard(0)])),
        with_grad(whole[1] + RANK),
    ]
    raises(gradclip.InvalidArgumentError, "disagree", utils.clip_grad_norm_, parameters, 0.01)
    assert parameters[1].grad.equal(whole[1] + RANK) and full(parameters[0].grad).equal(whole[0])


def expert_parallelism():
    """Experts that saw no token on some ranks: their .grad is None there, on all for one."""
    mesh = init_device_mesh("cpu", (RANKS,))
    whole = seeded(8, 3, seed=4)
    idle = torch.nn.Parameter(distribute_tensor(torch.zeros(4), mesh, [Shard(0)]))
    parameters = [idle, with_grad(distribute_tensor(whole.clone(), mesh, [Shard(0)]))]
    expected = gradclip.torch.get_total_norm([whole])
    assert utils.clip_grad_norm_(parameters, 0.01).equal(expected) and idle.grad is None
    # This rank's expert had work, the others' did not.
    shard = DTensor.from_local(torch.full((2,), 3.0), mesh, [Shard(0)], run_check=False)
    mine = with_grad(shard)
    if RANK:
        mine.grad = None
    assert utils.clip_grad_norm_([mine], 1.0).item() == torch.tensor([3.0, 3.0]).norm().item()


def pipeline_parallelism():
    """As torchtitan does it: each stage's norm, and one more message of the program's own."""
    if RANKS != 4:
        return
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("stage", "shard"))
    stages = [seeded(5, 3, seed=10 + stage) for stage in range(2)]
    mine = with_grad(distribute_tensor(stages[RANK // 2].clone(), mesh["shard"], [Shard(0)]))
    norm = utils.get_total_norm([mine.grad])
    assert norm.equal(gradclip.torch.get_total_norm([stages[RANK // 2]]))
    total = norm**2
    dist.all_reduce(total, group=mesh["stage"].get_group())
    total **= 0.5
    torch.testing.assert_close(total, gradclip.torch.get_total_norm(stages))
    utils.clip_grads_with_norm_([mine], 0.5, total)
    torch.testing.assert_close(full(mine.grad), stages[RANK // 2] * (0.5 / total))


# ------------------------------------------------------- all that goes by a norm of all --


def shards(seed=7):
    """Parameters that are sharded, and what they are as a whole."""
    mesh = init_device_mesh("cpu", (RANKS,))
    whole = [seeded(9, 3, seed=seed), seeded(5, seed=seed + 1)]
    return [with_grad(distribute_tensor(grad.clone(), mesh, [Shard(0)])) for grad in whole], whole


def same_grads(parameters, references):
    for parameter, reference in zip(parameters, references):
        assert full(parameter.grad).equal(reference.grad)


def choosers():
    """As max_norm, by their own clip_, and in a Monitor: they decide as on one rank, to the bit."""
    gt = gradclip.torch
    for make in (
        lambda: gt.AutoClip(percentile=50),
        lambda: gt.ZClip(warmup_steps=2),
        lambda: gt.SkipStep(window=2),
    ):
        mine, theirs = [make() for _ in range(4)], [make() for _ in range(4)]
        plans = {}
        for step in range(5):
            for i in range(4):
                parameters, whole = shards(seed=step)
                for parameter in parameters:
                    parameter.grad *= 4.0 ** (step == 4)
                alone = [with_grad(grad * 4.0 ** (step == 4)) for grad in whole]
                for chooser, given in ((mine[i], parameters), (theirs[i], alone)):
                    if i == 0:
                        norm = gt.clip_grad_norm_(given, chooser).item()
                    elif i == 1:
                        norm = chooser.clip_(given, loss=1.0).norm
                    elif i == 2:
                        norm = gt.Plan(given).clip_grad_norm_(chooser, norm_type=1.0).item()
                    else:
                        key = chooser
                        plans.setdefault(key, gt.Monitor(given, chooser))
                        plans[key]._parameters = given
                        norm = float(plans[key].clip_(loss=1.0))
                    agree(norm)
                same_grads(parameters, alone)
                assert repr(mine[i].last) == repr(theirs[i].last), (mine[i].last, theirs[i].last)
        for chooser in (mine[3], theirs[3]):
            assert plans[chooser].step == 5
        assert repr(plans[mine[3]].history["threshold"]) == repr(plans[theirs[3]].history["threshold"])
    parameters, _ = shards()
    text = "take AutoClip, ZClip or SkipStep"
    raises(gradclip.UnsupportedError, text, gt.clip_grad_norm_, parameters, gradclip.AdaGC())
    raises(gradclip.UnsupportedError, text, gt.AdaGC().clip_, parameters)
    raises(gradclip.UnsupportedError, text, gt.Monitor(parameters, gradclip.AdaGC()).clip_)
    raises(TypeError, "one of gradclip's choosers, made", gt.clip_grad_norm_, parameters, gradclip.AutoClip)
    zero = dict(nonfinite="zero")
    raises(gradclip.UnsupportedError, "nonfinite='zero'", gt.clip_grad_norm_, parameters, gt.AutoClip(), **zero)


def a_monitor():
    """Log, history and diagnosis are the same on every rank; a NaN is told with its rank."""
    odd = RANKS - 1
    parameters, whole = shards()
    monitor = gradclip.torch.Monitor(parameters, 0.5, names=["weight", "bias"])
    done = monitor.clip_(loss=1.0)
    references = [with_grad(grad.clone()) for grad in whole]
    assert float(done) == gradclip.torch.Monitor(references, 0.5).clip_(loss=1.0)
    same_grads(parameters, references)
    agree(done)
    parameters, _ = shards()
    monitor._held._parameters = parameters
    local = parameters[0].grad.to_local()
    before = [parameter.grad.to_local().clone() for parameter in parameters]
    bad = 0
    if len(local) and RANK == odd:
        local[0, :2] = math.nan
        bad = 2
    everyones = [0] * RANKS
    dist.all_gather_object(everyones, bad)
    if sum(everyones):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gradclip.MonitorWarning)
            done = monitor.clip_(loss=1.0)
        assert done.skip and done.nonfinite.rank == odd and done.nonfinite.name == "weight"
        assert [(c.name, c.nonfinite_count) for c in monitor.culprits] == [("weight", 2)]
        assert "'weight'" in str(monitor.diagnosis)
        for parameter, old in zip(parameters, before):
            assert torch.equal(torch.nan_to_num(parameter.grad.to_local()), torch.nan_to_num(old)) or RANK == odd
    assert (monitor.step, monitor.skipped) == ((2, 1) if sum(everyones) else (1, 0))


def a_plan():
    """Its methods are the functions, DTensors included."""
    gt = gradclip.torch
    for p in (1.0, 2.0, math.inf):
        parameters, whole = shards()
        plan, other = gt.Plan(parameters), [with_grad(grad.clone()) for grad in whole]
        assert plan.get_total_norm(p).equal(gt.get_total_norm([o.grad for o in other], p))
        norm = plan.clip_grad_norm_(0.5, p)
        assert type(norm) is torch.Tensor and norm.equal(gt.clip_grad_norm_(other, 0.5, p))
        same_grads(parameters, other)
        plan.clip_grads_with_norm_(0.25, torch.tensor(0.5))
        gt.clip_grads_with_norm_(other, 0.25, torch.tensor(0.5))
        same_grads(parameters, other)
        plan.clip_grad_value_(0.01)
        gt.clip_grad_value_(other, 0.01)
        same_grads(parameters, other)


def clipping_and_stepping():
    """clip_and_step is clip_grad_norm_ and step(), and leaves out a step over a NaN of any rank."""
    for max_norm in (0.5, 1e9):
        results = []
        for deferred in (True, False):
            parameters, _ = shards()
            optimizer = torch.optim.SGD(parameters, lr=0.1)
            if deferred:
                norm = gradclip.torch.clip_and_step(optimizer, max_norm)
            else:
                norm = gradclip.torch.clip_grad_norm_(parameters, max_norm)
                optimizer.step()
            results.append((norm, [full(parameter.detach()) for parameter in parameters]))
        assert results[0][0].equal(results[1][0])
        assert all(map(torch.equal, results[0][1], results[1][1]))
    parameters, _ = shards()
    if RANK == 0:
        parameters[0].grad.to_local()[0] = math.inf
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    assert not gradclip.torch.clip_and_step(optimizer, 0.5).isfinite()
    assert all(full(parameter.detach()).eq(0).all() for parameter in parameters)


def each_by_itself_is_refused_by_name():
    """What goes by tensor, unit or example: the error says what takes DTensors."""
    gt = gradclip.torch
    parameters, whole = shards()
    for clip in (
        lambda: gt.adaptive_clip_grad(parameters),
        lambda: gt.clip_by_norm_(parameters, 1.0),
        lambda: gt.clip_by_block_rms_(parameters, 1.0),
        lambda: gt.clip_by_group_({"all": parameters}, 1.0),
        lambda: gt.inspect(parameters),
    ):
        raises(gradclip.UnsupportedError, "DTensor: ", clip)
        raises(gradclip.UnsupportedError, "each rank's part is grad.to_local()", clip)
    for parameter, grad in zip(parameters, whole):
        assert full(parameter.grad).equal(grad)


def partial_sums_go_to_torch():
    mesh = init_device_mesh("cpu", (RANKS,))
    part = DTensor.from_local(torch.full((3,), 2.0), mesh, [Partial()], run_check=False)
    norm = utils.clip_grad_norm_([with_grad(part)], 1.0)
    assert isinstance(norm, DTensor)
    torch.testing.assert_close(norm.full_tensor(), torch.full((3,), 2.0 * RANKS).norm())


# ---------------------------------------------------------------------- refusals --


def errors_on_every_rank():
    mesh = init_device_mesh("cpu", (RANKS,))
    odd = RANKS - 1

    def parameters():
        return [with_grad(distribute_tensor(torch.ones(8), mesh, [Shard(0)]))]

    for different, text in (
        (dict(max_norm=2.0), "max_norm"),
        (dict(norm_type=1.0), "norm_type"),
        (dict(max_norm=-1.0), "must be"),
        (dict(nonfinite="all"), "nonfinite"),
        (dict(eps="x"), "eps"),
        (dict(norm_type=math.nan), "norm_type"),
        (dict(max_norm=gradclip.AdaGC()), "a chooser that decides about each tensor"),
    ):
        mine = parameters()
        arguments = dict(max_norm=1.0) | (different if RANK == odd else {})
        if RANKS > 1:
            kind = (TypeError, ValueError, gradclip.UnsupportedError)
            try:
                gradclip.torch.clip_grad_norm_(mine, **arguments)
            except kind as error:
                assert isinstance(error, gradclip.InvalidArgumentError) or RANK == odd
                message = str(error)
            else:
                raise AssertionError("nothing was raised")
            # Who is refused names the argument, and all others say that a rank was.
            alone = text if RANK == odd else "ranks whose call was refused"
            assert alone in message or (text in message and "same on all ranks" in message), message
        assert full(mine[0].grad).equal(torch.ones(8))

    # A NaN of one rank: all know where it is, and nothing is written.
    mine = parameters()
    spoiled = (8 - 1) // -(-8 // RANKS)  # the last rank that has some of the 8: of 7 the others have none
    if RANK == spoiled:
        mine[0].grad.to_local()[-1] = math.nan
    raises(
        gradclip.NonFiniteGradientError,
        f"'weight' (gradient 0) on rank {spoiled}",
        gradclip.torch.clip_grad_norm_,
        mine,
        0.5,
        error_if_nonfinite=True,
        names=["weight"],
    )
    assert RANK == spoiled or mine[0].grad.to_local().eq(1).all()


def a_model_without_a_process_group():
    mesh = init_device_mesh("cpu", (RANKS,))
    mine = [with_grad(distribute_tensor(torch.ones(8), mesh, [Shard(0)]))]
    local = mine[0].grad.to_local()
    dist.barrier()
    dist.destroy_process_group()
    raises(
        ValueError,
        "parameter 0 lies on DeviceMesh",
        utils.clip_grad_norm_,
        mine,
        0.5,
    )
    assert local.eq(1).all()


if __name__ == "__main__":
    with gradclip.torch.patch():
        meshes = [init_device_mesh("cpu", (RANKS,))]
        if RANKS == 4:
            names = ("replicate", "shard")
            meshes.append(init_device_mesh("cpu", (2, 2), mesh_dim_names=names))
        offloaded(*meshes)
        torchs_own_norm_of_two_meshes()
        random_meshes()
        plain_tensors_beside_dtensors()
        expert_parallelism()
        pipeline_parallelism()
        choosers()
        a_monitor()
        a_plan()
        clipping_and_stepping()
        each_by_itself_is_refused_by_name()
        partial_sums_go_to_torch()
        errors_on_every_rank()
        dist.barrier()
        if RANK == 0:
            print(f"DTensors in CPU memory on {RANKS} ranks: passed", flush=True)
        a_model_without_a_process_group()
    # As in examples/fsdp_char.py: not through the interpreter's end.
    os._exit(0)
