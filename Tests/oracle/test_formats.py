"""The formats against struct (binary64, binary32, binary16) and known numbers."""

import random
import struct
import unittest
from fractions import Fraction

from formats import BF16, F16, F32, F64, FORMATS, bits_of, float_of, round64


def packed(code, number):
    size = struct.calcsize("<" + code)
    try:
        return int.from_bytes(struct.pack("<" + code, number), "little")
    except OverflowError:
        return {"f": F32, "e": F16}[code].inf | (1 << (8 * size - 1) if number < 0 else 0)


class Formats(unittest.TestCase):
    def test_known_numbers(self):
        for fmt, bits, value in [
            (F32, 0x3F800000, Fraction(1)),
            (F32, 0x00000001, Fraction(1, 2**149)),
            (F32, 0x7F7FFFFF, Fraction(2**128 - 2**104)),
            (F64, 0x0000000000000001, Fraction(1, 2**1074)),
            (F64, 0xC000000000000000, Fraction(-2)),
            (F16, 0x7BFF, Fraction(65504)),
            (F16, 0x0001, Fraction(1, 2**24)),
            (BF16, 0x3F80, Fraction(1)),
            (BF16, 0x0080, Fraction(1, 2**126)),
            (BF16, 0x7F7F, Fraction(255 * 2**120)),
        ]:
            self.assertEqual(fmt.value(bits), value)
            self.assertEqual(fmt.round(value), bits)

    def test_every_16_bit_pattern_survives_a_round_trip(self):
        for fmt in (F16, BF16):
            for bits in range(1 << 16):
                if fmt.is_finite(bits):
                    self.assertEqual(fmt.round(fmt.value(bits), fmt.is_negative(bits)), bits)
            self.assertTrue(fmt.is_inf(fmt.inf) and fmt.is_nan(fmt.nan))

    def test_every_half_is_what_struct_says(self):
        for bits in range(1 << 16):
            if F16.is_finite(bits):
                number = struct.unpack("<e", bits.to_bytes(2, "little"))[0]
                self.assertEqual(F16.value(bits), Fraction(number))

    def test_rounding_is_that_of_the_hardware(self):
        rng = random.Random(1)
        for _ in range(20000):
            number = float_of(rng.getrandbits(64))
            if number - number != 0:
                continue
            if rng.random() < 0.7:  # most doubles are far outside the smaller formats
                number = rng.choice([-1, 1]) * (1 + rng.random()) * 2.0 ** rng.randrange(-152, 130)
            exact = Fraction(number)
            self.assertEqual(F64.round(exact, number < 0), bits_of(number))
            self.assertEqual(F32.round(exact, number < 0), packed("f", number))
            self.assertEqual(F16.round(exact, number < 0), packed("e", number))

    def test_ties_go_to_even_and_past_the_largest_lies_infinity(self):
        half_ulp = Fraction(1, 2**53)
        self.assertEqual(round64(1 + half_ulp), 1.0)
        self.assertEqual(round64(1 + 3 * half_ulp), 1 + 2.0**-51)
        self.assertEqual(round64(1 + half_ulp + Fraction(1, 2**2000)), 1 + 2.0**-52)
        self.assertEqual(F64.round(Fraction(2**1024 - 2**970)), F64.inf)
        self.assertEqual(F64.round(Fraction(2**1024 - 2**970 - 1)), F64.max_finite)
        self.assertEqual(F16.round(Fraction(65519)), 0x7BFF)
        self.assertEqual(F16.round(Fraction(65520)), F16.inf)
        self.assertEqual(BF16.round(Fraction(257, 256)), 0x3F80)
        self.assertEqual(BF16.round(Fraction(259, 256)), 0x3F82)
        for fmt in FORMATS.values():
            smallest = fmt.value(1)
            self.assertEqual(fmt.round(smallest / 2), 0)
            self.assertEqual(fmt.round(smallest * Fraction(3, 4)), 1)
            self.assertEqual(fmt.round(-smallest / 2), fmt.sign_bit)


if __name__ == "__main__":
    unittest.main()
