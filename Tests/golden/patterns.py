"""Inputs of the golden cases: gradients as runs of bit patterns.

A tensor's data is a list of (times, [bits, ...]) runs, which is how the file
stores it too: thousands of elements fit on a line that a person can read.
"""

from math import isqrt
from random import Random

from formats import F64, bits_of


def run(times, *bits):
    return (times, list(bits))


def expand(runs):
    return [bits for times, group in runs for _ in range(times) for bits in group]


def length(runs):
    return sum(times * len(group) for times, group in runs)


def number(fmt, value):
    """The bits of a Python float in this format, nearest."""
    from fractions import Fraction

    bits = bits_of(value)
    sign = fmt.sign_bit if bits & F64.sign_bit else 0
    if value != value:
        return fmt.nan
    if value - value != 0:
        return sign | fmt.inf
    return fmt.round(Fraction(value), bool(sign))


def with_exponent(rng: Random, fmt, exponent):
    """A random number whose leading bit is worth 2 ** exponent (or the format's
    nearest possible), of either sign."""
    sign = fmt.sign_bit if rng.getrandbits(1) else 0
    exponent = min(exponent, fmt.bias)
    mantissa = rng.getrandbits(fmt.mantissa_bits)
    lowest = 1 - fmt.bias
    if exponent >= lowest:
        return sign | ((exponent + fmt.bias) << fmt.mantissa_bits) | mantissa
    keep = max(exponent - fmt.quantum, 0)  # a denormal with this leading bit
    return sign | (1 << keep) | (mantissa & ((1 << keep) - 1))


def ordinary(rng: Random, fmt, n, scale=0):
    """Numbers as gradients are: a few binades around 2 ** scale."""
    return [with_exponent(rng, fmt, scale - int(rng.expovariate(0.7))) for _ in range(n)]


def spread(rng: Random, fmt, n, top, span):
    """Exponents anywhere in top - span ... top, both ends certainly taken."""
    ends = [with_exponent(rng, fmt, top), with_exponent(rng, fmt, top - span)]
    rest = [with_exponent(rng, fmt, top - rng.randrange(span + 1)) for _ in range(n)]
    return (ends + rest)[:n]


def tiled(group, n):
    """n elements that repeat a group (of odd length, so that it meets every
    vector lane), the last time cut short."""
    whole, rest = divmod(n, len(group))
    runs = [(whole, list(group))] if whole else []
    return runs + ([(1, list(group[:rest]))] if rest else [])


def placed(n, background, elements):
    """n times the background, but elements = {index: bits}."""
    runs, position = [], 0
    for index in sorted(elements):
        if index > position:
            runs.append(run(index - position, background))
        runs.append(run(1, elements[index]))
        position = index + 1
    if position < n:
        runs.append(run(n - position, background))
    return runs


def compact(elements):
    """Runs of equal neighbours."""
    runs = []
    for bits in elements:
        if runs and runs[-1][1] == [bits]:
            runs[-1] = (runs[-1][0] + 1, [bits])
        elif runs and runs[-1][0] == 1:
            runs[-1][1].append(bits)
        else:
            runs.append((1, [bits]))
    return runs


def of_integer(fmt, integer, unit):
    """The bits of integer * 2 ** unit, which the format must hold exactly."""
    from fractions import Fraction

    exact = Fraction(integer) * Fraction(2) ** unit
    bits = fmt.round(exact)
    if fmt.is_inf(bits) or fmt.value(bits) != exact:
        raise ValueError(f"{integer} * 2**{unit} is no {fmt.name}")
    return bits


def powers_that_sum_to(fmt, target, degree, unit):
    """Elements x with sum (x / 2**unit) ** degree = target, an integer."""
    digits = fmt.mantissa_bits + 1
    found = []
    while target:
        whole = target if degree == 1 else isqrt(target)
        drop = max(whole.bit_length() - digits, 0)
        part = whole >> drop << drop
        found.append(of_integer(fmt, part, unit))
        target -= part**degree
    return found


def midpoint_cases(rng: Random, fmt, degree, unit):
    """Three vectors whose norm is a number halfway between two doubles, and a
    hair below and above it. unit is the exponent of the halfway digit."""
    odd = (1 << 53) | rng.getrandbits(53) | 1  # 54 bits: the last is the half
    hair = fmt.round(fmt.magnitude(1))
    below = powers_that_sum_to(fmt, odd**degree - 1, degree, unit)
    exact = powers_that_sum_to(fmt, odd**degree, degree, unit)
    return {"below": below, "exact": exact, "above": exact + [hair]}
