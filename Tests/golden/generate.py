"""Write the golden file to standard output; with --check, compare it with the
committed one instead; with --random SEED COUNT, write other cases drawn at
random. See README.md beside this."""

import sys
from multiprocessing import Pool
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "oracle")]

import cases_calls  # noqa: E402
import cases_exact  # noqa: E402
import cases_norm  # noqa: E402
import cases_random  # noqa: E402

GROUPS = [
    cases_norm.lengths,
    cases_norm.block_lengths,
    cases_norm.orders,
    cases_norm.extreme_orders,
    cases_norm.spans,
    cases_norm.boundaries,
    cases_norm.limits,
    cases_norm.fixed_point,
    cases_norm.midpoints,
    cases_exact.exact_float64,
    cases_calls.lists,
    cases_calls.policies,
    cases_calls.corners,
    cases_calls.magnitudes,
    cases_calls.grad_scales,
    cases_calls.values,
    cases_calls.scales,
    cases_calls.known_norms,
    cases_calls.coefficients,
]


def made_by(i):
    return list(GROUPS[i]())


def lines():
    yield "# What the calls must come to. Made by Tests/golden/generate.py; see README.md there."
    # Groups draw their random numbers apart, so that each processor can make some.
    with Pool() as pool:
        for group, made in zip(GROUPS, pool.imap(made_by, range(len(GROUPS)))):
            yield f"# {group.__name__}: {' '.join((group.__doc__ or '').split())}".rstrip(": ")
            yield from made


def check():
    committed = (HERE / "golden.txt").read_text().splitlines()
    made = list(lines())
    for i, (old, new) in enumerate(zip(committed, made), 1):
        if old != new:
            sys.exit(f"golden.txt line {i} is\n  {old}\nand the oracle says\n  {new}")
    if len(committed) != len(made):
        sys.exit(f"golden.txt has {len(committed)} lines, the oracle makes {len(made)}")
    print(f"golden.txt is what the oracle makes ({len(made)} lines)")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    elif sys.argv[1:2] == ["--random"]:
        seed, count = map(int, sys.argv[2:])
        print(f"# {count} random cases, seed {seed}")
        for line in cases_random.random_cases(seed, count):
            print(line)
    else:
        for line in lines():
            print(line)
