"""Powers and roots of rationals, exact or to hundreds of bits.

A root that is no rational number is returned as a *representative*: it lies
strictly between the same two neighbours on a grid of PRECISION bits as the true
root does. Rounding it to anything coarser (53 bits, say) therefore rounds the
true root correctly, ties included; this is the sticky bit of the textbooks.
"""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from fractions import Fraction
from math import isqrt

PRECISION = 600  # bits
DIGITS = 160  # decimal digits, for powers that are not halves of integers


def integer_root(number, degree):
    """floor(number ** (1 / degree)) of an integer >= 0."""
    if degree == 1 or number < 2:
        return number
    if degree == 2:
        return isqrt(number)
    # Newton from above falls monotonically to the floor.
    guess = 1 << -(-number.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + number // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better


def root(value, degree):
    """value ** (1 / degree) of a Fraction >= 0, exact or a representative."""
    if value == 0 or degree == 1:
        return value
    bits = (value.numerator.bit_length() - value.denominator.bit_length()) // degree
    scale = PRECISION - bits  # the root gets about PRECISION bits before the point
    scaled = value * Fraction(2) ** (scale * degree)
    whole, rest = divmod(scaled.numerator, scaled.denominator)
    found = integer_root(whole, degree)
    sticky = 1 if rest or found**degree != whole else 0
    return Fraction(2 * found + sticky) / Fraction(2) ** (scale + 1)


def exact_decimal(value, context):
    return context.divide(Decimal(value.numerator), Decimal(value.denominator))


def power(value, exponent):
    """value ** exponent for a Fraction > 0 and any Fraction exponent.

    Halves of small integers go through integer roots; every other exponent
    through decimal arithmetic whose error is below 10 ** (30 - DIGITS)."""
    if exponent.denominator <= 4 and abs(exponent.numerator) <= 8:
        return root(value**exponent.numerator, exponent.denominator)
    context = Context(prec=DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)
    result = context.power(exact_decimal(value, context), exact_decimal(exponent, context))
    return Fraction(result)
