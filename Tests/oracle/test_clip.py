"""Coefficients, factors, products and policies against numbers worked by hand
and against the hardware's own float32 arithmetic."""

import ctypes
import random
import struct
import unittest
from fractions import Fraction
from math import inf, isnan, nan

import clip
from clip import LEAVE, NON_FINITE, OK, PROPAGATE, ZERO, Tensor, clip_coef, clip_grad_norm, scaled
from formats import BF16, F16, F32, F64, bits_of, float_of


def f32(number):
    return struct.unpack("<I", struct.pack("<f", number))[0]


def f64s(*numbers):
    return Tensor(F64, [bits_of(float(x)) for x in numbers])


def numbers(outputs):
    return [[float_of(bits) for bits in tensor] for tensor in outputs]


class Coefficient(unittest.TestCase):
    def test_the_formula_and_its_corners(self):
        self.assertEqual(clip_coef(1.0, 4.0, 0.0), 0.25)
        self.assertEqual(clip_coef(1.0, 1.0, 1e-6), 1 / (1 + 1e-6))
        self.assertEqual(clip_coef(1.0, 0.5, 1e-6), 1.0)
        self.assertEqual(clip_coef(0.0, 0.0, 0.0), 0.0)
        self.assertEqual(clip_coef(0.0, inf, 1e-6), 0.0)
        self.assertEqual(clip_coef(1.0, 0.0, 0.0), 1.0)
        self.assertEqual(clip_coef(inf, inf, 1e-6), 1.0)
        self.assertEqual(clip_coef(5.0, inf, 1e-6), 0.0)
        self.assertTrue(isnan(clip_coef(5.0, nan, 1e-6)))

    def test_a_norm_beyond_float64(self):
        found = clip_grad_norm([f64s(1.5 * 2.0**1023, float_of(F64.max_finite))], 2.0**1022, 1.0, eps=0.0)
        self.assertEqual(found.total_norm, inf)
        self.assertEqual(found.status, OK)
        self.assertAlmostEqual(found.clip_coef, 0.5 / (1.5 + 2), delta=1e-15)
        self.assertAlmostEqual(numbers(found.outputs)[0][0] / 2.0**1022, 3 / 7, delta=1e-15)


class Products(unittest.TestCase):
    def test_float32_is_the_hardware_product(self):
        rng = random.Random(7)
        for _ in range(20000):
            x = struct.unpack("<f", struct.pack("<I", rng.getrandbits(32)))[0]
            factor = (1 + rng.random()) * 2.0 ** rng.randrange(-126, 0)
            if x - x != 0:
                continue
            single = ctypes.c_float(factor).value  # float32(factor)
            # The product of two float32 is exact in float64.
            self.assertEqual(scaled(F32, f32(x), factor), f32(ctypes.c_float(x * single).value))

    def test_float64_is_the_hardware_product(self):
        rng = random.Random(8)
        for _ in range(20000):
            x, factor = float_of(rng.getrandbits(64)), rng.random() * 2.0 ** rng.randrange(-300, 1)
            if x - x == 0:
                self.assertEqual(scaled(F64, bits_of(x), factor), bits_of(x * factor))

    def test_a_factor_that_is_denormal_in_float32_goes_through_float64(self):
        factor = 1e-45 * 0.7  # float32 would round it to 2**-149, which is 1.4e-45
        self.assertFalse(clip.is_normal_f32(factor))
        big = ctypes.c_float(1e38).value
        self.assertEqual(scaled(F32, f32(big), factor), f32(big * factor))
        self.assertTrue(clip.is_normal_f32(2.0**-126))
        self.assertFalse(clip.is_normal_f32(2.0**-127))
        self.assertTrue(clip.is_normal_f32(2.0**-126 * (1 - 2.0**-30)))  # rounds up to normal
        self.assertFalse(clip.is_normal_f32(2.0**128))

    def test_sixteen_bits_round_twice(self):
        self.assertEqual(scaled(F16, 0x4200, 0.5), 0x3E00)  # 3 -> 1.5
        self.assertEqual(scaled(BF16, 0x4040, 0.5), 0x3FC0)
        self.assertEqual(scaled(F16, 0x7BFF, 2.0), F16.inf)
        self.assertEqual(scaled(F16, 0x8001, 0.25), 0x8000)
        # 1025/1024 * (1/2 + 2**-20): in float32 this stays above the tie.
        self.assertEqual(scaled(F16, 0x3C01, 0.5 + 2.0**-20), 0x3801)

    def test_signs_of_zero_and_special_products(self):
        self.assertEqual(scaled(F32, f32(-0.0), 0.5), f32(-0.0))
        self.assertEqual(scaled(F32, f32(-2.0), 0.0), f32(-0.0))
        self.assertEqual(scaled(F32, f32(2.0), -0.0), f32(-0.0))
        self.assertTrue(F32.is_nan(scaled(F32, F32.inf, 0.0)))
        self.assertEqual(scaled(F32, F32.inf | F32.sign_bit, 0.5), F32.inf | F32.sign_bit)
        self.assertTrue(F64.is_nan(scaled(F64, bits_of(1.0), nan)))


class Policies(unittest.TestCase):
    grads = [f64s(3, 4), f64s(), f64s(1, inf, nan)]

    def test_leave(self):
        found = clip_grad_norm(self.grads, 1.0, 2.0)
        self.assertEqual(found.status, NON_FINITE)
        self.assertIsNone(found.outputs)
        self.assertTrue(isnan(found.total_norm))
        self.assertEqual((found.nonfinite_count, found.nan_count, found.first), (2, 1, (2, 1)))
        self.assertEqual(found.tensor_norms[:2], [5.0, 0.0])

    def test_propagate(self):
        found = clip_grad_norm(self.grads, 1.0, 2.0, policy=PROPAGATE)
        self.assertEqual(found.status, OK)
        self.assertTrue(all(isnan(x) for row in numbers(found.outputs) for x in row))
        found = clip_grad_norm([f64s(3, -4, inf)], 1.0, 2.0, policy=PROPAGATE)
        self.assertEqual(found.factor, 0.0)
        self.assertEqual([str(x) for x in numbers(found.outputs)[0]], ["0.0", "-0.0", "nan"])

    def test_zero(self):
        found = clip_grad_norm([f64s(3, nan, 4, -inf)], 1.0, 2.0, eps=0.0, policy=ZERO)
        self.assertEqual((found.status, found.total_norm, found.nonfinite_count), (OK, 5.0, 2))
        self.assertEqual(numbers(found.outputs), [[3 * 0.2, 0.0, 4 * 0.2, 0.0]])

    def test_uncounted(self):
        copy = Tensor(F64, f64s(100, nan).elements, counted=False)
        found = clip_grad_norm([copy, f64s(3, 4)], 2.5, 2.0, eps=0.0)
        self.assertEqual((found.status, found.total_norm, found.tensor_norms), (OK, 5.0, [0.0, 5.0]))
        self.assertEqual(numbers(found.outputs)[1], [1.5, 2.0])
        self.assertEqual(numbers(found.outputs)[0][0], 50.0)

    def test_grad_scale(self):
        found = clip_grad_norm([f64s(3 * 1024, 4 * 1024)], 2.5, 2.0, eps=0.0, grad_scale=1024.0)
        self.assertEqual((found.total_norm, found.clip_coef, found.factor), (5.0, 0.5, 0.5 / 1024))
        self.assertEqual(numbers(found.outputs), [[1.5, 2.0]])

    def test_nothing_to_clip(self):
        for grads in ([], [f64s()], [f64s(0.5)]):
            found = clip_grad_norm(grads, 1.0, 2.0)
            self.assertEqual((found.clip_coef, found.factor), (1.0, 1.0))
            self.assertEqual(found.outputs, [t.elements for t in grads])

    def test_known_norm(self):
        found = clip.clip_grads_with_norm([f64s(8, nan)], 1.0, 4.0, eps=0.0, policy=ZERO)
        self.assertEqual(numbers(found.outputs), [[2.0, 0.0]])
        self.assertEqual(clip.clip_grads_with_norm([f64s(8)], 1.0, inf).status, NON_FINITE)


class Value(unittest.TestCase):
    def test_clamp(self):
        found = clip.clip_grad_value([f64s(1, -3, 0.5, -inf, nan)], 1.0)
        self.assertEqual([str(x) for x in numbers(found)[0]], ["1.0", "-1.0", "0.5", "-1.0", "nan"])

    def test_the_limit_is_rounded_to_the_type(self):
        grads = [Tensor(F32, [f32(1.0), f32(-1.0)])]
        self.assertEqual(clip.clip_grad_value(grads, 0.1), [[f32(0.1), f32(-0.1)]])
        self.assertEqual(clip.clip_grad_value(grads, 1e300), [[f32(1.0), f32(-1.0)]])
        self.assertEqual(clip.clip_grad_value([Tensor(F32, [F32.inf])], 1e300), [[F32.inf]])
        self.assertEqual(Fraction(0.1) < F32.value(f32(0.1)), True)


if __name__ == "__main__":
    unittest.main()
