"""Reads arrays through DLPack, for producers that have no buffer protocol.

The structures are those of dlpack.h (versions 0 and 1). The capsule is never
consumed: as long as it lives its producer keeps the memory, and its own
destructor gives the memory back.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import (
    PYFUNCTYPE,
    Structure,
    c_char_p,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    py_object,
    pythonapi,
)
from math import prod
from typing import Any, NamedTuple

from .._native import ffi

# Memory that the CPU can read: its own (1), and page-locked memory that
# belongs to it although CUDA (3) or ROCm (11) allocated it.
CPU_DEVICES = (1, 3, 11)

_DEVICE_NAMES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 13: "CUDA managed"}

# (type code, bits): type code 2 is IEEE floating point, 4 is bfloat16.
_DTYPES = {
    (2, 32): ffi.GRADCLIP_F32,
    (2, 64): ffi.GRADCLIP_F64,
    (2, 16): ffi.GRADCLIP_F16,
    (4, 16): ffi.GRADCLIP_BF16,
}
_TYPE_NAMES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}

_READ_ONLY = 1
_IS_COPIED = 2

_MOST_AXES = 64  # as NumPy; what is said to have more is no array
_END_OF_MEMORY = 2 * (sys.maxsize + 1)


class _DLTensor(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("type_code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", ctypes.POINTER(c_int64)),
        ("strides", ctypes.POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


class _DLManagedTensorVersioned(Structure):
    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        ("manager_ctx", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("dl_tensor", _DLTensor),
    ]


class _DLPackExchangeAPI(Structure):
    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        ("prev_api", c_void_p),
        ("managed_tensor_allocator", c_void_p),
        ("managed_tensor_from_py_object_no_sync", c_void_p),
        ("managed_tensor_to_py_object_no_sync", c_void_p),
        ("dltensor_from_py_object_no_sync", c_void_p),
        ("current_work_stream", c_void_p),
    ]


_capsule_name = PYFUNCTYPE(c_char_p, py_object)(("PyCapsule_GetName", pythonapi))
_capsule_pointer = PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", pythonapi))


class Export(NamedTuple):
    """What a producer says of an array. strides are in bytes; None is C order."""

    address: int  # of element (0, 0, ...); 0 if there is none
    length: int
    dtype: int | None  # GRADCLIP_..., None if it is none of those
    dtype_name: str
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    read_only: bool
    copied: bool
    capsule: Any  # keeps the memory


def device(array: Any) -> str:
    """ "" for memory that the CPU can read, else the device's name."""
    if not hasattr(array, "__dlpack_device__"):
        return ""
    return _device_name(int(array.__dlpack_device__()[0]))


def _device_name(kind: int) -> str:
    if kind in CPU_DEVICES:
        return ""
    return _DEVICE_NAMES.get(kind, f"of DLPack type {kind}")


def export(array: Any) -> Export:
    """What array tells through DLPack, as far as that can be true of any array.

    Raises:
        BufferError: for what can be true of none. Whether there really is memory
            where the array says, nobody can check.
    """
    try:
        capsule = array.__dlpack__(max_version=(1, 0), copy=False)
    except TypeError:  # a producer from before DLPack 1.0
        capsule = array.__dlpack__()
    name = _capsule_name(capsule)
    address = _capsule_pointer(capsule, name)
    flags = 0
    if name == b"dltensor_versioned":
        managed = _DLManagedTensorVersioned.from_address(address)
        if managed.major != 1:
            raise BufferError(f"DLPack version {managed.major}.{managed.minor} is not known")
        tensor = managed.dl_tensor
        flags = managed.flags
    elif name == b"dltensor":
        tensor = _DLTensor.from_address(address)
    else:
        raise BufferError(f"the DLPack capsule has the name {name!r}")
    # The capsule may tell of another device than the array did, or the array of none.
    if tensor.device_type not in CPU_DEVICES:
        raise BufferError(f"the capsule's device is {_device_name(tensor.device_type)}")
    if not 0 <= tensor.ndim <= _MOST_AXES:
        raise BufferError(f"it has {tensor.ndim} axes")
    if tensor.ndim and not tensor.shape:
        raise BufferError("it has no shape")
    itemsize = tensor.bits * tensor.lanes // 8
    kind = (tensor.type_code, tensor.bits)
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    length = prod(shape)
    if min(shape, default=0) < 0 or length * itemsize > sys.maxsize:
        raise BufferError(f"its shape is {shape}")
    if length and not tensor.data:
        raise BufferError("its data is NULL")
    strides = None
    if tensor.strides:
        strides = tuple(tensor.strides[axis] * itemsize for axis in range(tensor.ndim))
    address = (tensor.data or 0) + tensor.byte_offset if length else 0
    if address + length * itemsize > _END_OF_MEMORY:
        raise BufferError(f"its byte_offset is {tensor.byte_offset}")
    lanes = "" if tensor.lanes == 1 else f" in {tensor.lanes} lanes"
    return Export(
        address=address,
        length=length,
        dtype=_DTYPES.get(kind) if tensor.lanes == 1 else None,
        dtype_name=f"{_TYPE_NAMES.get(kind[0], f'type {kind[0]}')}{kind[1]}{lanes}",
        itemsize=itemsize,
        shape=shape,
        strides=strides,
        read_only=bool(flags & _READ_ONLY),
        copied=bool(flags & _IS_COPIED),
        capsule=capsule,
    )


def reader_of(kind: type) -> Any:
    """What gradclip_tensors_from_dlpack reads objects of a type with; None if it has no such."""
    capsule = getattr(kind, "__dlpack_c_exchange_api__", None)
    name = b"dlpack_exchange_api"
    if capsule is None or sys.implementation.name != "cpython" or _capsule_name(capsule) != name:
        return None
    api = _DLPackExchangeAPI.from_address(_capsule_pointer(capsule, name))
    if api.major != 1 or not api.dltensor_from_py_object_no_sync:
        return None
    return ffi.gradclip_dlpack_reader(api.dltensor_from_py_object_no_sync)


def _do_tuples_end_in_their_items() -> bool:
    """Whether a tuple is the addresses of its items behind a header, as in every CPython so far."""
    items = (object(), object(), object())
    if sys.implementation.name != "cpython" or tuple.__itemsize__ != ctypes.sizeof(c_void_p):
        return False
    if sys.getsizeof(items) < tuple.__basicsize__ + ctypes.sizeof(c_void_p * 3):
        return False
    held = (c_void_p * 3).from_address(id(items) + tuple.__basicsize__)
    return list(held) == list(map(id, items))


tuples_end_in_their_items = _do_tuples_end_in_their_items()
