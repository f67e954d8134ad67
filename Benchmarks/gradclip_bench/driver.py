"""driver.h in ctypes. The gradclip structures are those of the Python package."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from ctypes import CFUNCTYPE, POINTER, byref, c_char_p, c_double, c_float, c_int, c_size_t, c_void_p

from gradclip._native import ffi

Options = ffi.gradclip_options
Tensor = ffi.gradclip_tensor
DTYPES = {
    "float32": ffi.GRADCLIP_F32,
    "float64": ffi.GRADCLIP_F64,
    "float16": ffi.GRADCLIP_F16,
    "bfloat16": ffi.GRADCLIP_BF16,
}
READ, READ_WRITE = 0, 1

Snrm2 = CFUNCTYPE(c_float, c_int, c_void_p, c_int)
Sscal = CFUNCTYPE(None, c_int, c_float, c_void_p, c_int)

_doubles = POINTER(c_double)
_list = (POINTER(Tensor), c_size_t)
_driver = ctypes.CDLL(os.environ["GRADCLIP_BENCH_DRIVER"])
for _name, _result, _arguments in (
    ("bench_spin_gain", c_double, (c_double,)),
    ("bench_roof_variants", c_int, ()),
    ("bench_roof_name", c_char_p, (c_int,)),
    ("bench_roof", c_double, (c_int, c_int, c_void_p, c_size_t, c_int, c_int)),
    (
        "bench_clip_grad_norm",
        c_double,
        (*_list, c_double, POINTER(Options), _doubles, _doubles, c_int, c_int, _doubles),
    ),
    ("bench_clip_grad_value", c_double, (*_list, POINTER(Options), _doubles, c_int)),
    ("bench_total_norm", c_double, (*_list, c_double, POINTER(Options), _doubles, c_int, _doubles)),
    ("bench_inspect", c_double, (*_list, POINTER(Options), POINTER(ffi.gradclip_report), c_int)),
    ("bench_scale", c_double, (*_list, c_double, POINTER(Options), c_int)),
    ("bench_blas", c_double, (*_list, c_void_p, c_void_p, _doubles, c_int, c_int, _doubles)),
    ("bench_plain_norm", c_double, (c_void_p, c_size_t, c_int, c_int, _doubles)),
):
    getattr(_driver, _name).restype = _result
    getattr(_driver, _name).argtypes = _arguments


class NotMeasuredError(RuntimeError):
    """A call did not do what the case is about."""


def _seconds(function: str, seconds: float) -> float:
    if seconds == -1:
        raise NotMeasuredError(f"{function} failed")
    if seconds < 0:
        raise NotMeasuredError(f"{function}: a call wrote where nothing was to be written, or the reverse")
    return seconds


def _array(values: Sequence[float] | None):
    return None if values is None else (c_double * len(values))(*values)


def options(num_threads: int = 0, exact_f64: bool = False) -> Options:
    made = Options()
    ffi.gradclip_options_init(byref(made), ctypes.sizeof(made))
    made.num_threads = num_threads
    made.exact_f64 = exact_f64
    return made


def isa() -> str:
    return ffi.gradclip_isa().decode()


def spin_gain(seconds: float = 0.01) -> float:
    return _driver.bench_spin_gain(seconds)


def roof_names() -> list[str]:
    return [_driver.bench_roof_name(i).decode() for i in range(_driver.bench_roof_variants())]


def roof(kind: int, variant: int, address: int, size: int, threads: int, passes: int) -> float:
    return _seconds("bench_roof", _driver.bench_roof(kind, variant, address, size, threads, passes))


def clip_grad_norm(tensors, norm_type, options, max_norms, scales, writes) -> tuple[float, float]:
    """Seconds per call, and the last total_norm."""
    norm = c_double()
    seconds = _driver.bench_clip_grad_norm(
        tensors, len(tensors), norm_type, byref(options), _array(max_norms), _array(scales),
        len(max_norms), writes, byref(norm),
    )  # fmt: skip
    return _seconds("gradclip_clip_grad_norm", seconds), norm.value


def clip_grad_value(tensors, options, clip_values) -> float:
    seconds = _driver.bench_clip_grad_value(
        tensors, len(tensors), byref(options), _array(clip_values), len(clip_values)
    )
    return _seconds("gradclip_clip_grad_value", seconds)


def total_norm(tensors, norm_type: float, options, calls: int, asks_for_each: bool = False) -> float:
    norm = c_double()
    each = (c_double * len(tensors))() if asks_for_each else None
    seconds = _driver.bench_total_norm(tensors, len(tensors), norm_type, byref(options), each, calls, byref(norm))
    return _seconds("gradclip_get_total_norm", seconds)


def inspect(tensors, options, calls: int) -> float:
    reports = (ffi.gradclip_report * len(tensors))()
    return _seconds("gradclip_inspect", _driver.bench_inspect(tensors, len(tensors), byref(options), reports, calls))


def scale(tensors, factor: float, options, calls: int) -> float:
    return _seconds("gradclip_scale", _driver.bench_scale(tensors, len(tensors), factor, byref(options), calls))


def blas(tensors, snrm2: int, sscal: int, max_norms, writes) -> tuple[float, float]:
    norm = c_double()
    seconds = _driver.bench_blas(
        tensors, len(tensors), snrm2, sscal, _array(max_norms), len(max_norms), writes, byref(norm)
    )
    return _seconds("snrm2 and sscal", seconds), norm.value


def plain_norm(address: int, length: int, prefetch: bool, calls: int) -> tuple[float, float]:
    norm = c_double()
    return _driver.bench_plain_norm(address, length, prefetch, calls, byref(norm)), norm.value
