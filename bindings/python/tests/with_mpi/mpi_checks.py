"""mpirun -n N python mpi_checks.py FOLDER: gradclip.mpi between real processes.

FOLDER is what Tests/mpi/saved_gradient.py wrote: gradients, and the oracle's norms.
"""

import json
import math
import random
import sys
from pathlib import Path

import numpy as np
from mpi4py import MPI

import gradclip
import gradclip.mpi

WORLD = MPI.COMM_WORLD
RANK, RANKS = WORLD.Get_rank(), WORLD.Get_size()
RANDOM = random.Random(20)  # on every rank the same


def shards(flat, unit=1):
    """flat, cut at random, each piece on a random rank: all (owner, piece), some of them empty."""
    blocks = len(flat) // unit
    ends = sorted(RANDOM.randrange(blocks + 1) * unit for _ in range(RANDOM.randrange(12)))
    edges = [0, *ends, len(flat)]
    return [(RANDOM.randrange(RANKS), flat[a:b]) for a, b in zip(edges, edges[1:])]


def mine(pieces):
    return [piece for owner, piece in pieces if owner == RANK]


def raises(kind, text, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except kind as error:
        assert text in str(error), error
        return error
    raise AssertionError(f"no {kind.__name__}")


def the_oracles_bits_for_any_cut(folder):
    dtypes = {"f32": np.float32, "f16": np.float16, "bf16": None}
    cases = 0
    for line in (folder / "cases.txt").read_text().splitlines():
        name, p, max_norm, total_norm, clip_coef, clipped = line.split()
        if dtypes[name] is None:
            import ml_dtypes

            dtypes[name] = ml_dtypes.bfloat16
        saved = np.fromfile(folder / f"{name}.bin", np.uint32 if name == "f32" else np.uint16)
        expected = np.fromfile(folder / clipped, saved.dtype)
        cases += 1
        for _ in range(5):
            data = saved.copy()
            pieces = shards(np.arange(len(saved)))
            grads = [
                data[i[0] : i[-1] + 1].view(dtypes[name]) if len(i) else data[:0].view(dtypes[name])
                for i in mine(pieces)
            ]
            norm = gradclip.mpi.clip_grad_norm_(grads, float.fromhex(max_norm), float(p))
            assert norm.hex() == float.fromhex(total_norm).hex(), (line, norm.hex())
            assert norm.clip_coef == float.fromhex(clip_coef)
            assert not norm.nonfinite and norm.nonfinite.rank is None
            for i in mine(pieces):
                assert (data[i] == expected[i]).all()
        for _ in range(2):  # the same, added up in accumulators
            accumulator = gradclip.Accumulator(float(p))
            for i in mine(shards(np.arange(len(saved)))):
                accumulator.add(saved[i].view(dtypes[name]))
            before = accumulator.finish()
            norm = gradclip.mpi.finish(accumulator, float.fromhex(max_norm))
            assert norm.hex() == float.fromhex(total_norm).hex()
            assert norm.clip_coef == float.fromhex(clip_coef)
            assert accumulator.finish() == before
    assert cases == 9


def other_orders_and_float64():
    rng = np.random.default_rng(5)
    for p in (3.0, 0.5, -1.0, 2.7, 2.0, 1.0, -math.inf):
        flat = rng.standard_normal(4096 * 5 + 77)
        norm = gradclip.mpi.get_total_norm(mine(shards(flat, 4096)), p)
        assert norm == gradclip.get_total_norm(flat, p), p
        norms = WORLD.allgather(gradclip.mpi.get_total_norm(mine(shards(flat)), p))
        assert len(set(norms)) == 1 and math.isclose(norms[0], norm, rel_tol=1e-12)
    exact = gradclip.get_total_norm(flat, 2.0, exact_f64=True)
    assert gradclip.mpi.get_total_norm(mine(shards(flat)), 2.0, exact_f64=True) == exact


def everyone_knows_where_the_nan_is():
    culprit = RANKS // 2
    grads = {"weight": np.ones((2, 3), np.float32), "biß" * 200: np.ones(4, np.float32)}
    if RANK >= culprit:
        grads["weight"][1, RANK % 3] = np.nan
    for policy in ("leave", "zero", "propagate"):
        copy = {name: grad.copy() for name, grad in grads.items()}
        norm = gradclip.mpi.clip_grad_norm_(copy, 1.0, nonfinite=policy)
        found = norm.nonfinite
        assert found.count == found.nan_count == RANKS - culprit
        place = (found.rank, found.tensor, found.name, found.element, found.index)
        assert place == (culprit, 0, "weight", 3 + culprit % 3, (1, culprit % 3)), place
        assert f"index (1, {culprit % 3}), of 'weight' (gradient 0) on rank {culprit}" in str(found)
        if policy == "leave":
            assert all(np.array_equal(copy[n], grads[n], equal_nan=True) for n in grads)
        elif policy == "zero":
            assert norm == math.sqrt(10 * RANKS - found.count) and np.isfinite(copy["weight"]).all()
            assert copy["weight"][0, 0] == np.float32(norm.clip_coef)
        else:
            assert math.isnan(norm) and all(np.isnan(grad).all() for grad in copy.values())
    error = raises(
        gradclip.NonFiniteGradientError,
        f"on rank {culprit}",
        gradclip.mpi.clip_grad_norm_,
        grads,
        1.0,
        error_if_nonfinite=True,
    )
    assert error.nonfinite.rank == culprit
    # A name that is too long for the message is cut off, not the rest.
    if RANK == 0:
        grads["biß" * 200][2] = np.inf
    grads["weight"][:] = 1
    found = gradclip.mpi.get_total_norm(grads).nonfinite
    assert (
        (found.rank, found.element, found.index) == (0, 2, (2,))
        and ("biß" * 200).startswith(found.name)
        and len(found.name) > 30
    )


def all_raise_where_one_is_refused():
    odd = RANKS - 1
    grad = np.ones(4, np.float32)
    for wrong, kind, text in (
        (dict(grads=[grad, np.ones(2, int)]), TypeError, "grads[1] has the wrong dtype"),
        (dict(max_norm=-1.0), ValueError, "max_norm must be a number >= 0 (got -1)"),
        (dict(eps=math.nan), ValueError, "eps must be finite and >= 0 (got nan)"),
        (dict(nonfinite="ignore"), ValueError, "nonfinite must be one of"),
        (dict(uncounted=[np.ones(1)]), ValueError, "uncounted[0] is none of the arrays in grads"),
    ):
        arguments = dict(grads=[grad], max_norm=1.0)
        if RANK == odd:
            arguments.update(wrong)
            raises(kind, text, gradclip.mpi.clip_grad_norm_, **arguments)
        else:
            raises(
                gradclip.InvalidArgumentError,
                "ranks whose call was refused must be none (got 1)",
                gradclip.mpi.clip_grad_norm_,
                **arguments,
            )
    if RANKS > 1:
        for different in (
            dict(norm_type=1.0),
            dict(max_norm=2.0),
            dict(eps=0.0),
            dict(grad_scale=2.0),
            dict(nonfinite="zero"),
        ):
            arguments = dict(grads=[grad], max_norm=1.0) | (different if RANK == odd else {})
            raises(
                gradclip.InvalidArgumentError,
                "must be the same on all ranks",
                gradclip.mpi.clip_grad_norm_,
                **arguments,
            )
    raises(
        TypeError,
        "comm must be an mpi4py communicator",
        gradclip.mpi.clip_grad_norm_,
        grad,
        1.0,
        comm=None,
    )
    assert (grad == 1).all()


def duplicates_count_once_and_empty_ranks_take_part():
    own = np.full(3, 2.0 + RANK, np.float32)
    shared = np.full(5, 4.0, np.float32)
    expected = gradclip.get_total_norm(
        [np.full(3, 2.0 + r, np.float32) for r in range(RANKS)] + [shared]
    )
    norm = gradclip.mpi.clip_grad_norm_(
        [own, shared], 1.0, uncounted=None if RANK == 0 else [shared]
    )
    assert norm == expected
    assert shared[0] == np.float32(4) * np.float32(norm.clip_coef)
    norm = gradclip.mpi.defer_clip([np.ones(9, np.float32)] if RANK == 0 else [], 1.5, eps=0)
    assert norm == 3.0 and norm.factor == 0.5


if __name__ == "__main__":
    the_oracles_bits_for_any_cut(Path(sys.argv[1]))
    other_orders_and_float64()
    everyone_knows_where_the_nan_is()
    all_raise_where_one_is_refused()
    duplicates_count_once_and_empty_ranks_take_part()
    WORLD.Barrier()
    if RANK == 0:
        print(json.dumps({"gradclip.mpi on ranks": RANKS, "passed": True}))
