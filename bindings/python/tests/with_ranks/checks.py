"""torchrun --nproc-per-node N checks.py FOLDER: gradclip.torch.distributed between real processes.

FOLDER is what Tests/mpi/saved_gradient.py wrote: gradients, and the oracle's norms. What each
kind of parallelism leaves on a rank is compared, to the bit, with one call on the
gradients as a whole, and with what torch makes of them in float64.
"""

import math
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

import gradclip
import gradclip.torch
from gradclip.torch.distributed import clip_grad_norm_, finish, get_total_norm

torch.set_num_threads(1)
dist.init_process_group("gloo")
RANK, RANKS, WORLD = dist.get_rank(), dist.get_world_size(), dist.group.WORLD
RANDOM = random.Random(20)  # on every rank the same
DTYPES = {
    "f32": (np.int32, torch.float32),
    "f16": (np.int16, torch.float16),
    "bf16": (np.int16, torch.bfloat16),
}


def with_grad(grad):
    parameter = torch.nn.Parameter(torch.zeros_like(grad))
    parameter.grad = grad
    return parameter


def pieces_of(length):
    """A cut at random: (owner, start, end) of each piece, some of them empty."""
    edges = [0, *sorted(RANDOM.randrange(length + 1) for _ in range(RANDOM.randrange(12))), length]
    return [(RANDOM.randrange(RANKS), a, b) for a, b in zip(edges, edges[1:])]


def seeded(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def whole_norm(grads, p=2.0):
    """The norm of gradients that every rank can see; close to torch's own in float64."""
    norm = gradclip.get_total_norm([grad.numpy() for grad in grads], p)
    torchs = torch.nn.utils.get_total_norm([grad.double() for grad in grads], p)
    assert math.isclose(norm, torchs.item(), rel_tol=1e-14), (norm, torchs)
    return torch.tensor(norm, dtype=torch.float64)


def raises(kind, text, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except kind as error:
        assert text in str(error), error
        return error
    raise AssertionError(f"no {kind.__name__}")


def check_clipped(parameters, whole, max_norm=0.25, **keywords):
    """Clips parameters, of which `whole` are all gradients, unsharded; returns those, clipped."""
    grads = [parameter.grad for parameter in parameters]
    measured = dict(keywords)
    if "uncounted" in keywords:
        measured["uncounted"] = [parameter.grad for parameter in keywords["uncounted"]]
    for p in (1.0, math.inf, 2.0):
        assert get_total_norm(grads, p, **measured).equal(whole_norm(whole, p))
    expected = [with_grad(grad.clone()) for grad in whole]
    norm = clip_grad_norm_(parameters, max_norm, **keywords)
    assert (
        norm.float().equal(gradclip.torch.clip_grad_norm_(expected, max_norm)) and norm > max_norm
    )
    return [parameter.grad for parameter in expected]


# ---------------------------------------------------------------------- bits --


def the_oracles_bits_for_any_cut(folder):
    cases = 0
    for line in (folder / "cases.txt").read_text().splitlines():
        name, p, max_norm, total_norm, _, clipped = line.split()
        bits, dtype = DTYPES[name]
        saved = torch.from_numpy(np.fromfile(folder / f"{name}.bin", bits))
        expected = torch.from_numpy(np.fromfile(folder / clipped, bits))
        total = torch.tensor(float.fromhex(total_norm), dtype=torch.float64)
        cases += 1
        for _ in range(4):
            data = saved.clone()
            mine = [(a, b) for owner, a, b in pieces_of(len(saved)) if owner == RANK]
            parameters = [with_grad(data[a:b].view(dtype)) for a, b in mine]
            norm = clip_grad_norm_(parameters, float.fromhex(max_norm), float(p), group=WORLD)
            assert norm.equal(total), (line, norm)
            for a, b in mine:
                assert data[a:b].equal(expected[a:b]), line
        # As DTensors, sharded along either dimension, unevenly.
        mesh = init_device_mesh("cpu", (RANKS,))
        for dimension, shape in ((0, (len(saved), 1)), (1, (5, -1))):
            if name == "f32":  # (12 347 = 5 * 2469 + 2: the rest goes into a tensor of its own)
                cut = len(saved) // 5 * 5 if dimension else len(saved)
                parts = [saved[:cut].view(dtype).reshape(shape), saved[cut:].view(dtype)]
                parameters = [
                    with_grad(distribute_tensor(parts[0], mesh, [Shard(dimension)])),
                    with_grad(distribute_tensor(parts[1], mesh, [Shard(0)])),
                ]
                norm = clip_grad_norm_(parameters, float.fromhex(max_norm), float(p))
                assert norm.equal(total)
                full = torch.cat(
                    [parameter.grad.full_tensor().flatten() for parameter in parameters]
                )
                assert full.view(expected.dtype).equal(expected)
    assert cases == 9


def other_orders_and_float64():
    flat = seeded(5000, dtype=torch.float64)
    exact = torch.tensor(gradclip.get_total_norm(flat.numpy(), exact_f64=True), dtype=torch.float64)
    for p in (3.0, 0.5, -1.0, 2.7, 2.0, -math.inf):
        mine = [with_grad(flat[a:b].clone()) for owner, a, b in pieces_of(5000) if owner == RANK]
        norm = get_total_norm([parameter.grad for parameter in mine], p, group=WORLD)
        everyones = [None] * RANKS
        dist.all_gather_object(everyones, norm.item())
        assert len(set(everyones)) == 1
        assert math.isclose(norm.item(), torch.linalg.vector_norm(flat, p).item(), rel_tol=1e-12), p
        whole = get_total_norm([p.grad for p in mine], group=WORLD, exact_f64=True)
        assert whole.equal(exact)


def accumulators_are_put_together():
    flat = seeded(3000)
    accumulator = gradclip.Accumulator()
    for owner, a, b in pieces_of(3000):
        if owner == RANK:
            accumulator.add(flat[a:b].numpy())
    assert finish(accumulator, group=WORLD) == gradclip.get_total_norm(flat.numpy())


# --------------------------------------------------------- kinds of parallelism --


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3), torch.nn.Linear(3, 1)
    )


def ddp():
    """All ranks have all gradients: no message is needed, and one rank's count is enough."""
    replica = DistributedDataParallel(net())
    replica(seeded(4, 5, seed=RANK)).square().mean().backward()
    parameters = list(replica.parameters())
    whole = [parameter.grad.clone() for parameter in parameters]
    norms = [None] * RANKS
    dist.all_gather_object(norms, gradclip.torch.get_total_norm(whole).item().hex())
    assert len(set(norms)) == 1
    expected = check_clipped(
        parameters, whole, 0.01, group=WORLD, uncounted=parameters if RANK else ()
    )
    assert all(parameter.grad.equal(grad) for parameter, grad in zip(parameters, expected))


def backward_with(model, shard):
    """The gradients of one model, sharded by `shard` and not."""
    reference = net()
    shard(model)
    for one in (model, reference):
        one(seeded(4, 5)).square().mean().backward()
    parameters = list(model.parameters())
    whole = [parameter.grad.full_tensor() for parameter in parameters]
    for grad, other in zip(whole, reference.parameters()):
        torch.testing.assert_close(grad, other.grad)
    return parameters, whole


def fsdp(mesh):
    def shard(model):
        for layer in (model[0], model[2], model):
            fully_shard(layer, mesh=mesh)

    parameters, whole = backward_with(net(), shard)
    sizes = [parameter.grad.to_local().numel() for parameter in parameters]
    if RANKS == 7:
        assert 0 in sizes or RANK == 0, sizes  # uneven: some ranks have nothing of some parameters
    expected = check_clipped(parameters, whole, 0.01)
    assert all(
        parameter.grad.full_tensor().equal(grad) for parameter, grad in zip(parameters, expected)
    )
    if RANKS == 1 or mesh.ndim == 1:  # torch's own, which hands back a DTensor
        torchs = torch.nn.utils.get_total_norm([p.grad for p in parameters]).full_tensor()
        torch.testing.assert_close(get_total_norm([p.grad for p in parameters]).float(), torchs)


def tensor_parallel():
    """Columns, rows and replicas on one mesh; and the same with plain tensors."""
    mesh = init_device_mesh("cpu", (RANKS,))
    whole = [seeded(9, 4, seed=1), seeded(4, 9, seed=2), seeded(4, seed=3)]
    placements = [Shard(0), Shard(1), Replicate()]
    parameters = [
        with_grad(distribute_tensor(grad, mesh, [placement]))
        for grad, placement in zip(whole, placements)
    ]
    expected = check_clipped(parameters, whole)
    assert all(
        parameter.grad.full_tensor().equal(grad) for parameter, grad in zip(parameters, expected)
    )
    for version in (parameters[2].grad.to_local(), parameters[2].grad):
        assert version.isfinite().all()

    plain = [
        with_grad(
            grad.chunk(RANKS, i)[RANK].clone()
            if RANK < len(grad.chunk(RANKS, i))
            else grad[:0].clone()
        )
        for i, grad in enumerate(whole[:2])
    ]
    plain.append(with_grad(whole[2].clone()))
    expected = check_clipped(plain, whole, group=WORLD, uncounted=plain[2:] if RANK else ())
    assert plain[2].grad.equal(expected[2])


def pipeline():
    """Each rank has other layers; then two stages of two ranks each, sharded within the stage."""
    layers = [seeded(3, 5, seed=i) for i in range(RANKS)]
    mine = [with_grad(layers[RANK].clone())]
    expected = check_clipped(mine, layers, group=WORLD)
    assert mine[0].grad.equal(expected[RANK])
    if RANKS != 4:
        return
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("stage", "shard"))
    stage = RANK // 2
    stages = [[seeded(5, 3, seed=10 * s + i) for i in range(2)] for s in range(2)]
    mine = [with_grad(distribute_tensor(grad, mesh["shard"], [Shard(0)])) for grad in stages[stage]]
    grads = [parameter.grad for parameter in mine]
    assert get_total_norm(grads).equal(whole_norm(stages[stage])), "of one stage alone"
    expected = check_clipped(
        mine, stages[0] + stages[1], group=[mesh["shard"].get_group(), mesh["stage"].get_group()]
    )
    assert mine[1].grad.full_tensor().equal(expected[2 * stage + 1])
    # With a whole mesh for the group the same.
    assert get_total_norm(grads, group=mesh).equal(get_total_norm(grads, group=WORLD))


def experts():
    """Experts on one rank each, some of which saw no token; dense layers on all."""
    whole = [seeded(6, 2, seed=i) for i in range(RANKS)]
    dense = seeded(8, seed=99)
    mesh = init_device_mesh("cpu", (RANKS,))
    idle = torch.nn.Parameter(torch.zeros(3))  # .grad is None
    mine = [
        with_grad(whole[RANK].clone()),
        idle,
        with_grad(distribute_tensor(dense, mesh, [Replicate()])),
    ]
    if RANKS > 1:
        before = [mine[0].grad.clone(), mine[2].grad.to_local().clone()]
        raises(gradclip.InvalidArgumentError, "the ranks disagree", clip_grad_norm_, mine, 1e-3)
        assert mine[0].grad.equal(before[0]) and mine[2].grad.to_local().equal(before[1])
    expected = check_clipped(mine, [*whole, dense], group=WORLD)
    assert (
        mine[0].grad.equal(expected[RANK])
        and mine[2].grad.to_local().equal(expected[-1])
        and idle.grad is None
    )


# ------------------------------------------------------------------- decisions --


def everyone_knows_where_the_nan_is():
    culprit = RANKS // 2
    for policy in ("leave", "zero", "propagate"):
        parameters = [with_grad(torch.ones(2, 3)), with_grad(torch.ones(3, 2))]
        if RANK >= culprit:
            parameters[1].grad[1, 1] = math.nan
        before = [parameter.grad.clone() for parameter in parameters]
        version = parameters[0].grad._version
        norm = clip_grad_norm_(parameters, 1.0, group=WORLD, nonfinite=policy)
        if policy == "leave":
            assert norm.isnan() and all(
                p.grad.equal(b) or b.isnan().any() for p, b in zip(parameters, before)
            )
            assert parameters[0].grad._version == version
        elif policy == "zero":
            assert norm.item() == math.sqrt(12 * RANKS - (RANKS - culprit))
            assert parameters[1].grad.isfinite().all() and parameters[0].grad._version > version
        else:
            assert norm.isnan() and all(p.grad.isnan().all() for p in parameters)
    parameters = [with_grad(torch.ones(2, 3)), with_grad(torch.ones(3, 2))]
    parameters[1].grad[2, 0] = math.inf if RANK >= culprit else 1.0
    error = raises(
        gradclip.NonFiniteGradientError,
        f"element 4, index (2, 0), of 'b' (gradient 1) on rank {culprit}",
        clip_grad_norm_,
        parameters,
        1.0,
        error_if_nonfinite=True,
        group=WORLD,
        names=["a", "b"],
    )
    assert error.nonfinite.rank == culprit and error.nonfinite.count == RANKS - culprit
    assert parameters[0].grad.equal(torch.ones(2, 3))


def all_raise_where_one_is_refused():
    odd = RANKS - 1
    parameter = with_grad(torch.ones(4))
    sparse = with_grad(torch.ones(4))
    sparse.grad = torch.ones(4).to_sparse()
    mesh = init_device_mesh("cpu", (RANKS,))
    partial = with_grad(DTensor.from_local(torch.ones(2), mesh, [Partial()], run_check=False))
    for wrong, kind, text in (
        (
            dict(parameters=[sparse]),
            gradclip.UnsupportedError,
            "gradient 0 has the layout torch.sparse_coo",
        ),
        (dict(parameters=[partial]), ValueError, "a partial sum has no norm of its own"),
        (dict(max_norm=-1.0), ValueError, "max_norm must be a number >= 0 (got -1)"),
        (
            dict(uncounted=[sparse]),
            ValueError,
            "uncounted has 1 tensors that are none of the parameters",
        ),
        (dict(names=["a", "b"]), ValueError, "names must have one name a parameter: 1 (got 2)"),
    ):
        arguments = dict(parameters=[parameter], max_norm=1.0, group=WORLD)
        if RANK == odd:
            raises(kind, text, clip_grad_norm_, **(arguments | wrong))
        else:
            raises(
                gradclip.InvalidArgumentError,
                "ranks whose call was refused must be none (got 1)",
                clip_grad_norm_,
                **arguments,
            )
    if RANKS > 1:
        for different in (
            dict(norm_type=1.0),
            dict(norm_type=math.inf),
            dict(max_norm=2.0),
            dict(eps=0.0),
            dict(nonfinite="zero"),
        ):
            arguments = dict(parameters=[parameter], max_norm=1.0, group=WORLD) | (
                different if RANK == odd else {}
            )
            raises(
                gradclip.InvalidArgumentError,
                "must be the same on all ranks",
                clip_grad_norm_,
                **arguments,
            )
    raises(
        ValueError, "group is needed: no parameter is a DTensor", clip_grad_norm_, [parameter], 1.0
    )
    raises(
        ValueError,
        "as after DistributedDataParallel, call gradclip.torch.clip_grad_norm_ instead",
        get_total_norm,
        [parameter.grad],
    )
    raises(
        TypeError,
        "group[0] must be a process group",
        clip_grad_norm_,
        [parameter],
        1.0,
        group=[None],
    )
    assert parameter.grad.equal(torch.ones(4))
    # No parameters at all on some ranks.
    mine = [parameter] if RANK == 0 else []
    assert clip_grad_norm_(mine, 1.0, group=WORLD, eps=0.0).item() == 2.0
    assert parameter.grad.equal(torch.full((4,), 0.5) if RANK == 0 else torch.ones(4))


if __name__ == "__main__":
    the_oracles_bits_for_any_cut(Path(sys.argv[1]))
    other_orders_and_float64()
    accumulators_are_put_together()
    ddp()
    fsdp(init_device_mesh("cpu", (RANKS,)))
    if RANKS == 4:
        fsdp(init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard")))
    tensor_parallel()
    pipeline()
    experts()
    everyone_knows_where_the_nan_is()
    all_raise_where_one_is_refused()
    dist.barrier()
    if RANK == 0:
        print(f"gradclip.torch.distributed on {RANKS} ranks: passed", flush=True)
    dist.destroy_process_group()
    # As in examples/fsdp_char.py: not through the interpreter's end.
    os._exit(0)
