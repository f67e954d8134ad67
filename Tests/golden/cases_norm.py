"""Golden cases about the norm itself: lengths, orders, hostile exponents."""

from math import inf
from random import Random

from calls import clip_call, float_norm
from formats import BF16, F16, F32, F64
from golden_file import Input
from patterns import compact, midpoint_cases, number, ordinary, placed, powers_that_sum_to, run, spread, tiled, with_exponent
from thresholds import delicate

ALL = (F32, F64, F16, BF16)
ORDERS = (0.0, 1.0, 2.0, 3.0, 4.0, 0.5, 1.5, 2.7, 100.0, 0.01, -1.0, -2.5, inf, -inf)
BLOCK = 4096  # what the library sums at a time; the cases straddle it


def a_max_norm(rng: Random, inputs, p):
    """Something well below the norm, above it, or plain 1."""
    norm = float_norm(inputs, p)
    if not 1e-290 < norm < 1e290:
        return rng.choice([1.0, 1e-3, 1e300])
    near_one = 0.9 < norm < 1.1
    return rng.choice([norm * 0.7, norm / 3, norm * 1e-8, norm * 2, 3.0 if near_one else 1.0])


def single(rng, fmt, runs, p, note, **more):
    inputs = [Input(fmt, runs, offset=rng.choice([0, 0, 1, 2, 4, 7, 8, 12, 16, 20, 33]))]
    return clip_call(inputs, a_max_norm(rng, inputs, p), p, note=note, **more)


def lengths():
    """Every length up to 70, every type; p = 2 and the other orders in turn."""
    rng = Random(11)
    for fmt in ALL:
        for n in range(71):
            scale = rng.choice([0, -3, 5, -10])
            runs = [(1, ordinary(rng, fmt, n, scale))]
            yield from single(rng, fmt, runs, 2.0, f"length{n}")
            if n % 2:
                p = ORDERS[n // 2 % len(ORDERS)]
                yield from single(rng, fmt, runs, p, f"length{n}")


def block_lengths():
    """Lengths about the block size; the group's odd length meets every lane."""
    rng = Random(12)
    for fmt in ALL:
        for n in (127, 128, 129, 1000, 4095, 4096, 4097, 8191, 8192, 8193, 12289):
            for p in (1.0, 2.0, rng.choice([3.0, 1.5, 2.7, inf, -1.0])):
                runs = tiled(ordinary(rng, fmt, rng.choice([7, 13, 19])), n)
                yield from single(rng, fmt, runs, p, f"block{n}")


def orders():
    """Every order over shapes that hurt: wide, equal, zeros, denormals."""
    rng = Random(13)
    for fmt in ALL:
        low, high = 1 - fmt.bias, fmt.bias
        denormals = [rng.getrandbits(fmt.mantissa_bits) or 1 for _ in range(6)]
        shapes = {
            "ordinary": [(1, ordinary(rng, fmt, 9))],
            "wide": [(1, spread(rng, fmt, 11, high - 3, high - low - 3))],
            "narrow": [(1, spread(rng, fmt, 7, 3, 2))],
            "equal": [run(37, number(fmt, 0.375))],
            "zeros": [(1, ordinary(rng, fmt, 3)), run(5, 0, fmt.sign_bit)],
            "onlyzeros": [run(6, 0, fmt.sign_bit)],
            "denormals": [(1, denormals)],
            "one": [(1, ordinary(rng, fmt, 1))],
            "largest": [run(3, fmt.max_finite, fmt.max_finite | fmt.sign_bit)],
            "smallest": [run(5, 1)],
            "blocks": tiled(ordinary(rng, fmt, 5), 4099),
        }
        for p in ORDERS + (10.0, -0.5, -1.5, -4.0, 1.25):
            for name, runs in shapes.items():
                yield from single(rng, fmt, runs, p, f"{name}")


def extreme_orders():
    """Orders so large or small that one part of the formula does all the work.
    Of ones |x|**p is 1 whatever p, and only the root of the count is left."""
    rng = Random(17)
    for fmt in ALL:
        one, two = number(fmt, 1.0), number(fmt, -2.0)
        for p in (1e3, 1e6, 1e10, 1e13, 1e15, 1.5e15, 1e300, -1e6, -1e13, -1e15, -1.5e15, -1e300):
            yield from single(rng, fmt, [run(4096, one)], p, "ones")
            yield from single(rng, fmt, [run(9, one, 0)], p, "ones-and-zeros")
        for p in (1e-3, -1e-3, 1e-5, -1e-5):
            yield from single(rng, fmt, [run(1, two)], p, "one-element")
            yield from single(rng, fmt, [run(2, one)], p, "two-ones")


def spans():
    """Exponents spread over 0 to 277 binades within a block, for each way of
    keeping the sum (two accumulators, three, integers)."""
    rng = Random(14)
    for fmt in (F32, BF16, F16, F64):
        lowest, highest = fmt.quantum, fmt.bias
        widest = highest - lowest
        for span in sorted({min(s, widest) for s in (0, 1, 5, 8, 9, 10, 12, 17, 18, 19, 20, 21, 30, 39, 40, 41, 45, 60, 100, 150, 200, 250, 276)}):
            for n, p in ((61, 2.0), (4096, 2.0), (4097, rng.choice([1.0, 2.0])), (9001, 1.0)):
                top = highest - rng.randrange(widest - span + 1)
                group = spread(rng, fmt, min(n, 31), top, span)
                yield from single(rng, fmt, tiled(group, n), p, f"span{span}")


def boundaries():
    """One element unlike all others, on and about the edges of blocks; and
    blocks whose exponents jump, so that a guess from the block before fails."""
    rng = Random(15)
    for fmt in (F32, BF16, F16, F64):
        tiny, huge = 1, fmt.max_finite
        middle = number(fmt, 0.7109375)
        for background, odd, name in (
            (0, tiny, "tiny-in-zeros"),
            (tiny, huge, "huge-in-tiny"),
            (huge, tiny, "tiny-in-huge"),
            (fmt.sign_bit, middle, "one-in-negative-zeros"),
            (middle, fmt.sign_bit | huge, "huge-in-ordinary"),
            (fmt.min_normal, fmt.min_normal - 1, "denormal-in-normal"),
        ):
            for n, index in ((70, 69), (4096, 0), (4096, 4095), (4097, 4096), (8192, 4095), (8193, 4096)):
                runs = placed(n, background, {index: odd})
                yield from single(rng, fmt, runs, rng.choice([1.0, 2.0]), name)
        for jumps in ((0, 20), (0, -20), (20, -60), (-100, 100), (100, -120), (-120, 0, -120)):
            runs = []
            for jump in jumps:
                exponent = max(min(jump, fmt.bias), fmt.quantum)
                runs += tiled([with_exponent(rng, fmt, exponent) for _ in range(5)], BLOCK)
            for p in (1.0, 2.0):
                yield from single(rng, fmt, runs + [run(3, middle)], p, "jump")


def limits():
    """Spans at which the sum needs one accumulator more, and sums whose last bit
    decides how the norm is rounded (thresholds.py)."""
    rng = Random(18)
    depths = (43, 87, 131)  # how far accumulators 1, 2, 3 reach below the largest term
    for fmt in (F32, BF16, F16):
        digits = fmt.mantissa_bits + 1
        for order in (1, 2):
            for depth in depths:
                last = depth // order - digits  # the widest span that fits
                if last < 8 or last > fmt.bias - 2 + (fmt.bias - 14 if fmt is not F16 else 0):
                    continue
                for span in range(last - 1, last + 3):
                    for nudge in (-1, 0, 1, rng.choice([-1, 0, 1])):
                        elements = delicate(fmt, order, span, nudge, rng)
                        runs = compact(elements)
                        yield from single(rng, fmt, runs, float(order), f"limit{depth}")
                        # The largest in a block of its own, which makes the guess for the next.
                        runs = [run(1, elements[0]), run(BLOCK - 1, 0)] + compact(elements[1:])
                        yield from single(rng, fmt, runs, float(order), f"limit{depth}-guessed")


def fixed_point():
    """float16 and bfloat16 at the ends of the range that 29 bits reach: too large or too small
    for it by one place, sums that just fit their lanes, ranges that change within a tensor."""
    rng = Random(20)
    block = BLOCK // 4  # what is summed at a time there
    for fmt in (F16, BF16):
        digits = fmt.mantissa_bits + 1
        last = 29 - digits  # the widest span that fits
        # 2^5 bounds what float16 sums in units of its smallest element; norms of one tensor begin with
        # 2^1, and 2^29 is the largest bound of bfloat16's.
        for bound in (5, 6, 16) if fmt is F16 else (1, 5, -60, -97, -98, 29, 30):
            largest = number(fmt, 2.0**bound * (1 - 2.0**-digits))
            next_one = min(largest + 1, fmt.max_finite)
            least = max(bound - 1 - last, fmt.quantum)
            fits, fits_not = number(fmt, 2.0**least), max(number(fmt, 2.0 ** (least - 1) * (2 - 2.0 ** (1 - digits))), 1)
            for n in (17, block, block + 1, 2 * BLOCK + 15):
                full = [run(n - 1, largest), run(1, fmt.sign_bit | largest)]
                yield from single(rng, fmt, full, 2.0, f"full{bound}")
                for name, odd in (("next", next_one), ("fits", fits), ("fits-not", fits_not)):
                    # The first block makes the guess for the others.
                    runs = [run(block, largest)] + placed(n, fmt.sign_bit | largest, {n // 3: odd, n - 1: odd})
                    yield from single(rng, fmt, runs, 2.0, f"{name}{bound}")
                runs = [run(block, largest), run(block, fits), run(n, largest, fits_not), run(n, next_one)]
                yield from single(rng, fmt, runs, 2.0, f"changing{bound}")
        for span in range(last - 1, last + 3):
            for nudge in (-1, 0, 1):
                elements = delicate(fmt, 2, span, nudge, rng)
                yield from single(rng, fmt, compact(elements), 2.0, "span")
                runs = [run(1, elements[0]), run(block - 1, 0)] + compact(elements[1:])
                yield from single(rng, fmt, runs, 2.0, "span-guessed")
        for odd in (fmt.inf, fmt.sign_bit | fmt.inf, fmt.nan):
            one = number(fmt, 1.0)
            yield from single(rng, fmt, placed(3 * block + 9, one, {2 * block + 7: odd, 3 * block + 8: odd}), 2.0, "not-finite")


def midpoints():
    """Norms halfway between two doubles, and a hair to either side: only an
    exact sum rounds all three correctly."""
    rng = Random(16)
    for fmt, unit in ((F32, -60), (F32, 0), (F32, 40), (BF16, -60), (BF16, 30)):
        for p, degree in ((1.0, 1), (2.0, 2)):
            for _ in range(3):
                for name, elements in midpoint_cases(rng, fmt, degree, unit).items():
                    yield from single(rng, fmt, [(1, elements)], p, f"midpoint-{name}")
                    apart = placed(9000, 0, {i * 600 + 5: bits for i, bits in enumerate(elements[:14])})
                    apart += [(1, elements[14:])] if elements[14:] else []
                    yield from single(rng, fmt, apart, p, f"midpoint-{name}-apart")
    # float16 reaches 54 bits only by length: 2**14 + 16 times the largest.
    top = 16400 * 65504
    for extra in (0, 1, 2, 3):
        runs = [run(16400, F16.max_finite)] + ([run(extra, 1)] if extra else [])
        yield from single(rng, F16, runs, 1.0, f"long-sum-{top}-{extra}")
    # Perfect squares stay perfect: the norm is an integer of 53 bits.
    for fmt in (F32, BF16):
        for _ in range(8):
            whole = (1 << 52) | rng.getrandbits(52)
            elements = powers_that_sum_to(fmt, whole * whole, 2, -30)
            yield from single(rng, fmt, [(1, elements)], 2.0, "perfect-square")
