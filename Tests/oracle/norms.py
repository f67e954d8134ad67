"""Norms as the header defines them, from rational arithmetic.

A tensor's elements come as a mapping from |x| (a Fraction) to how often it
occurs. A norm is a Fraction (exact or good to hundreds of bits: see roots), or
one of the strings "inf" and "nan" where no rational is the answer.
"""

from collections import Counter
from fractions import Fraction
from math import inf, isinf, isnan, nan

from formats import F64, Format, bits_of, round64
from roots import power

INF, NAN = "inf", "nan"
COUNTS_AS_INFINITE = 2.0**50  # any order beyond


class Magnitudes:
    """What the norm needs to know of some elements: |x| and how often, and the
    infinities and NaNs."""

    def __init__(self):
        self.finite = Counter()
        self.infinities = 0
        self.nans = 0

    @classmethod
    def of(cls, fmt: Format, elements):
        found = cls()
        by_bits = Counter(bits & ~fmt.sign_bit for bits in elements)
        for bits, times in by_bits.items():
            if fmt.is_nan(bits):
                found.nans += times
            elif fmt.is_inf(bits):
                found.infinities += times
            else:
                found.finite[fmt.magnitude(bits)] += times
        return found

    def __add__(self, other):
        both = Magnitudes()
        both.finite = self.finite + other.finite
        both.infinities = self.infinities + other.infinities
        both.nans = self.nans + other.nans
        return both

    def without_nonfinite(self):
        rest = Magnitudes()
        rest.finite = self.finite
        return rest

    @property
    def count(self):
        return sum(self.finite.values()) + self.infinities + self.nans


def power_sum(magnitudes, p):
    """sum |x| ** p over finite elements, p a finite float other than 0."""
    exponent = Fraction(p)
    return sum(
        (times * power(x, exponent) for x, times in magnitudes.finite.items() if x),
        Fraction(0),
    )


def norm(magnitudes: Magnitudes, p: float):
    """The p-norm of all these elements taken as one vector."""
    if isnan(p):
        raise ValueError("norm_type must be a number (got nan)")
    if abs(p) > COUNTS_AS_INFINITE:
        p = inf if p > 0 else -inf
    if magnitudes.count == 0:
        return Fraction(0)
    if p == 0:
        nonzero = sum(times for x, times in magnitudes.finite.items() if x)
        return Fraction(nonzero + magnitudes.infinities + magnitudes.nans)
    if magnitudes.nans:
        return NAN
    if p == inf:
        return INF if magnitudes.infinities else max(magnitudes.finite)
    if p == -inf:
        return min(magnitudes.finite) if magnitudes.finite else INF
    if p > 0:
        if magnitudes.infinities:
            return INF
    elif magnitudes.finite.get(Fraction(0)):
        return Fraction(0)  # 0 ** p is infinite, and so is the sum
    elif not magnitudes.finite:
        return INF  # infinity ** p is 0, and so is the sum
    total = power_sum(magnitudes, p)
    return power(total, 1 / Fraction(p)) if total else Fraction(0)


def total_norm(tensors, p: float):
    """The norm of a list of tensors, each a Magnitudes.

    It is that of all elements as one vector; for p = 0 it counts the tensors
    that have an element other than 0."""
    if p == 0:
        return Fraction(sum(1 for t in tensors if norm(t, 0)))
    return norm(sum(tensors, Magnitudes()), p)


def rounded(value):
    """A Fraction > 0 rounded to 53 bits, as float64 without an end to its range."""
    step = value.numerator.bit_length() - value.denominator.bit_length() - 53
    if Fraction(2) ** (step + 53) > value:
        step -= 1
    return round(value / Fraction(2) ** (step + 1)) * Fraction(2) ** (step + 1)


def unscaled(value, p: float, grad_scale: float):
    """The norm of gradient / grad_scale, given that of the gradient: a norm is
    rounded before the division. Counts stay as they are."""
    if p == 0 or value in (INF, NAN) or grad_scale == 1 or value == 0:
        return value
    return rounded(value) / Fraction(grad_scale)


def as_float(value):
    """The correctly rounded float64 of a norm."""
    if value == INF:
        return inf
    if value == NAN:
        return nan
    return round64(value)


def ulps_apart(a: float, b: float) -> int:
    """How many float64 steps lie between two numbers of the same sign."""
    if isnan(a) or isnan(b):
        return 0 if isnan(a) and isnan(b) else F64.inf
    if isinf(a) or isinf(b):
        return 0 if a == b else F64.inf
    return abs(bits_of(a) - bits_of(b))
