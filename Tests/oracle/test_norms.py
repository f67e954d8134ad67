"""The norms and roots against math.hypot, math.fsum, decimal and paper."""

import math
import random
import unittest
from fractions import Fraction
from math import inf, nan

from formats import BF16, F16, F32, F64, bits_of, float_of, round64
from norms import INF, NAN, Magnitudes, as_float, norm, rounded, total_norm, ulps_apart, unscaled
from roots import integer_root, power, root


def doubles(*numbers):
    return Magnitudes.of(F64, [bits_of(float(x)) for x in numbers])


def value(p, *numbers):
    return as_float(norm(doubles(*numbers), p))


class Roots(unittest.TestCase):
    def test_integer_roots_are_floors(self):
        rng = random.Random(2)
        for degree in (1, 2, 3, 4, 5, 7):
            for number in [0, 1, 2, 7, 8, 9] + [rng.getrandbits(rng.randrange(1, 900)) for _ in range(200)]:
                found = integer_root(number, degree)
                self.assertLessEqual(found**degree, number)
                self.assertGreater((found + 1) ** degree, number)

    def test_exact_roots_stay_exact(self):
        for degree in (2, 3, 4):
            for x in (Fraction(3, 4), Fraction(2**54 + 1, 2**1074), Fraction(7 * 2**900)):
                self.assertEqual(root(x**degree, degree), x)

    def test_an_inexact_root_lies_on_its_side_of_a_midpoint(self):
        midpoint = 1 + Fraction(1, 2**53)  # between two doubles
        for degree in (2, 3, 4):
            for tiny in (Fraction(1, 2**300), Fraction(1, 2**900)):
                self.assertEqual(round64(root(midpoint**degree - tiny, degree)), 1.0)
                self.assertEqual(round64(root(midpoint**degree + tiny, degree)), 1 + 2.0**-52)

    def test_both_ways_to_a_power_agree(self):
        rng = random.Random(3)
        for _ in range(100):
            x = Fraction(rng.randrange(1, 2**53)) * Fraction(2) ** rng.randrange(-400, 400)
            near = Fraction(3, 2) + Fraction(1, 2**400)  # not a half: the decimal way
            a, b = power(x, Fraction(3, 2)), power(x, near)
            self.assertLess(abs(a / b - 1), Fraction(1, 2**350))


class Norms(unittest.TestCase):
    def test_by_hand(self):
        self.assertEqual(value(2, 3, -4), 5.0)
        self.assertEqual(value(1, 3, -4), 7.0)
        self.assertEqual(value(3, 3, 4, 5), 6.0)
        self.assertEqual(value(4, 30, 120, 272, 315), 353.0)  # Norrie, 1911
        self.assertEqual(value(0.5, 4, 9), 25.0)
        self.assertEqual(value(1.5, 4, 0), 4.0)
        self.assertEqual(value(-1, 2, 2), 1.0)
        self.assertEqual(value(-2.5, 7), 7.0)
        self.assertEqual(value(inf, 3, -4), 4.0)
        self.assertEqual(value(-inf, 3, -4), 3.0)
        self.assertEqual(value(0, 3, 0, -0.0, -4), 2.0)
        for p in (-1, -2.5, -inf):
            self.assertEqual(value(p, 3, 0), 0.0)
        for p in (0, 1, 2, 0.01, 100, -1, inf, -inf):
            self.assertEqual(value(p), 0.0)

    def test_two_norm_is_hypot_within_an_ulp(self):
        rng = random.Random(4)
        for _ in range(300):
            numbers = [rng.gauss(0, 1) * 10.0 ** rng.randrange(-3, 3) for _ in range(rng.randrange(1, 40))]
            self.assertLessEqual(ulps_apart(value(2, *numbers), math.hypot(*numbers)), 1)

    def test_one_norm_is_fsum(self):
        rng = random.Random(5)
        for _ in range(300):
            numbers = [rng.gauss(0, 1) * 2.0 ** rng.randrange(-80, 80) for _ in range(rng.randrange(1, 40))]
            self.assertEqual(value(1, *numbers), math.fsum(map(abs, numbers)))

    def test_correct_rounding_where_float64_cannot_see(self):
        # 1 + 2**-52 + 2**-106 is the square of the midpoint 1 + 2**-53.
        tie = [1.0, 2.0**-26, 2.0**-53]
        self.assertEqual(value(2, *tie), 1.0)
        self.assertEqual(value(2, *tie, 2.0**-500), 1 + 2.0**-52)
        self.assertEqual(value(1, 1.0, 2.0**-53), 1.0)
        self.assertEqual(value(1, 1.0, 2.0**-53, 5e-324), 1 + 2.0**-52)

    def test_other_orders_are_near_the_naive_formula(self):
        rng = random.Random(6)
        for p in (2.7, 0.5, 1.5, 3, 4, 0.01, -1, -2.5):
            for _ in range(20):
                numbers = [rng.uniform(0.5, 2) for _ in range(rng.randrange(1, 6))]
                naive = sum(x**p for x in numbers) ** (1 / p)
                self.assertAlmostEqual(value(p, *numbers) / naive, 1, delta=1e-12)

    def test_large_orders_tend_to_the_largest_element(self):
        self.assertEqual(value(100, 1e300, 1e290), 1e300)
        self.assertEqual(value(-100, 1e-300, 1e-290), 1e-300)
        self.assertGreater(value(2.0**49, *[1] * 99), 1.0)
        self.assertEqual(value(2.0**51, *[1] * 99), 1.0)
        self.assertEqual(value(-(2.0**51), 3, 4, 4), 3.0)

    def test_magnitudes_beyond_float64(self):
        self.assertEqual(value(2, 1.7e308, 1.7e308), inf)
        self.assertIsInstance(norm(doubles(1.7e308, 1.7e308), 2), Fraction)
        self.assertEqual(value(2, 3 * 2.0**700, 4 * 2.0**700), 5 * 2.0**700)
        self.assertEqual(value(2, 3 * 2.0**-700, 4 * 2.0**-700), 5 * 2.0**-700)
        self.assertEqual(value(2, 3 * 5e-324, 4 * 5e-324), 5 * 5e-324)
        self.assertEqual(unscaled(Fraction(3), 2, 2.0**-1074), 3 * Fraction(2) ** 1074)

    def test_a_norm_is_rounded_before_grad_scale_divides_it(self):
        for numbers in ((1, 2, 4), (1.1, 2.3), (1e-310, 3e-310)):
            norm_before = norm(doubles(*numbers), 2)
            for grad_scale in (3.0, 0.1, 65536.0):
                found = as_float(unscaled(norm_before, 2, grad_scale))
                if numbers[0] > 1e-300:
                    self.assertEqual(found, as_float(norm_before) / grad_scale)
        for value in (Fraction(1, 3), Fraction(2), Fraction(2**54 - 1), Fraction(7, 2**1100)):
            self.assertLessEqual(abs(rounded(value) / value - 1), Fraction(1, 2**53))
            digits = rounded(value).numerator
            self.assertLessEqual((digits // (digits & -digits)).bit_length(), 53)
        self.assertEqual(rounded(Fraction(2**53 + 1)), 2**53)
        self.assertEqual(rounded(Fraction(2**54 + 6)), 2**54 + 8)

    def test_non_finite(self):
        for p in (0.5, 1, 2, 3, inf):
            self.assertEqual(norm(doubles(1, -inf), p), INF)
        for p in (-1, -2.5):
            self.assertEqual(value(p, 3, inf), 3.0)
            self.assertEqual(norm(doubles(inf), p), INF)
        self.assertEqual(value(-inf, 3, inf), 3.0)
        for p in (0.5, 1, 2, inf, -inf, -1):
            self.assertEqual(norm(doubles(1, inf, nan), p), NAN)
        self.assertEqual(value(0, 1, 0, inf, nan), 3.0)

    def test_total_norm(self):
        tensors = [doubles(3, 0), doubles(), doubles(0, 0), doubles(4)]
        self.assertEqual(total_norm(tensors, 2), 5)
        self.assertEqual(total_norm(tensors, 0), 2)
        self.assertEqual(total_norm([], 2), 0)
        self.assertEqual(total_norm([doubles(5, 7), doubles()], -inf), 5)

    def test_every_type_counts(self):
        self.assertEqual(norm(Magnitudes.of(F16, [0xC200, 0x4400]), 2), 5)  # -3, 4
        self.assertEqual(norm(Magnitudes.of(BF16, [0x4040, 0xC080]), 2), 5)
        self.assertEqual(norm(Magnitudes.of(F32, [0x40400000, 0xC0800000]), 2), 5)

    def test_ulps_apart(self):
        self.assertEqual(ulps_apart(1.0, 1.0 + 2.0**-51), 2)
        self.assertEqual(ulps_apart(nan, nan), 0)
        self.assertGreater(ulps_apart(inf, float_of(F64.max_finite)), 10**6)


if __name__ == "__main__":
    unittest.main()
