"""Gradients in one piece of memory, which all contestants share."""

from __future__ import annotations

from math import prod

import numpy as np

from .driver import DTYPES, Tensor

ITEM = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
# bfloat16 is not NumPy's: its arrays are seen as uint16.
NUMPY = {"float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "u2"}
STANDARD_DEVIATION = 0.01


def encoded(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 (or float64) values as an arena holds them. (bfloat16: cut off; NaN stays NaN.)"""
    if dtype == "bfloat16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(NUMPY[dtype])


class Arena:
    """Tensors of one dtype, each at a multiple of 64 bytes.

    The contents are normally distributed, from a fixed seed: one block of a million
    values, repeated, since making 124 million would take longer than clipping them.
    """

    def __init__(self, shapes: list[tuple[int, ...]], dtype: str, deviation: float = STANDARD_DEVIATION) -> None:
        self.shapes = shapes
        self.deviation = deviation
        self.dtype = dtype
        lengths = [prod(shape) for shape in shapes]
        sizes = [-(-length * ITEM[dtype] // 64) * 64 for length in lengths]
        self.bytes = sum(sizes)
        memory = np.empty(self.bytes + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.memory = memory[start : start + self.bytes]
        self.address = self.memory.ctypes.data
        self.elements = sum(lengths)

        self.norms: dict[float, float] = {}  # of the contents from fill(), by norm_type

        self.arrays: list[np.ndarray] = []
        self.tensors = (Tensor * len(shapes))()
        offset = 0
        for i, (shape, length, size) in enumerate(zip(shapes, lengths, sizes)):
            used = self.memory[offset : offset + length * ITEM[dtype]]
            self.arrays.append(used.view(NUMPY[dtype]).reshape(shape))
            self.tensors[i] = Tensor(self.address + offset, length, DTYPES[dtype], 0, 1, 0)
            offset += size
        self.fill()

    def fill(self) -> None:
        """Writes the contents that the arena began with."""
        # Not a power of two: equal addresses modulo a page should not hold equal values.
        block = np.random.default_rng(1).standard_normal(min(999_936, self.bytes), np.float32)
        block *= np.float32(self.deviation)
        raw = encoded(block, self.dtype)
        all_values = self.memory.view(raw.dtype)
        for at in range(0, len(all_values), len(raw)):
            part = all_values[at : at + len(raw)]
            part[:] = raw[: len(part)]

    def values(self) -> list[np.ndarray]:
        """The tensors as arrays that NumPy can calculate with; copies for bfloat16."""
        if self.dtype != "bfloat16":
            return self.arrays
        return [(a.astype(np.uint32) << 16).view(np.float32) for a in self.arrays]
