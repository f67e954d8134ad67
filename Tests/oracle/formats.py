"""The four element types as sets of rational numbers.

Everything here is integer arithmetic: a bit pattern becomes a Fraction, and a
Fraction is rounded to the nearest bit pattern (ties to even). No hardware
rounding is relied on, so the results can be held against hardware.
"""

import struct
from fractions import Fraction


class Format:
    """An IEEE-like binary format: one sign bit, exponent_bits, mantissa_bits."""

    def __init__(self, name, exponent_bits, mantissa_bits):
        self.name = name
        self.exponent_bits = exponent_bits
        self.mantissa_bits = mantissa_bits
        self.width = 1 + exponent_bits + mantissa_bits
        self.bias = (1 << (exponent_bits - 1)) - 1
        # Every finite number is a multiple of 2 ** quantum.
        self.quantum = 1 - self.bias - mantissa_bits
        self.sign_bit = 1 << (self.width - 1)
        self.inf = ((1 << exponent_bits) - 1) << mantissa_bits
        self.nan = self.inf | (1 << (mantissa_bits - 1))
        self.max_finite = self.inf - 1
        self.min_normal = 1 << mantissa_bits

    def __repr__(self):
        return self.name

    def is_nan(self, bits):
        return (bits & ~self.sign_bit) > self.inf

    def is_inf(self, bits):
        return (bits & ~self.sign_bit) == self.inf

    def is_finite(self, bits):
        return (bits & ~self.sign_bit) < self.inf

    def is_negative(self, bits):
        return bool(bits & self.sign_bit)

    def magnitude(self, bits):
        """|x| of a finite element, as a Fraction."""
        if not self.is_finite(bits):
            raise ValueError(f"{self.name} {bits:#x} is not finite")
        bits &= ~self.sign_bit
        exponent, mantissa = bits >> self.mantissa_bits, bits & (self.min_normal - 1)
        if exponent:
            mantissa += self.min_normal
            exponent -= 1
        return Fraction(mantissa << exponent) * Fraction(2) ** self.quantum

    def value(self, bits):
        """The element as a Fraction (both zeros are 0)."""
        return -self.magnitude(bits) if self.is_negative(bits) else self.magnitude(bits)

    def round(self, value, negative=None):
        """The bits nearest to a Fraction, ties to even, overflow to infinity.

        negative gives the sign where the value itself cannot (a zero)."""
        if negative is None:
            negative = value < 0
        sign = self.sign_bit if negative else 0
        value = abs(value)
        if value == 0:
            return sign
        # The exponent of the leading bit: 2 ** top <= value < 2 ** (top + 1).
        top = value.numerator.bit_length() - value.denominator.bit_length()
        if Fraction(2) ** top > value:
            top -= 1
        step = max(top - self.mantissa_bits, self.quantum)
        count = round(value / Fraction(2) ** step)  # Fraction.__round__ ties to even
        bits = count + ((step - self.quantum) << self.mantissa_bits)
        return sign | min(bits, self.inf)


F32 = Format("f32", 8, 23)
F64 = Format("f64", 11, 52)
F16 = Format("f16", 5, 10)
BF16 = Format("bf16", 8, 7)
FORMATS = {f.name: f for f in (F32, F64, F16, BF16)}


def float_of(bits):
    """The Python float whose binary64 bits these are."""
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


def bits_of(number):
    """The binary64 bits of a Python float."""
    return struct.unpack("<Q", struct.pack("<d", number))[0]


def round64(value):
    """The float64 nearest to a Fraction; infinity past the largest."""
    return float_of(F64.round(value))
