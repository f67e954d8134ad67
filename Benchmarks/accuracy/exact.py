"""The exact norm of many elements, from integers, without the library.

A float is m * 2^e with an integer m of at most 24 bits. For each e the sum of m^p
is collected as an integer, so nothing is rounded before the root, which the test
oracle takes (Tests/oracle/roots.py, from Python integers).
"""

from __future__ import annotations

import sys
from fractions import Fraction
from math import comb
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "Tests" / "oracle"))

import formats  # noqa: E402: found through the path above
import norms  # noqa: E402
import roots  # noqa: E402

# m is cut into halves of 12 bits. A product of three halves has 36 bits, so the
# sums of this many of them have at most 52, and float64 holds them exactly.
CHUNK = 1 << 16


def as_float32(array: np.ndarray) -> np.ndarray:
    """The same numbers as float32, which holds all of float16 and bfloat16."""
    if array.dtype == np.float32:
        return array
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.name == "bfloat16":
        return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    raise TypeError(f"array must be of float32, float16 or bfloat16 (got {array.dtype})")


class PowerSums:
    """sum |x|^p over a float32, float16 or bfloat16 array, exactly, for some p."""

    def __init__(self, array: np.ndarray, orders: list[int]) -> None:
        self.orders = orders
        # Per p and per power j of the upper half: one integer for each exponent.
        totals = {p: np.zeros((p + 1, 256), dtype=object) for p in orders}
        for start in range(0, len(array), CHUNK):
            self._add(np.ascontiguousarray(as_float32(array[start : start + CHUNK])), totals)
        self._sums = {p: self._combine(p, totals[p]) for p in orders}

    def _add(self, chunk: np.ndarray, totals: dict[int, np.ndarray]) -> None:
        bits = chunk.view(np.uint32)
        field = ((bits >> 23) & 0xFF).astype(np.intp)
        if field.max() == 255:
            raise ValueError("array must be finite")
        m = (bits & 0x7FFFFF) | np.where(field > 0, np.uint32(1 << 23), np.uint32(0))
        high, low = (m >> 12).astype(np.float64), (m & 0xFFF).astype(np.float64)
        for p in self.orders:
            for j in range(p + 1):
                sums = np.bincount(field, weights=high**j * low ** (p - j), minlength=256)
                used = np.flatnonzero(sums)
                totals[p][j, used] += [int(value) for value in sums[used]]

    @staticmethod
    def _combine(p: int, totals: np.ndarray) -> Fraction:
        # m^p = (4096 high + low)^p, term by term; subnormals have the exponent of field 1.
        total = Fraction(0)
        for field in range(255):
            integer = sum(comb(p, j) * int(totals[j, field]) << (12 * j) for j in range(p + 1))
            total += integer * Fraction(2) ** (p * (max(field, 1) - 150))
        return total

    def norm(self, p: int) -> Fraction:
        """The p-norm, to hundreds of bits."""
        return roots.power(self._sums[p], Fraction(1, p)) if self._sums[p] else Fraction(0)


def correctly_rounded(norm: Fraction) -> float:
    """The float64 nearest to a norm."""
    return formats.round64(norm)


def check(array: np.ndarray, orders: list[int]) -> None:
    """Holds PowerSums against the test oracle, element by element (slow)."""
    fmt = formats.F32
    bits = [int(b) for b in np.ascontiguousarray(as_float32(array)).view(np.uint32)]
    found = PowerSums(array, orders)
    for p in orders:
        expected = norms.total_norm([norms.Magnitudes.of(fmt, bits)], p)
        if found.norm(p) != expected:
            raise AssertionError(f"the exact sum and the test oracle differ for p = {p}")
