"""Choosers of max_norm, written from gradclip.h: sums and means in fractions, roots in integers.

A step is given as a norm (AdaGC: one for each tensor) and perhaps a loss, and comes out as
a Decision. What is not finite enters no history.
"""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, isfinite

from formats import round64
from roots import root

OK, NON_FINITE, SKIP = 0, 1, 2
EPS = 1e-6  # of clip_coef


@dataclass
class Decision:
    status: int
    threshold: float
    clip_coef: float
    recorded: bool
    mean: float = 0.0
    deviation: float = 0.0
    thresholds: list = field(default_factory=list)
    coefs: list = field(default_factory=list)


def square_root(fraction):
    return root(fraction, 2) if fraction else Fraction(0)


def clip_coef(threshold, norm, eps=EPS):
    if threshold == inf:
        return 1.0
    if threshold == 0:
        return 0.0
    return min(1.0, threshold / (norm + eps)) if norm + eps else 1.0


def quantile(values, q):
    """numpy.percentile's linear interpolation, in its own float64 operations."""
    if not values:
        return inf
    values = sorted(values)
    position = q * (len(values) - 1)
    low = math.floor(position)
    fraction = position - low
    a, b = values[low], values[min(low + 1, len(values) - 1)]
    return a + (b - a) * fraction if fraction < 0.5 else b - (b - a) * (1 - fraction)


class AutoClip:
    def __init__(self, percentile=10.0, window=0, mode=0, factor=1.0):
        self.q, self.window, self.mode, self.values = percentile / 100, window, mode, []
        self.factor = factor

    def feed(self, norm, loss=None):
        recorded = isfinite(norm)
        before = quantile(self.values, self.q)
        if recorded:
            self.values.append(norm)
            self.values = self.values[-self.window :] if self.window else self.values
        threshold = before if self.mode else quantile(self.values, self.q)
        threshold = threshold * self.factor if threshold < inf else inf
        if not recorded:
            return Decision(NON_FINITE, threshold, 1.0, False)
        return Decision(OK, threshold, clip_coef(threshold, norm), True)


class ZClip:
    def __init__(
        self, decay=0.97, z=2.5, warmup=25, mode=0, cap=inf, factor=1.0, eps=1e-6, skip_update=0
    ):
        self.decay, self.z, self.warmup, self.mode = Fraction(decay), z, max(1, warmup), mode
        self.cap, self.factor, self.eps, self.skip_update = cap, factor, eps, skip_update
        self.values, self.mean, self.variance = [], None, None

    def feed(self, norm, loss=None):
        """Rational but for square roots, which have 200 bits, and for what it returns."""
        threshold, recorded = inf, isfinite(norm)
        if recorded:
            n = Fraction(norm)
            if self.mean is not None:
                spike = self._spike(n)
                x = n if spike is None else spike
                if spike is not None:
                    threshold = round64(spike)
                if spike is not None and self.skip_update:
                    recorded = False
                else:
                    self.mean = shorter(self.decay * self.mean + (1 - self.decay) * x)
                    self.variance = shorter(
                        self.decay * self.variance + (1 - self.decay) * (x - self.mean) ** 2
                    )
            else:
                self.values.append(n)
                if len(self.values) == self.warmup:
                    self.mean = sum(self.values) / len(self.values)
                    squares = [(v - self.mean) ** 2 for v in self.values]
                    self.variance = sum(squares) / len(squares)
        elif norm == inf and self.mean is not None:
            threshold = round64(self.mean * Fraction(self.factor) if self.mode == 0 else self._spike(None))
        threshold = min(threshold, self.cap)
        shown = self.mean if self.mean is not None else mean(self.values)
        status = OK if isfinite(norm) else NON_FINITE
        coef = clip_coef(threshold, norm) if status == OK else 1.0
        deviation = inf if self.mean is None else round64(square_root(self.variance))
        return Decision(status, threshold, coef, recorded, round64(shown), deviation)

    def _spike(self, n):
        """What a norm (None: infinitely large) is clipped to; None if it is no spike."""
        deviation = shorter(square_root(self.variance))
        limit = self.mean + Fraction(self.z) * deviation
        if self.mode == 2:
            return limit if n is None or n > limit else None
        score = None if n is None else (n - self.mean) / (deviation + Fraction(self.eps))
        if score is not None and score <= Fraction(self.z):
            return None
        if self.mode == 1:
            return self.mean
        return (self.mean + Fraction(self.z) ** 2 * deviation / score) * Fraction(self.factor)


class AdaGC:
    def __init__(self, beta=0.98, rel=1.05, cap=1.0, warmup=100, eps=1e-8):
        self.beta, self.rel, self.cap, self.warmup, self.eps = Fraction(beta), rel, cap, warmup, eps
        self.steps, self.gammas = 0, None

    def feed(self, norms):
        """None: no gradient."""
        held = [n for n in norms if n is not None]
        if not all(map(isfinite, held)):
            return Decision(NON_FINITE, 0, 1.0, False)
        if self.gammas is None:
            self.gammas = [None] * len(norms)
        self.steps += 1
        total = square_root(sum(Fraction(n) ** 2 for n in held))
        common = Fraction(1)
        if self.cap < inf:
            common = min(common, Fraction(self.cap) / (total + Fraction(self.eps)))
        eps, decision = Fraction(self.eps), Decision(OK, inf, 1.0, True)
        for i, n in enumerate(norms):
            threshold, coef = inf, Fraction(1)
            if n is not None:
                n, gamma = Fraction(n), self.gammas[i]
                if self.steps < self.warmup or gamma is None:
                    coef, decision.threshold = common, self.cap
                    self.gammas[i] = coef * n if gamma is None else min(gamma, coef * n)
                else:
                    bound = Fraction(self.rel) * max(gamma, eps)
                    coef, threshold = min(Fraction(1), bound / max(n, eps)), round64(bound)
                    self.gammas[i] = shorter(gamma + (1 - self.beta) * (coef * n - gamma))
            decision.thresholds.append(threshold)
            decision.coefs.append(round64(coef))
        decision.clip_coef = min(decision.coefs)
        return decision


class SkipStep:
    def __init__(self, window=128, z=6.0):
        self.window, self.z, self.norms, self.losses = window, Fraction(z), [], []

    def feed(self, norm, loss=None):
        m, d = self._statistics(self.norms)
        status = OK
        if not isfinite(norm) or loss is not None and not isfinite(loss):
            status = NON_FINITE
        elif self._is_outlier(norm, self.norms) or loss is not None and self._is_outlier(loss, self.losses):
            status = SKIP
        threshold = inf if d is None else round64(m + self.z * d)
        deviation = inf if d is None else round64(d)
        if status != NON_FINITE:
            self.norms = [*self.norms, norm][-self.window :]
            if loss is not None:
                self.losses = [*self.losses, loss][-self.window :]
        return Decision(status, threshold, 1.0, status != NON_FINITE, round64(m), deviation)

    def _statistics(self, values):
        if len(values) < 2 or len(values) + 1 < self.window // 2:
            return Fraction(0), None
        m = mean(values)
        return m, square_root(sum((Fraction(v) - m) ** 2 for v in values) / (len(values) - 1))

    def _is_outlier(self, value, values):
        m, d = self._statistics(values)
        return d is not None and Fraction(value) - m > self.z * d


def mean(values):
    return sum(map(Fraction, values), Fraction(0)) / max(1, len(values))


def shorter(fraction):
    """To 400 bits behind the point: fractions would double their length every step."""
    return Fraction(round(fraction * 2**400), 2**400)
