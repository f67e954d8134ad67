"""Golden cases about the calls: lists, policies, magnitudes, the split job."""

from math import inf, nan
from random import Random

from calls import clip_call, coef_call, float_norm, scale_call, value_call, with_call
from cases_norm import ALL, ORDERS, a_max_norm
from clip import LEAVE, PROPAGATE, ZERO
from formats import BF16, F16, F32, F64
from golden_file import Input
from patterns import number, ordinary, run, tiled, with_exponent

POLICIES = (LEAVE, PROPAGATE, ZERO)


def some_tensor(rng: Random, fmt, counted=True):
    n = rng.choice([0, 0, 1, 2, 3, 5, 8, 17])
    runs = [(1, ordinary(rng, fmt, n, rng.choice([0, 2, -6])))]
    if rng.randrange(12) == 0:
        runs = tiled(ordinary(rng, fmt, 3), rng.choice([64, 129, 4100]))
    return Input(fmt, runs, counted, rng.choice([0, 1, 3, 4, 6, 8, 18]))


def lists():
    """Several tensors: of one type, of mixed types, empty, uncounted."""
    rng = Random(21)
    for i in range(420):
        p = 2.0 if i % 3 == 0 else ORDERS[i % len(ORDERS)]
        kind = rng.randrange(4)
        formats = [rng.choice(ALL)] if kind < 2 else list(ALL)
        inputs = [
            some_tensor(rng, rng.choice(formats), counted=kind != 3 or rng.randrange(3) > 0)
            for _ in range(rng.randrange(7))
        ]
        eps = rng.choice([1e-6, 0.0, 1e-8])
        yield from clip_call(inputs, a_max_norm(rng, inputs, p), p, eps=eps, note=f"list{kind}")


def policies():
    """NaN and infinities in every place, under every policy and order."""
    rng = Random(22)
    for fmt in ALL:
        bad = {
            "nan": [fmt.nan],
            "negative-nan": [fmt.nan | fmt.sign_bit | 1],
            "signalling-nan": [fmt.inf | 1],
            "inf": [fmt.inf],
            "negative-inf": [fmt.inf | fmt.sign_bit],
            "both": [fmt.inf, fmt.nan, fmt.inf | fmt.sign_bit],
        }
        for p in ORDERS:
            for policy in POLICIES:
                for name in ("nan", "inf", "both") if p not in (1.0, 2.0) else bad:
                    good = ordinary(rng, fmt, 6)
                    at = rng.randrange(len(good) + 1)
                    spoiled = good[:at] + bad[name] + good[at:]
                    inputs = [
                        Input(fmt, [(1, ordinary(rng, fmt, 3))]),
                        Input(fmt, []),
                        Input(fmt, [(1, spoiled)], offset=rng.choice([0, 4, 5])),
                        Input(fmt, [(1, ordinary(rng, fmt, 2))]),
                    ]
                    max_norm = rng.choice([0.01, 1e200])
                    yield from clip_call(inputs, max_norm, p, policy=policy, note=name)
        for policy in POLICIES:
            for index in (0, 15, 63, 64, 4095, 4096, 5000):
                runs = tiled([number(fmt, 0.5)], index) + [run(1, fmt.nan)] + tiled([number(fmt, -0.25)], 5001 - index)
                yield from clip_call([Input(fmt, runs)], 0.5, 2.0, policy=policy, note="far")
            # An uncounted tensor is not inspected, only multiplied.
            for factor in (0.5, 1e300):
                inputs = [
                    Input(fmt, [(1, [number(fmt, 1.0), fmt.inf, fmt.nan])], counted=False),
                    Input(fmt, [(1, ordinary(rng, fmt, 5, 4))]),
                ]
                yield from clip_call(inputs, factor, 2.0, policy=policy, note="uncounted")
        inputs = [Input(fmt, [(1, [fmt.inf, fmt.nan])]), Input(fmt, [(1, [number(fmt, 3.0)])])]
        for p in (0.0, 0.5, 1.0, 2.0, 3.0, inf):
            yield from clip_call(inputs, 1.0, p, policy=ZERO, note="all-replaced")


def corners():
    """max_norm and eps at their limits, norms equal to max_norm, zero norms."""
    for fmt in ALL:
        grads = {
            "345": [run(1, number(fmt, 3.0), number(fmt, -4.0))],
            "zero": [run(4, 0, fmt.sign_bit)],
            "empty": [],
            "tiny": [run(3, 1)],
        }
        for name, runs in grads.items():
            for max_norm in (0.0, -0.0, 5.0, 2.5, 7.0, inf, 5e-324):
                for eps in (0.0, 1e-6, 1e-8, 1.0, 1e300):
                    if fmt is F64 and name == "345" and max_norm == 5.0 and eps < 1e-5:
                        continue  # within an ulp of max_norm float64 may clip or not
                    yield from clip_call([Input(fmt, runs)], max_norm, 2.0, eps=eps, note=name)
    yield from clip_call([], 1.0, 2.0, note="none")
    for p in ORDERS:
        yield from clip_call([Input(F32, []), Input(F64, [])], 1.0, p, note="all-empty")


def magnitudes():
    """Norms beyond the range of float64 and coefficients at its lower end."""
    big, small = number(F64, 1.7e308), number(F64, 1e-200)
    vectors = {
        "two-of-1.7e308": [run(2, big)],
        "thousands-of-largest": [run(4097, F64.max_finite)],
        "1e200": [run(3, number(F64, 1e200), number(F64, -2e200))],
        "1e-200": [run(3, small, number(F64, -3e-200))],
        "all-scales": [run(2, number(F64, 1e200), small, 1, number(F64, 1.0), 0)],
        "scales-apart": [run(4096, 5), run(4096, small), run(5, number(F64, 1e155))],
        "denormals": [run(7, 3, F64.sign_bit | 1000)],
        "huge-then-zero": [run(2, F64.max_finite), run(50, 0)],
        "near-the-end": [run(1, number(F64, 1.3e308), number(F64, 1.2e308))],
    }
    for name, runs in vectors.items():
        for p in (1.0, 2.0, 3.0, 4.0, 0.5, 1.5, 2.7, 100.0, 0.01, -1.0, -2.5, inf, -inf):
            for max_norm in (1.0, 1e-300, 1.5e308):
                norm = float_norm([Input(F64, runs)], p)
                if norm and norm < 1e308 and 0.99 < max_norm / norm < 1.01:
                    continue
                yield from clip_call([Input(F64, runs)], max_norm, p, eps=0.0, note=name)
    for fmt, vectors in {
        F32: {"1e38": [run(9, number(F32, 1e38))], "largest": [run(4097, F32.max_finite)], "least": [run(77, 1)]},
        F16: {"60000": [run(5000, number(F16, 60000.0))], "least": [run(77, 1)]},
        BF16: {"3e38": [run(5000, number(BF16, 3e38))], "least": [run(77, 1)]},
    }.items():
        for name, runs in vectors.items():
            for max_norm in (1.0, 1e-7, 1e-8, 3e-9, 1e-20, 1e-300):
                for p in (1.0, 2.0, inf, 3.0):
                    yield from clip_call([Input(fmt, runs)], max_norm, p, eps=0.0, note=name)


def grad_scales():
    """Unscale and clip at once; scales that take the norm out of range."""
    rng = Random(23)
    for fmt in ALL:
        for grad_scale in (2.0, 65536.0, 0.0625, 2.0**-100, 3.0, 0.1, 1e-290, 1e300):
            for p in (2.0, 1.0, rng.choice(ORDERS)):
                for ratio in (0.25, 4.0):
                    inputs = [Input(fmt, [(1, ordinary(rng, fmt, 7))]), Input(fmt, [(1, ordinary(rng, fmt, 4, -3))])]
                    norm = float_norm(inputs, p, grad_scale)
                    max_norm = norm * ratio if 1e-300 < norm < 1e300 else 1.0
                    policy = rng.choice(POLICIES)
                    yield from clip_call(inputs, max_norm, p, 0.0, grad_scale, policy, note="grad-scale")
    # Finite gradients whose norm is past the range only because of the scale.
    for fmt in ALL:
        inputs = [Input(fmt, [run(3, number(fmt, 3.0), number(fmt, -4.0))])]
        for max_norm in (1.0, 1e300):
            yield from clip_call(inputs, max_norm, 2.0, 0.0, 2.0**-1023, note="scale-overflow")
        bad = [Input(fmt, [(1, [number(fmt, 3.0), fmt.nan, number(fmt, 4.0)])])]
        for policy in POLICIES:
            yield from clip_call(bad, 1.0, 2.0, 0.0, 8.0, policy, note="scale-nan")


def interesting(fmt):
    """Elements on all sides of every limit."""
    numbers = [0.0, -0.0, 1.0, -1.0, 0.1, -0.1, 1.5, -2.0, 1e-3, 100.0, -65504.0, inf, -inf, nan]
    edges = [1, fmt.sign_bit | 1, fmt.min_normal, fmt.min_normal - 1, fmt.max_finite, fmt.max_finite | fmt.sign_bit]
    return [number(fmt, x) for x in numbers] + edges


def values():
    limits = (0.0, 1.0, 0.1, 1e-3, 1e-45, 5e-324, 1e-310, 65519.0, 65520.0, 3.5e38, 1e300, inf, 2.0**-126, 1.0 + 2.0**-30)
    for fmt in ALL:
        runs = [(1, interesting(fmt))]
        for limit in limits:
            yield from value_call([Input(fmt, runs), Input(fmt, []), Input(fmt, tiled(interesting(fmt), 77), offset=5)], limit)
        far = [run(4096, number(fmt, 0.25)), run(1, number(fmt, -3.0)), run(100, number(fmt, 0.5))]
        yield from value_call([Input(fmt, far)], 1.0, note="far")
    yield from value_call([Input(fmt, [(1, interesting(fmt))]) for fmt in ALL], 0.1, note="mixed")
    yield from value_call([], 1.0, note="none")


FACTORS = (0.5, 1.0, 0.0, -0.0, -1.0, 0.1, 3.0, 2.0**-126, 2.0**-127, 1e-45, 1e-46, 1e-300, 5e-324, 1e38, 3.5e38, 1e300)


def scales():
    rng = Random(24)
    for factor in FACTORS:
        for fmt in ALL:
            inputs = [Input(fmt, [(1, interesting(fmt))], offset=3), Input(fmt, [(1, ordinary(rng, fmt, 21))])]
            yield from scale_call(inputs, factor)
        yield from scale_call([Input(fmt, [(1, interesting(fmt)[:9])]) for fmt in ALL], factor, note="mixed")
    yield from scale_call([], 0.5, note="none")


def known_norms():
    rng = Random(25)
    for fmt in ALL:
        for max_norm, total in ((1.0, 4.0), (1.0, 0.5), (0.0, 3.0), (inf, 3.0), (1.0, 0.0), (1e-40, 1.0), (1.0, inf), (1e-320, 1e300)):
            for policy in POLICIES:
                for eps, grad_scale in ((1e-6, 1.0), (0.0, 4.0)):
                    elements = ordinary(rng, fmt, 6) + [fmt.inf, fmt.nan, fmt.sign_bit]
                    inputs = [Input(fmt, [(1, elements)]), Input(fmt, []), Input(fmt, [(1, ordinary(rng, fmt, 2))])]
                    yield from with_call(inputs, max_norm, total, eps, grad_scale, policy)


def coefficients():
    rng = Random(26)
    ends = (0.0, -0.0, 5e-324, 1e-310, 1e-6, 0.5, 1.0, 1.0 + 2.0**-52, 3.0, 1e10, 1e308, inf)
    for max_norm in ends:
        for total in ends:
            for eps in (0.0, 1e-6):
                yield from coef_call(max_norm, total, eps)
    for _ in range(100):
        total = (1 + rng.random()) * 2.0 ** rng.randrange(-40, 40)
        yield from coef_call(total * (0.5 + rng.random()), total, rng.choice([0.0, 1e-6, 1e-8]))
