"""Golden cases that only an exact sum of float64 (exact_f64) rounds correctly."""

from random import Random

from calls import clip_call
from cases_norm import a_max_norm, single
from formats import BF16, F16, F32, F64
from golden_file import Input
from patterns import midpoint_cases, number, placed, powers_that_sum_to, run, spread, tiled


def exact_float64():
    """float64 norms halfway between two doubles and a hair to either side, the hair
    as far below as the type reaches; all exponents in one vector; narrower tensors
    whose one element decides."""
    rng = Random(19)
    for unit in (-1000, -480, -60, 0, 300, 900):
        for p, degree in ((1.0, 1), (2.0, 2)):
            for name, elements in midpoint_cases(rng, F64, degree, unit).items():
                yield from single(rng, F64, [(1, elements)], p, f"midpoint-{name}")
                apart = placed(9000, 0, {i * 600 + 5: bits for i, bits in enumerate(elements[:14])})
                apart += [(1, elements[14:])] if elements[14:] else []
                yield from single(rng, F64, apart, p, f"midpoint-{name}-apart")
    for _ in range(6):
        whole = (1 << 52) | rng.getrandbits(52)
        elements = powers_that_sum_to(F64, whole * whole, 2, rng.choice([-700, -30, 500]))
        yield from single(rng, F64, [(1, elements)], 2.0, "perfect-square")
        yield from single(rng, F64, [(1, elements + [1])], 2.0, "perfect-square-and-least")
    big, small = number(F64, 1e200), number(F64, -1e-200)
    for n in (1, 40, 4095, 4097):
        for p in (1.0, 2.0):
            everything = spread(rng, F64, 31, F64.bias, F64.bias - F64.quantum)
            yield from single(rng, F64, tiled(everything, n), p, "all-exponents")
            yield from single(rng, F64, [run(n, big), run(n, small), run(n, 1, F64.min_normal - 1)], p, "1e200-1e-200-subnormal")
            yield from single(rng, F64, [run(n, small), run(1, 3), run(n, small)], p, "subnormal-in-1e-200")
    for p, degree in ((1.0, 1), (2.0, 2)):
        for other in (F32, BF16, F16):
            unit = -40 if other is F16 else -100
            exact = midpoint_cases(rng, F64, degree, unit)["exact"]
            for name, hair in (("exact", 0), ("above", 1)):
                inputs = [Input(other, [run(5, 0), run(1, hair)]), Input(F64, [(1, exact)], offset=8)]
                yield from clip_call(inputs, a_max_norm(rng, inputs, p), p, note=f"hair-of-{other.name}-{name}")
