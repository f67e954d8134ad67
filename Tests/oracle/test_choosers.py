"""The choosers against statistics, and steps worked out on paper."""

import math
import random
import statistics
import unittest
from fractions import Fraction
from math import inf, nan

import choosers
from choosers import NON_FINITE, OK, SKIP


class Quantiles(unittest.TestCase):
    def test_quantiles_are_those_of_statistics(self):
        rng = random.Random(3)
        for n in (2, 3, 10, 101):
            values = [rng.uniform(0, 9) for _ in range(n)]
            for i, expected in enumerate(statistics.quantiles(values, n=20, method="inclusive"), 1):
                self.assertAlmostEqual(choosers.quantile(values, i / 20), expected, 12)

    def test_ends_and_nothing(self):
        self.assertEqual(choosers.quantile([3.0, 1.0, 2.0], 0.0), 1.0)
        self.assertEqual(choosers.quantile([3.0, 1.0, 2.0], 1.0), 3.0)
        self.assertEqual(choosers.quantile([], 0.5), inf)


class AutoClip(unittest.TestCase):
    def test_paper_order_and_package_order(self):
        paper, package = choosers.AutoClip(50.0), choosers.AutoClip(50.0, mode=1)
        self.assertEqual([paper.feed(n).threshold for n in (1.0, 2.0, 6.0)], [1.0, 1.5, 2.0])
        self.assertEqual([package.feed(n).threshold for n in (1.0, 2.0, 6.0)], [inf, 1.0, 1.5])

    def test_window_forgets(self):
        last = choosers.AutoClip(100.0, window=2)
        self.assertEqual([last.feed(n).threshold for n in (9.0, 1.0, 2.0, 3.0)], [9.0, 9.0, 2.0, 3.0])

    def test_nan_and_infinity_never_enter(self):
        with_them, without = choosers.AutoClip(30.0), choosers.AutoClip(30.0)
        for n in (1.0, nan, 4.0, inf, 2.0):
            d = with_them.feed(n)
            self.assertEqual(d.status, OK if math.isfinite(n) else NON_FINITE)
            if math.isfinite(n):
                self.assertEqual(d.threshold, without.feed(n).threshold)


class ZClip(unittest.TestCase):
    def warm(self, **options):
        made = choosers.ZClip(0.5, 2.0, 2, eps=0.0, **options)
        made.feed(1.0)
        made.feed(3.0)  # mean 2, variance 1
        return made

    def test_what_a_spike_of_eight_deviations_is_clipped_to(self):
        self.assertEqual(self.warm().feed(10.0).threshold, 2 + 4 / 8)
        self.assertEqual(self.warm(mode=1).feed(10.0).threshold, 2.0)
        self.assertEqual(self.warm(mode=2).feed(10.0).threshold, 4.0)
        self.assertEqual(self.warm().feed(4.0).threshold, inf)
        self.assertEqual(self.warm(cap=1.5).feed(4.0).threshold, 1.5)

    def test_averages_move_by_what_the_spike_was_clipped_to(self):
        d = self.warm(mode=1).feed(10.0)
        self.assertEqual((d.mean, d.deviation), (2.0, math.sqrt(0.5)))
        d = self.warm(mode=2).feed(10.0)
        self.assertEqual((d.mean, d.deviation), (3.0, 1.0))  # x = 4: mean 3, variance 0.5 + 0.5
        self.assertFalse(self.warm(skip_update=1).feed(10.0).recorded)


class AdaGC(unittest.TestCase):
    def test_warm_up_keeps_the_smallest_and_then_each_has_its_own(self):
        made = choosers.AdaGC(0.5, 2.0, 5.0, 3, eps=0.0)
        self.assertEqual(made.feed([6.0, 8.0]).coefs, [0.5, 0.5])  # gamma 3, 4
        self.assertEqual(made.feed([3.0, 4.0]).coefs, [1.0, 1.0])
        d = made.feed([12.0, 4.0])
        self.assertEqual((d.thresholds, d.coefs), ([6.0, 8.0], [0.5, 1.0]))
        self.assertEqual(made.gammas, [Fraction(9, 2), 4])
        self.assertEqual(made.feed([None, 80.0]).coefs, [1.0, 0.1])

    def test_one_nan_keeps_all_out(self):
        made = choosers.AdaGC(warmup=0)
        self.assertEqual(made.feed([1.0, nan]).status, NON_FINITE)
        self.assertIsNone(made.gammas)


class SkipStep(unittest.TestCase):
    def test_an_outlier_is_skipped_and_enters(self):
        made = choosers.SkipStep(8, 2.0)
        self.assertEqual([made.feed(n).status for n in (1.0, 3.0, 99.0)], [OK] * 3)  # too few
        made = choosers.SkipStep(4, 2.0)
        self.assertEqual([made.feed(n).status for n in (1.0, 3.0, 99.0, 3.0)], [OK, OK, SKIP, OK])
        self.assertEqual(made.norms, [1.0, 3.0, 99.0, 3.0])

    def test_the_loss_decides_too(self):
        made = choosers.SkipStep(4, 2.0)
        done = [made.feed(1.0, loss).status for loss in (1.0, 3.0, 9.0, nan)]
        self.assertEqual(done, [OK, OK, SKIP, NON_FINITE])


if __name__ == "__main__":
    unittest.main()
