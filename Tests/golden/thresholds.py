"""Vectors whose norm an error in the last kept bit of the sum would change.

An exact sum kept in a few floating point accumulators is exact only while every
term is a multiple of the last accumulator's unit, which the span of the
exponents decides. To see whether that limit is right to the bit, a sum must be
such that one unit more or less moves the norm across the midpoint between two
doubles, and its elements must use the whole span and no more: each at least
2**(digits - 1) units, so with its last bit at the unit, and the largest exactly
span binades above the smallest.
"""

from math import isqrt
from random import Random

from patterns import of_integer


def is_prime(n):
    """Miller-Rabin with bases that decide for every n below 3.3e24."""
    small = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if n < 2 or any(n % q == 0 for q in small):
        return n in small
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in small:
        x = pow(base, odd, n)
        if x not in (1, n - 1) and all((x := x * x % n) != n - 1 for _ in range(twos - 1)):
            return False
    return True


def two_squares(prime, rng):
    """a, b with a**2 + b**2 = prime, a prime that is 1 modulo 4 (Cornacchia)."""
    while True:
        half = pow(rng.randrange(2, prime - 1), (prime - 1) // 4, prime)
        if half * half % prime == prime - 1:
            break
    a, b = prime, half
    while b * b > prime:
        a, b = b, a % b
    return b, isqrt(prime - b * b)


def five_squares(total, low, high, rng):
    """Five integers in low ... high - 1 whose squares sum to the total."""
    while True:
        a, b, e = (rng.randrange(low, high) for _ in range(3))
        rest = total - a * a - b * b - e * e
        if rest < 2 * low * low:
            continue
        if high <= 4096:
            for c in range(low, high):
                d = isqrt(max(rest - c * c, 0))
                if low <= d < high and c * c + d * d == rest:
                    return [a, b, c, d, e]
        elif rest % 4 == 1 and is_prime(rest):
            c, d = two_squares(rest, rng)
            if low <= c < high and low <= d < high:
                return [a, b, c, d, e]


def truncated(number, digits):
    drop = max(number.bit_length() - digits, 0)
    return number >> drop << drop


def as_squares(total, digits, rng):
    """Integers of so many digits, none below 2**(digits - 1), whose squares sum
    to the total."""
    low, high = 1 << (digits - 1), 1 << digits
    keep = 8 * low * low  # for the last five, which can make 5 to 20 times low**2
    found = []
    while total > 2 * keep:
        x = max(truncated(isqrt(total - keep), digits), low)
        found.append(x)
        total -= x * x
    return found + five_squares(total, low, high, rng)


def as_sum(total, digits, largest):
    """The same without squares; no integer above the largest."""
    low, high = 1 << (digits - 1), 1 << digits
    found = []
    while total > 2 * (high - 1):  # more than the last two can make
        x = min(truncated(total - 2 * low, digits), largest)
        found.append(x)
        total -= x
    first = max(low, total - (high - 1))
    return found + [first, total - first]


def delicate(fmt, order, span, nudge, rng: Random):
    """Elements as the module describes; nudge -1, 0, 1 puts the sum below, at or
    above a midpoint (for squares: as near as whole units come)."""
    digits = fmt.mantissa_bits + 1
    top = span + digits  # the largest element has this many bits, in units
    if order == 2:
        odd = (1 << 53) | rng.getrandbits(53) | 1
        odd = (odd * 3 // 2 | 1) if odd < 5 << 51 else odd  # a norm of 1.2 to 2 times 2**(top - 1)
        odd = odd & ((1 << 54) - 1) | 1 << 53 | 1
        shift = 2 * (top - 54)
        square = odd * odd
        target = square << shift if shift >= 0 else -(-square >> -shift) if nudge > 0 else square >> -shift
        integers = as_squares(target + (nudge if shift >= 0 else 0), digits, rng)
    else:
        bits = max(54, top + 1)
        target = ((1 << 53 | rng.getrandbits(53) | 1) << (bits - 54)) + nudge
        integers = as_sum(target, digits, truncated((1 << top) - 1, digits))
    assert sum(x**order for x in integers) == (target if order == 1 or shift < 0 else target + nudge)
    largest = max(integers)
    # The unit: the largest element fits, and so does the smallest as a normal number.
    unit = min(0, fmt.bias + 1 - largest.bit_length())
    return [of_integer(fmt, x, unit) for x in integers]
