"""The Python half of one_process.c, on the standard library alone."""

import ctypes
from array import array

import gradclip
from gradclip._native import ffi


def has_function_at(name: str, address: int) -> bool:
    """Whether Python's function of that name lies at an address of the host's."""
    return ctypes.cast(getattr(ffi._library, name), ctypes.c_void_p).value == address


def get_num_threads() -> int:
    return ffi.gradclip_get_num_threads()


def set_num_threads(count: int) -> int:
    ffi.gradclip_set_num_threads(count)
    return 0


def clip(count: int) -> float:
    return gradclip.clip_grad_norm_([array("f", [1.0]) * count], max_norm=1.0)


def clip_refused(max_norm: float) -> bool:
    try:
        gradclip.clip_grad_norm_([array("f", [1.0])], max_norm=max_norm)
    except gradclip.InvalidArgumentError as error:
        return "max_norm" in str(error)
    return False


def add_to(accumulator: int, value: float) -> int:
    """Add a gradient to an accumulator of the host's; the status."""
    return ffi._library.gradclip_accumulator_add_f32(
        ctypes.c_void_p(accumulator), (ctypes.c_float * 1)(value), ctypes.c_size_t(1)
    )
