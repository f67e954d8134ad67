"""New arrays for the out-of-place functions: of the same kind, shape, dtype and memory order.

The library writes element i of a source to element i of its output, in memory
order, so an output must be laid out as its source is.
"""

from __future__ import annotations

import ctypes
import sys
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from .array import DTYPE_NAMES, FORMATS, ITEMSIZES, block
from .layout import Layout
from .rows import Table, Tensors
from .tree import rebuild

_FORMATS = {dtype: text for text, dtype in FORMATS.items()}


class Output(NamedTuple):
    finished: Callable[[], Any]  # the array to hand out, once it has been written
    address: int
    keep: Any


class _Form(NamedTuple):
    """What an output has in common with its source."""

    dtype: int
    length: int
    layout: Layout


class Outputs:
    """One output for each array of the tensors."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        if tensors.memory.blocks is None:
            # All are C-ordered NumPy arrays.
            new = list(map(sys.modules["numpy"].empty_like, tensors.arrays))
            exports = list(map(ctypes.c_char.from_buffer, new))
            self._addresses = list(map(ctypes.addressof, exports))
            self._keep: Any = exports
            self._finished: Callable[[], list[Any]] = lambda: new
        else:
            outputs = [
                _output(source, _Form(dtype, length, tensors.order(i)), tensors.label(i))
                for i, (source, dtype, length) in enumerate(
                    zip(tensors.arrays, tensors.memory.dtypes, tensors.memory.lengths)
                )
            ]
            self._addresses = [output.address for output in outputs]
            self._keep = outputs
            self._finished = lambda: [output.finished() for output in outputs]
        # Arrays that share a row are written through the first of them.
        self._twins: list[tuple[int, int]] = []
        addresses = self._addresses
        if tensors.row_of is not None:
            first: dict[int, int] = {}
            for i, row in enumerate(tensors.row_of):
                if first.setdefault(row, i) != i:
                    self._twins.append((first[row], i))
            addresses = [self._addresses[first[row]] for row in range(tensors.count)]
        self.table: Table = tensors.table.at(addresses)

    def copy_sources(self) -> None:
        """What a call that leaves non-finite gradients alone does not do itself."""
        memory = self._tensors.memory
        for i, (target, source) in enumerate(zip(self._addresses, memory.addresses)):
            ctypes.memmove(target, source, memory.nbytes(i))

    def finish(self) -> Any:
        """The new arrays, in the containers that the gradients came in."""
        for i, twin in self._twins:
            nbytes = self._tensors.memory.nbytes(i)
            ctypes.memmove(self._addresses[twin], self._addresses[i], nbytes)
        arrays = self._finished()
        leaves: list[Any] = [None] * self._tensors.places
        for i, finished in enumerate(arrays):
            leaves[self._tensors.place(i)] = finished
        return rebuild(self._tensors.tree, iter(leaves))


def _output(source: Any, form: _Form, label: str) -> Output:
    """A new array like source, to hold what form says."""
    numpy = sys.modules.get("numpy")
    order = form.layout
    if numpy is not None and issubclass(type(source), numpy.ndarray):
        return _written(_ndarray(numpy, source.dtype, order), form, label)
    nbytes = form.length * ITEMSIZES[form.dtype]
    if isinstance(source, array):
        return _written(array(source.typecode, bytes(nbytes)), form, label)
    if isinstance(source, ctypes.Array):
        return _written(type(source)(), form, label)
    if hasattr(type(source), "__dlpack__"):
        return _like_producer(source, form, label)
    if not order.is_c_order or form.dtype not in _FORMATS:
        raise ValueError(
            f"{label} is not in C order, and a new {type(source).__name__} cannot be "
            "in any other: pass numpy.asarray(...) of it"
        )
    return _written(_memoryview(nbytes, form), form, label)


def _written(new: Any, form: _Form, label: str) -> Output:
    exported = block(new, f"the output for {label}", writable=True)
    if (exported.length, exported.dtype) != (form.length, form.dtype) or (
        exported.layout[1:3] != form.layout[1:3]
    ):
        raise ValueError(f"{label}: a new {type(new).__name__} is not laid out as the gradient is")
    return Output(lambda: new, exported.address, exported.keep)


def _ndarray(numpy: Any, dtype: Any, order: Layout) -> Any:
    """An empty ndarray of that layout."""
    in_memory = numpy.empty([order.shape[axis] for axis in order.axes], dtype)
    flipped = in_memory[
        tuple(slice(None, None, -1 if order.reversed[axis] else None) for axis in order.axes)
    ]
    inverse = sorted(range(len(order.axes)), key=order.axes.__getitem__)
    return flipped.transpose(inverse) if order.axes else in_memory


def _memoryview(nbytes: int, form: _Form) -> Any:
    flat: Any = memoryview(bytearray(nbytes))
    if not form.length:
        return flat.cast(_FORMATS[form.dtype])
    return flat.cast(_FORMATS[form.dtype], list(form.layout.shape))


def _like_producer(source: Any, form: _Form, label: str) -> Output:
    """A new array of a library that is met through DLPack, torch or JAX for instance."""
    library = sys.modules.get(type(source).__module__.partition(".")[0])
    empty_like = getattr(library, "empty_like", None)
    if empty_like is not None:
        return _written(empty_like(source), form, label)
    # The library's arrays cannot be written, or it makes none that way: write
    # a NumPy array, and let the library take it over.
    namespace = getattr(source, "__array_namespace__", None)
    take_over = getattr(namespace() if namespace else library, "asarray", None)
    if take_over is None:
        take_over = getattr(library, "convert_to_tensor", None)  # TensorFlow's name for it
    numpy = _numpy()
    if numpy is None or take_over is None:
        raise TypeError(
            f"{label}: there is no way to make a new {type(source).__name__}; "
            f"pass a NumPy array of {DTYPE_NAMES[form.dtype]}"
        )
    try:
        dtype = numpy.dtype(DTYPE_NAMES[form.dtype])
        as_bfloat16 = False
    except TypeError:
        # bfloat16 is a dtype of NumPy's only if ml_dtypes has been imported (JAX does).
        dtype = numpy.dtype("float16")
        as_bfloat16 = True

    def finished() -> Any:
        if as_bfloat16:
            return take_over(new).view(source.dtype)
        return take_over(new, dtype=source.dtype)  # MLX would make float32 of float64

    new = _ndarray(numpy, dtype, form.layout)
    exported = block(new, f"the output for {label}", writable=True)
    return Output(finished, exported.address, exported.keep)


def _numpy() -> Any:
    """NumPy, which the package needs for nothing else; None if it is not installed."""
    try:
        import numpy
    except ImportError:
        return None
    return numpy
