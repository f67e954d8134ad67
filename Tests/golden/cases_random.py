"""Golden cases drawn at random: not part of the committed file, but any number
of them can be made and run (README.md says how)."""

from random import Random

from calls import clip_call, float_norm, scale_call, value_call, with_call
from cases_norm import ALL, ORDERS, a_max_norm
from golden_file import Input
from patterns import midpoint_cases, ordinary, placed, powers_that_sum_to, spread, tiled, with_exponent
from formats import BF16, F32, F64


def any_bits(rng, fmt, n):
    """Any finite pattern at all."""
    found = []
    while len(found) < n:
        bits = rng.getrandbits(fmt.width)
        if fmt.is_finite(bits):
            found.append(bits)
    return found


def some_runs(rng: Random, fmt):
    n = rng.choice([1, 2, 3, 7, 16, 33, 70, 200, 4095, 4096, 4097, 8190, 10000])
    group = min(n, rng.choice([1, 3, 5, 11, 17, 31]))
    kind = rng.randrange(7)
    widest = fmt.bias - fmt.quantum
    if kind == 0:
        return tiled(any_bits(rng, fmt, group), n)
    if kind == 1:
        return tiled(ordinary(rng, fmt, group, rng.randrange(-8, 8)), n)
    if kind == 2:
        elements = {rng.randrange(n): any_bits(rng, fmt, 1)[0] for _ in range(3)}
        return placed(n, any_bits(rng, fmt, 1)[0] if rng.getrandbits(1) else 0, elements)
    if kind == 3 and fmt in (F32, BF16):
        name = rng.choice(["below", "exact", "above"])
        elements = midpoint_cases(rng, fmt, rng.choice([1, 2]), rng.randrange(-66, 20))[name]
        at = sorted({rng.randrange(9000) for _ in elements})
        return placed(9000, 0, dict(zip(at, elements))) if len(at) == len(elements) else [(1, elements)]
    if kind == 4 and fmt is not F64:
        whole = rng.getrandbits(rng.randrange(1, 20)) | 1
        return [(1, powers_that_sum_to(fmt, whole * whole, 2, 0))] if whole < 256 else tiled(ordinary(rng, fmt, 3), n)
    span = rng.randrange(min(widest, rng.choice([3, 12, 25, 45, 60, widest])))
    top = fmt.bias - rng.randrange(widest - span + 1)
    runs = []
    for _ in range(rng.randrange(1, 4)):  # blocks that differ
        runs += tiled(spread(rng, fmt, group, top, span), rng.choice([n, 4096]))
        top = with_limits(top + rng.randrange(-30, 31), fmt.quantum + span, fmt.bias)
    return runs


def with_limits(x, low, high):
    return min(max(x, low), high)


def spoiled(rng, fmt, runs):
    """A few NaN or infinities put somewhere."""
    bad = [rng.choice([fmt.nan, fmt.inf, fmt.inf | fmt.sign_bit, fmt.inf | 1])]
    at = rng.randrange(len(runs) + 1)
    return runs[:at] + [(rng.choice([1, 2, 4096]), bad)] + runs[at:]


def one_case(rng: Random):
    formats = [rng.choice(ALL)] if rng.getrandbits(1) else ALL
    inputs, nonfinite = [], False
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        fmt = rng.choice(formats)
        runs = some_runs(rng, fmt)
        if rng.randrange(10) == 0:
            runs, nonfinite = spoiled(rng, fmt, runs), True
        counted = rng.randrange(8) > 0
        inputs.append(Input(fmt, runs, counted, rng.choice([0, 0, 2, 4, 8, 3])))
    p = rng.choice([1.0, 2.0, 2.0, rng.choice(ORDERS), with_limits(rng.uniform(-6, 6), -5.9, 5.9)])
    kind = rng.randrange(12)
    if kind == 0:
        return scale_call(inputs, rng.choice([-1, 1]) * (1 + rng.random()) * 2.0 ** rng.randrange(-160, 130))
    if kind == 1:
        return value_call(inputs, (1 + rng.random()) * 2.0 ** rng.randrange(-160, 130))
    eps = rng.choice([0.0, 1e-6, 1e-8])
    grad_scale = rng.choice([1.0, 1.0, 1.0, 2.0 ** rng.randrange(-30, 30), rng.uniform(0.1, 10)])
    policy = rng.randrange(3)
    norm = float_norm(inputs, p, grad_scale)
    max_norm = a_max_norm(rng, inputs, p)
    if norm - norm == 0 and norm and 0.999 < max_norm / (norm + eps) < 1.001:
        max_norm = norm / 2
    if nonfinite:  # the norm of the rest is not known here
        max_norm = rng.choice([1e300, 1e-300])
    if kind == 2:
        return with_call(inputs, max_norm, rng.choice([norm if norm >= 0 else 1.0, 3.0]), eps, grad_scale, 0 if norm != norm else policy % 2)
    return clip_call(inputs, max_norm, p, eps, grad_scale, policy, note="random")


def random_cases(seed: int, count: int):
    rng = Random(seed)
    for _ in range(count):
        yield from one_case(rng)
