"""One array in CPU memory, however it is made known: where it lies and what it holds.

The buffer protocol comes first (NumPy, array.array, memoryview, ctypes, mmap,
JAX for reading), then DLPack. Nothing is copied: an array that cannot be used
where it lies is an error that says why.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from contextlib import suppress
from ctypes import PYFUNCTYPE, c_char_p, c_int, c_ssize_t, c_void_p, py_object, pythonapi
from typing import Any, NamedTuple

from .._native import ffi
from .._native.errors import UnsupportedError
from .layout import Layout, c_order, layout

DTYPE_NAMES = {
    ffi.GRADCLIP_F32: "float32",
    ffi.GRADCLIP_F64: "float64",
    ffi.GRADCLIP_F16: "float16",
    ffi.GRADCLIP_BF16: "bfloat16",
}
ITEMSIZES = {
    ffi.GRADCLIP_F32: 4,
    ffi.GRADCLIP_F64: 8,
    ffi.GRADCLIP_F16: 2,
    ffi.GRADCLIP_BF16: 2,
}
FORMATS = {"f": ffi.GRADCLIP_F32, "d": ffi.GRADCLIP_F64, "e": ffi.GRADCLIP_F16}
_NATIVE = ("@", "=", "<" if sys.byteorder == "little" else ">")
_FOREIGN = (">", "!") if sys.byteorder == "little" else ("<",)


class Block(NamedTuple):
    """The memory of one array."""

    address: int  # the lowest; any number if length is 0
    length: int
    dtype: int  # GRADCLIP_F32, ...
    layout: Layout
    keep: Any  # holds the memory, and keeps it from being resized


def block(array: Any, label: str, writable: bool) -> Block:
    """Where array lies; label names it in the errors."""
    refuse_parameter(array, label)
    if _is_masked(array):
        raise TypeError(f"{label} is a masked array, and its mask would be ignored: pass its .data")
    exported = _buffer(array, label, writable)
    if exported is None:
        exported = _from_dlpack(array, label, writable)
    return exported


# --------------------------------------------------------- buffer protocol --


class _PyBuffer(ctypes.Structure):  # Py_buffer of CPython's object.h
    _fields_ = [
        ("buf", c_void_p),
        ("obj", c_void_p),
        ("len", c_ssize_t),
        ("itemsize", c_ssize_t),
        ("readonly", c_int),
        ("ndim", c_int),
        ("format", c_char_p),
        ("shape", ctypes.POINTER(c_ssize_t)),
        ("strides", ctypes.POINTER(c_ssize_t)),
        ("suboffsets", ctypes.POINTER(c_ssize_t)),
        ("internal", c_void_p),
    ]


_PyBUF_FULL_RO = 0x0100 | 0x0018 | 0x0004  # indirect | strides | format
_get_buffer = PYFUNCTYPE(c_int, py_object, ctypes.POINTER(_PyBuffer), c_int)(
    ("PyObject_GetBuffer", pythonapi)
)
_release_buffer = PYFUNCTYPE(None, ctypes.POINTER(_PyBuffer))(("PyBuffer_Release", pythonapi))


def _address(view: memoryview) -> int:
    """The address of a memoryview's first element, which Python itself does not tell."""
    buffer = _PyBuffer()
    _get_buffer(view, ctypes.byref(buffer), _PyBUF_FULL_RO)
    try:
        return buffer.buf or 0
    finally:
        _release_buffer(ctypes.byref(buffer))


def _buffer(array: Any, label: str, writable: bool) -> Block | None:
    """The block of an array with the buffer protocol; None if it has none."""
    is_bfloat16 = _is_bfloat16_ndarray(array, label)
    try:
        # ml_dtypes' bfloat16 has no format character, and so no buffer of its own.
        view = memoryview(_ndarray().view(array, "u2", _ndarray()) if is_bfloat16 else array)
    except TypeError:
        return None
    except (ValueError, BufferError) as error:
        if hasattr(type(array), "__dlpack__") and not _is_ndarray(array):
            return None
        raise TypeError(f"{label} {wrong_dtype(_dtype_name(array, str(error)))}") from error
    except Exception as error:  # its own __buffer__
        raise _unexaminable(label, "buffer", error) from error
    if is_bfloat16 or (view.itemsize == 2 and _dtype_name(array, "").endswith("bfloat16")):
        dtype: int | None = ffi.GRADCLIP_BF16
    else:
        dtype = _dtype_of_format(view.format or "B", array, label)
    if dtype is None or view.itemsize != ITEMSIZES[dtype]:
        raise TypeError(f"{label} {wrong_dtype(_dtype_name(array, f'format {view.format!r}'))}")
    if writable and view.readonly:
        raise ValueError(f"{label} is read-only{_read_only_advice(array)}")
    order = None
    if not view.suboffsets:
        shape, strides = view.shape or (), view.strides or ()
        order = c_order(shape) if view.c_contiguous else layout(shape, strides, view.itemsize)
    if order is None:
        raise ValueError(_not_dense(label, view.shape, view.strides))
    return Block(_address(view) + order.offset, view.nbytes // view.itemsize, dtype, order, view)


def _dtype_of_format(text: str, array: Any, label: str) -> int | None:
    if text[:1] in _FOREIGN and text[1:] in FORMATS:
        dtype = _dtype_name(array, f"format {text!r}")
        raise TypeError(f"{label} is not in this machine's byte order ({dtype})")
    return FORMATS.get(text[1:] if text[:1] in _NATIVE else text)


# ------------------------------------------------------------------ DLPack --


def _from_dlpack(array: Any, label: str, writable: bool) -> Block:
    from . import dlpack  # not every program has such arrays

    if not hasattr(type(array), "__dlpack__"):
        raise TypeError(
            f"{label} is no array: an array with the buffer protocol or DLPack is needed "
            f"(got {_type_name(array)})"
        )
    try:
        device = dlpack.device(array)
        exported = None if device else dlpack.export(array)
    except Exception as error:
        raise ValueError(f"{label} cannot be exported through DLPack: {error}") from error
    if exported is None:
        raise UnsupportedError(f"{label} is not in CPU memory: its device is {device}")
    if exported.dtype is None:
        raise TypeError(f"{label} {wrong_dtype(exported.dtype_name)}")
    if writable and (exported.read_only or _is_immutable(array)):
        raise ValueError(f"{label} is read-only{_read_only_advice(array)}")
    if writable and exported.copied:
        raise ValueError(
            f"{label} was exported through DLPack as a copy: clipping that has no effect"
        )
    order = c_order(exported.shape)
    if exported.strides is not None:
        dense = layout(exported.shape, exported.strides, exported.itemsize)
        if dense is None:
            raise ValueError(_not_dense(label, exported.shape, exported.strides))
        order = dense
    address = exported.address + order.offset
    if address < 0:
        raise ValueError(f"{label} cannot be exported through DLPack: its strides leave memory")
    return Block(address, exported.length, exported.dtype, order, exported.capsule)


def forbid_resizing(arrays: Iterable[Any]) -> None:
    """Makes resize_() of the torch tensors among arrays an error, as it is for tensors that
    share their memory with NumPy. A DLPack capsule keeps a tensor's storage alive, but the
    storage could still move.
    """
    torch: Any = sys.modules.get("torch")
    tensor = getattr(torch, "Tensor", ())
    for array in arrays:
        if isinstance(array, tensor):
            lent = torch.empty(0, dtype=torch.uint8, device="cpu").set_(array.untyped_storage())
            with suppress(RuntimeError):  # without NumPy torch has no way to forbid it
                lent.numpy()


# ----------------------------------------------------------------- refusals --


def refuse_parameter(array: Any, label: str) -> None:
    """TypeError for a torch parameter or module, or a tensor that requires grad.

    These hold weights, not gradients, and weights must not be clipped by mistake.
    torch is not imported to tell: its objects are known by what they carry.
    """
    if _is_ndarray(array):
        return
    kind = type(array)
    is_parameter = _asked(array, "_is_param", label) or any(
        base.__name__ == "Parameter" and base.__module__.partition(".")[0] == "torch"
        for base in kind.__mro__
    )
    if is_parameter:
        what = "a torch parameter"
    elif _asked(array, "requires_grad", label) is True:
        what = "a tensor that requires grad"
    elif hasattr(kind, "zero_grad") and callable(_asked(array, "parameters", label)):
        what = "a torch module"
    else:
        return
    raise TypeError(
        f"{label} is {what}, which holds weights, not gradients: use the functions of "
        "gradclip.torch, which take parameters as torch.nn.utils does, or pass the .grad of each"
    )


def _asked(array: Any, name: str, label: str) -> Any:
    """An attribute of an array, None if it has none; one that raises is an error that says so."""
    try:
        return getattr(array, name, None)
    except Exception as error:
        raise _unexaminable(label, name, error) from error


def _unexaminable(label: str, what: str, error: Exception) -> ValueError:
    return ValueError(
        f"{label} cannot be examined: its {what} raised {type(error).__name__}: {error}"
    )


def wrong_dtype(name: str) -> str:
    return f"has the wrong dtype: float32, float64, float16 or bfloat16 is needed (got {name})"


def _not_dense(label: str, shape: Any, strides: Any) -> str:
    return (
        f"{label} is not dense: its elements do not fill their memory without gaps "
        f"(shape {tuple(shape or ())}, strides {tuple(strides or ())} in bytes); "
        "it is not copied silently: clip a contiguous copy, or the array it is a part of"
    )


def _read_only_advice(array: Any) -> str:
    if _is_immutable(array):
        return (
            f" ({type(array).__module__.partition('.')[0]} arrays cannot be changed in place): "
            "clip_grad_norm returns new arrays instead"
        )
    return ": clip_grad_norm returns new arrays instead"


# ------------------------------------------------------- what kind of array --


def _ndarray() -> Any:
    """NumPy's array type if NumPy has been imported, by whomever; it is not imported here."""
    return getattr(sys.modules.get("numpy"), "ndarray", None)


def _is_ndarray(array: Any) -> bool:
    # (The type itself, not __class__, which mocks and proxies set to what they stand for.)
    ndarray = _ndarray()
    return ndarray is not None and issubclass(type(array), ndarray)


def _is_masked(array: Any) -> bool:
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    return masked is not None and issubclass(type(array), masked)


def _is_bfloat16_ndarray(array: Any, label: str) -> bool:
    if not _is_ndarray(array):
        return False
    dtype = _asked(array, "dtype", label)
    return getattr(dtype, "name", "") == "bfloat16" and getattr(dtype, "itemsize", 0) == 2


def _is_immutable(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] in ("jax", "jaxlib", "tensorflow")


def _dtype_name(array: Any, otherwise: str) -> str:
    try:
        dtype = getattr(array, "dtype", None)
        return otherwise if dtype is None else str(dtype)
    except Exception:  # the array's own code
        return otherwise


def _type_name(array: Any) -> str:
    kind = type(array)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
