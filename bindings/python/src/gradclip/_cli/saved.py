"""Loads files of saved tensors, without running code that they may hold."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._advise.extra import MissingPackageError, require
from .._native.errors import BadDataError

_FLOATS = ("float16", "float32", "float64", "bfloat16")
_SAFETENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


def load(path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The gradients of a file by name, and what was left out, with the reason.

    Raises:
        BadDataError: it cannot be read as any of the formats; the message says why.
        MissingPackageError: a package that it takes is not installed.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(16)
        found = _tensors(path, head)
        return _sorted(found)
    except (MissingPackageError, BadDataError):
        raise
    except OSError as error:
        raise BadDataError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # what the libraries raise for damaged files is of every kind
        text = str(error).strip().split("\n")[0][:300] or type(error).__name__
        raise BadDataError(f"{path} is damaged, or no file of tensors: {text}") from error


def _tensors(path: str, head: bytes) -> Iterator[tuple[str, Any]]:
    if head.startswith(b"\x93NUMPY"):
        return iter([("array", np.load(path, mmap_mode="r", allow_pickle=False))])
    if head.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            torch = any(name.endswith("data.pkl") for name in archive.namelist())
        return _torch(path) if torch else _npz(path)
    if head.startswith(b"\x80"):
        return _torch(path)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40:
        return _safetensors(path)
    raise BadDataError(
        f"{path} is none of .npz, .npy, safetensors and .pt: it begins with {head[:8]!r}"
    )


def _npz(path: str) -> Iterator[tuple[str, Any]]:
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            yield name, archive[name]


def _safetensors(path: str) -> Iterator[tuple[str, Any]]:
    deserialize = require("safetensors", "reading safetensors files").deserialize
    with open(path, "rb") as file:
        tensors = deserialize(file.read())
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        kind = tensor["dtype"]
        if kind == "BF16":
            dtype = np.dtype(require("ml_dtypes", "bfloat16 in safetensors files").bfloat16)
        elif kind in _SAFETENSORS:
            dtype = np.dtype(_SAFETENSORS[kind])
        else:
            yield name, f"its dtype is {kind}"
            continue
        yield name, np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])


def _torch(path: str) -> Iterator[tuple[str, Any]]:
    torch = require("torch", "reading .pt files")
    from pickle import UnpicklingError

    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise BadDataError(
            f"{path} cannot be loaded safely (torch.load with weights_only=True): save a "
            f"dictionary of tensors. {str(error).strip().splitlines()[0][:200]}"
        ) from error
    return _flat(torch, value, "")


def _flat(torch: Any, value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The tensors in any nesting of dictionaries and lists, named by their path."""
    if isinstance(value, torch.Tensor):
        if value.layout != torch.strided:
            yield name or "tensor", f"its layout is {value.layout}"
        else:
            yield name or "tensor", value.detach().contiguous()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(torch, item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _flat(torch, item, f"{name}.{place}" if name else str(place))


def _sorted(found: Iterator[tuple[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Those that are floats, in this machine's byte order, and the others."""
    grads: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name, array in found:
        if isinstance(array, str):
            skipped[name] = array
            continue
        dtype = str(array.dtype).replace("torch.", "")
        if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
            dtype = array.dtype.name
        elif dtype == "|V2":  # what NumPy writes for ml_dtypes' bfloat16
            array = array.view(require("ml_dtypes", "bfloat16").bfloat16)
            dtype = "bfloat16"
        if dtype in _FLOATS:
            grads[name] = array
        else:
            skipped[name] = f"its dtype is {dtype}"
    return grads, skipped
