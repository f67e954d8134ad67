"""Rows of values that are not normally distributed: what they cost against those that are, and what torch takes for the
same. One thread, a million elements that need no clipping: gradclip reads them, torch multiplies them by 1 as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from . import driver, shapes, trained
from .arena import Arena, encoded
from .asked import Asked, times_as_long
from .pairs import Row
from .rounds import Contestant

LENGTH = 1_048_576
BLOCK = 4096
EXPONENTS = {"float32": (-126, 127), "bfloat16": (-126, 127), "float16": (-14, 15), "float64": (-1022, 1023)}


def _kinds(dtype: str) -> dict[str, Callable[[np.random.Generator], np.ndarray]]:
    least, most = EXPONENTS[dtype]

    def rows(rng):
        return rng.standard_normal(LENGTH) * np.repeat(np.exp2(rng.normal(0, 20, LENGTH // 256)), 256)

    def one_large(rng):
        values = rng.standard_normal(LENGTH)
        values[17::BLOCK] = 1e30
        return values

    def zeros_between(rng):
        values = rng.standard_normal(LENGTH)
        values.reshape(-1, 2, BLOCK)[:, 1] = 0
        return values

    return {
        "2^-60 ... 1": lambda rng: np.exp2(-60 * rng.random(LENGTH)),
        "2^-80 ... 1": lambda rng: np.exp2(-80 * rng.random(LENGTH)),
        "rows of scales 2^N(0, 20)": rows,
        "1e30 in each block": one_large,
        "every exponent": lambda rng: np.ldexp(1 + rng.random(LENGTH), rng.integers(least, most, LENGTH)),
        "every other block 0": zeros_between,
        "all NaN": lambda rng: np.full(LENGTH, np.nan),
    }


def _most(kind: str, norm_type: float) -> float:
    """How many times the time of normal values is allowed."""
    if kind == "every other block 0":
        return 1.05
    spans_80 = kind.startswith("2^-")
    return 3 if spans_80 or norm_type not in (1, 2) else 4


def _norms(arena: Arena, norm_type: float, exact: bool = False) -> Contestant:
    options = driver.options(1, exact)
    return lambda calls: driver.total_norm(arena.tensors, norm_type, options, calls)


def _torch(arena: Arena, norm_type: float) -> dict[str, Contestant]:
    try:
        from .peers import torch as peer
    except ImportError:
        return {}
    return peer.on_one_thread(arena, norm_type)


def _filled(values: np.ndarray, dtype: str) -> Arena:
    arena = Arena(shapes.equal(1, values.size), dtype)
    if dtype == "float16":
        values = np.clip(values, -60000, 60000)
    with np.errstate(over="ignore"):
        arena.arrays[0][:] = encoded(values.ravel(), dtype)
    return arena


def _row(
    name: str, dtype: str, norm_type: float, values: Callable[[], np.ndarray], most: float, exact: bool,
    elements: int = LENGTH,
) -> Row:
    @contextmanager
    def prepare(threads: int) -> Iterator[dict[str, Contestant]]:
        arena = _filled(values(), dtype)
        normal = Arena(arena.shapes, dtype)
        yield {
            "gradclip": _norms(arena, norm_type, exact),
            "normal": _norms(normal, norm_type, exact),
            # (A copy: where torch's norm overflows it makes zeros of what it is given.)
            **({} if exact else _torch(_filled(values(), dtype), norm_type)),
        }

    asked: list[Asked] = [times_as_long("gradclip", "normal", most=most), times_as_long("torch", "gradclip", least=1)]
    return Row(name, prepare, asked, elements, 1, True)


def table() -> list[Row]:
    rows = []
    for dtype, short, orders, exact in (
        ("float32", "fp32", (1.0, 2.0, 2.7), False),
        ("bfloat16", "bf16", (1.0, 2.0, 2.7), False),
        ("float16", "fp16", (2.0,), False),
        ("float64", "fp64", (2.0,), False),
        ("float64", "fp64 exact_f64", (2.0,), True),
    ):
        for p in orders:
            for kind, make in _kinds(dtype).items():
                rows.append(
                    _row(
                        f"values: {short}, p = {p:g}, {kind}", dtype, p,
                        lambda make=make: make(np.random.default_rng(1)), _most(kind, p), exact,
                    )
                )  # fmt: skip
    for kind in trained.KINDS:
        for dtype, short in (("float32", "fp32"), ("bfloat16", "bf16")):
            for p in (1.0, 2.0, 2.7):
                name = f"values: {short}, p = {p:g}, {kind}"
                rows.append(
                    _row(
                        name, dtype, p, lambda kind=kind: trained.gradient(kind), 4 if p < 2.5 else 3, False,
                        trained.KINDS[kind],
                    )
                )  # fmt: skip
    return rows
