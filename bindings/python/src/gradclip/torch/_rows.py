"""The gradients of torch parameters as rows of the library's list: the one collector.

There are two ways to look at a list of tensors. The fast one takes all at once, if they are
contiguous on the CPU, and gives up at the first surprise. The other goes through the tensors
one by one, and also takes other memory formats, complex, sparse and repeated tensors, and
tensors with gaps in their memory. What neither can pass on to the library is for torch.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from ctypes import c_uint64
from operator import attrgetter
from types import GeneratorType
from typing import Any, NamedTuple, TypeAlias, Union

import torch
from torch import Tensor
from torch.autograd.graph import increment_version
from torch.nn import Module, Parameter
from torch.optim import Optimizer

from .._gradients import dlpack
from .._gradients.layout import Layout, c_order, layout
from .._gradients.rows import Rows, Table
from .._gradients.rows import checked_names as _checked_names
from .._native import ffi


class Held:
    """Parameters that are kept from step to step: by a Plan, which is taken in their place, and
    by a Monitor."""

    def __init__(self, parameters: Parameters, names: Iterable[str] | None) -> None:
        self._parameters, self._names = parameters_of(parameters, names)
        for i, parameter in enumerate(self._parameters):
            if not isinstance(parameter, Tensor):
                raise TypeError(f"parameters[{i}] is no tensor (got {parameter!r})")
        self._memo = Memo()


Parameters: TypeAlias = Union[
    Module,
    Optimizer,
    Tensor,
    Iterable[Tensor],
    Iterable[tuple[str, Tensor]],
    Iterable[Mapping[str, Any]],
    Mapping[str, Tensor],
    Held,
]
"""A model, an optimizer, a parameter, parameters, named_parameters(), param_groups, or a Plan."""

DTYPES = {
    torch.float32: ffi.GRADCLIP_F32,
    torch.float64: ffi.GRADCLIP_F64,
    torch.float16: ffi.GRADCLIP_F16,
    torch.bfloat16: ffi.GRADCLIP_BF16,
}
KINDS = {Tensor, Parameter}  # a subclass may mean anything by its memory
# A complex number is two real ones, and |z|^2 = re^2 + im^2.
_COMPLEX = {
    torch.complex64: ffi.GRADCLIP_F32,
    torch.complex128: ffi.GRADCLIP_F64,
    torch.complex32: ffi.GRADCLIP_F16,
}
_WIDE = {torch.float64, torch.complex128}
FLOAT32_MAX = torch.finfo(torch.float32).max
_PORTION = 256  # so that all is asked of a tensor while it is in the cache

_reader = dlpack.reader_of(Tensor)
_grad_of = attrgetter("grad")
_is_cpu = attrgetter("is_cpu")
_dtype_of = attrgetter("dtype")


# ------------------------------------------------------------------ what is given --


def is_group(given: Any) -> bool:
    """Whether it is one of an optimizer's param_groups, and no dictionary of tensors."""
    return isinstance(given, Mapping) and isinstance(given.get("params"), (list, tuple))


_GIVEN = "must be a model, an optimizer, param_groups, tensors or pairs of a name and a tensor"


def parameters_of(
    given: Any, names: Iterable[str] | None = None, argument: str = "parameters"
) -> tuple[list[Any], list[str] | None]:
    """The parameters (or tensors) of whatever holds some, and their names if it has them. argument:
    what errors call it."""
    if isinstance(given, Held):
        if names is not None:
            raise TypeError("names must be None for a Plan, which was made with them")
        return given._parameters, given._names
    if isinstance(given, Tensor):
        return [given], checked_names(names, 1)
    if type(given) in (list, GeneratorType):
        pass
    elif isinstance(given, Optimizer):
        given = given.param_groups
    elif isinstance(given, Module):
        given = given.named_parameters()
    elif isinstance(given, Mapping):
        given = [given] if is_group(given) else given.items()
    try:
        listed: list[Any] = list(given)
    except TypeError:
        raise TypeError(f"{argument} {_GIVEN} (got {given!r:.80})") from None
    if listed and not isinstance(listed[0], Tensor):
        first = type(listed[0])
        if issubclass(first, Mapping) and all("params" in group for group in listed):
            held = [parameters_of(group["params"]) for group in listed]
            listed = [parameter for parameters, _ in held for parameter in parameters]
            if all(inner is not None for _, inner in held):
                names = (
                    [name for _, inner in held for name in inner or ()] if names is None else names
                )
        elif all(isinstance(entry, tuple) and len(entry) == 2 for entry in listed):
            if names is None:
                names = [name for name, _ in listed]
            listed = [parameter for _, parameter in listed]
        elif not (listed[0] is None or hasattr(listed[0], "grad") or hasattr(listed[0], "grad_sample")):
            raise TypeError(f"{argument} {_GIVEN} (the first of these is {listed[0]!r:.80})")
    return listed, checked_names(names, len(listed)) if names is not None else None


def checked_names(names: Iterable[str] | None, count: int) -> list[str] | None:
    return None if names is None else _checked_names(names, count, Gradients.noun)


# ----------------------------------------------------------------------- the rows --


class ForTorch(NamedTuple):
    """Why gradients cannot go to the library: `tensor`, by its place in the list, is `what`."""

    tensor: int
    what: str


class Gradients(Rows):
    """Gradients that can go to the library.

    Attributes:
        wide: whether one of them is of double precision.
    """

    __slots__ = ("_copies", "_values", "wide")

    noun = "parameter"

    def __init__(
        self,
        tensors: list[Tensor],
        place_of: list[int] | None,
        names: list[str] | None,
        places: int,
        table: Table,
        wide: bool,
    ) -> None:
        self.arrays: list[Tensor] = tensors
        self.place_of = place_of
        self.names = names
        self.places = places
        self.table = table
        self.count = len(table.words) // 4
        self.wide = wide
        self.row_of: list[int] | None = None
        self._copies: list[tuple[Tensor, Tensor]] = []
        self._values: dict[int, Tensor] = {}  # coalesced, of the arrays that are sparse

    def written(self) -> None:
        """Copies go back to the tensors with gaps, and autograd is told: a later
        backward pass through a changed gradient must raise as it does with torch.
        """
        if self._copies:
            with torch.no_grad():
                for tensor, copy in self._copies:
                    tensor.copy_(copy)
        if self.arrays:
            increment_version(self.arrays)

    def order(self, i: int) -> Layout:
        tensor = self.arrays[i]
        return dense_layout(tensor) or c_order(tensor.shape)  # a copy is in C order

    def shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.arrays[i].shape)

    def dtype(self, i: int) -> str:
        return str(self.arrays[i].dtype).removeprefix("torch.")

    def index_of(self, i: int, element: int) -> tuple[int, ...]:
        tensor = self.arrays[i]
        if tensor.is_complex():
            element //= 2
        coalesced = self._values.get(i)
        if coalesced is None:
            return self.order(i).index_of(element)
        values, indices = coalesced._values(), coalesced._indices()
        stored, *rest = c_order(values.shape).index_of(element)
        return (*indices[:, stored].tolist(), *rest)

    def copied(
        self, i: int, array: Tensor, axes: Sequence[int], backwards: Sequence[bool]
    ) -> tuple[Tensor, int]:
        with torch.no_grad():  # no tensor runs backwards
            copy = array.permute(*axes).contiguous()
        return copy, copy.data_ptr()

    def put_back(self, array: Tensor, copy: Tensor, axes: Sequence[int]) -> None:
        with torch.no_grad():
            array.copy_(copy.permute(*axes))

    def label(self, i: int) -> str:
        place = self.place(i)
        return (
            f"gradient {place}" if self.names is None else f"the gradient of {self.names[place]!r}"
        )


class _Gathered(NamedTuple):
    tensors: list[Any]  # without None
    place_of: list[int] | None  # where each stood; None: there was no None
    places: int
    words: array[int] | None  # the rows, as in Table; None if not all are such tensors


def gradients_in(tensors: list[Any]) -> _Gathered:
    """The tensors themselves, None left out."""
    return gradients_of(tensors, None)


def gradients_of(owners: list[Any], grad_of: Any = _grad_of) -> _Gathered:
    """The .grad of each of some parameters, None left out."""
    words: array[int] | None = array("Q", bytes(32 * len(owners)))
    tensors: list[Any] = []
    place_of: list[int] | None = None
    filled = 0
    for start in range(0, len(owners), _PORTION):
        chunk: Any = owners[start : start + _PORTION]
        try:
            chunk = tuple(chunk if grad_of is None else map(grad_of, chunk))
        except AttributeError:
            i = next(i for i, owner in enumerate(owners) if not hasattr(owner, "grad"))
            raise TypeError(f"parameters[{i}] is no tensor (got {owners[i]!r:.80})") from None
        kinds = set(map(type, chunk))
        if type(None) in kinds and place_of is None:
            place_of = list(range(start))
        if place_of is not None:
            place_of += [start + i for i, tensor in enumerate(chunk) if tensor is not None]
            chunk = tuple([tensor for tensor in chunk if tensor is not None])
            kinds.discard(type(None))
        tensors += chunk
        if words is not None and chunk:
            take = _read if _reader is not None else _ask
            if kinds <= KINDS and take(chunk, words, filled):
                filled += len(chunk)
            else:
                words = None
    if words is not None:
        del words[4 * filled :]
    # (What tuple makes: a NamedTuple's own constructor is a function in Python.)
    return tuple.__new__(_Gathered, (tensors, place_of, len(owners), words))


class Memo:
    """What was found the last time, of use to what holds parameters: most of it stays the same."""

    __slots__ = ("table", "wide")

    def __init__(self) -> None:
        self.table: Table | None = None
        self.wide = False


def look_at(
    gradients: _Gathered,
    names: list[str] | None = None,
    complex_too: bool = True,
    memo: Memo | None = None,
    sparse_too: bool = True,
) -> Gradients | ForTorch:
    """The gradients for the library, or why they are for torch.

    names has one name for each that was asked for a gradient; complex_too and sparse_too
    say whether such tensors are for the library.
    """
    tensors, place_of, places, words = gradients
    if words is None:
        return _one_by_one(gradients, names, complex_too, sparse_too)
    before = None if memo is None else memo.table
    if before is not None and words == before.words:
        return Gradients(tensors, place_of, names, places, before, memo.wide)  # type: ignore[union-attr]
    first = ffi.gradclip_tensor.from_buffer(words) if words else None
    table: Table = tuple.__new__(Table, (words, first))
    if table.overlap() is not None:
        return _one_by_one(gradients, names, complex_too, sparse_too)
    wide = ffi.GRADCLIP_F64 in words[2::4]
    if memo is not None:
        memo.table, memo.wide = table, wide
    return Gradients(tensors, place_of, names, places, table, wide)


# ------------------------------------------------------------------- all at once --


def _read(tensors: tuple[Any, ...], words: array[int], start: int) -> bool:
    """Fills words with tensors; False if one is not as it must be. Where torch has DLPack's C
    exchange functions (2.13 does) the library itself asks them."""
    addresses: Any = id(tensors) + tuple.__basicsize__
    if not dlpack.tuples_end_in_their_items:
        addresses = array("Q", map(id, tensors))
        addresses = (c_uint64 * len(tensors)).from_buffer(addresses)
    first = ffi.gradclip_tensor.from_buffer(words, 32 * start)
    try:
        status: int = ffi.gradclip_tensors_from_dlpack(addresses, len(tensors), _reader, first)
    except Exception:  # torch's own, of several types: for sparse tensors and others
        return False
    return status == 0


def _ask(tensors: tuple[Any, ...], words: array[int], start: int) -> bool:
    """The same with an older torch: each question goes to all in a map() over C functions."""
    # Where torch knows no other device, what has an address lies on the CPU.
    if torch.accelerator.current_accelerator() is not None and not all(map(_is_cpu, tensors)):
        return False
    try:
        if not all(map(Tensor.is_contiguous, tensors)):
            return False
        # Tensors without plain memory (sparse, wrapped by torch.func) raise here.
        addresses = list(map(Tensor.data_ptr, tensors))
    except RuntimeError:
        return False
    dtypes: list[torch.dtype] = list(map(_dtype_of, tensors))
    if 0 in addresses or not DTYPES.keys() >= set(dtypes):
        return False
    table = Table.of(addresses, map(Tensor.numel, tensors), map(DTYPES.__getitem__, dtypes))
    words[4 * start : 4 * (start + len(tensors))] = table.words
    return True


# ------------------------------------------------------------------- one by one --


def _one_by_one(
    gradients: _Gathered, names: list[str] | None, complex_too: bool, sparse_too: bool
) -> Gradients | ForTorch:
    tensors, place_of, places, _ = gradients
    rows: dict[tuple[Any, ...], int] = {}
    columns: list[tuple[int, int, int]] = []  # address, length, dtype of each row
    row_of = []
    copies: list[tuple[Tensor, Tensor]] = []
    sparse: dict[int, Tensor] = {}
    for i, tensor in enumerate(tensors):
        place = i if place_of is None else place_of[i]
        what = _for_torch(tensor, complex_too, sparse_too)
        if what is not None:
            return ForTorch(place, what)
        dtype = _dtype(tensor.dtype)
        is_sparse = tensor.layout == torch.sparse_coo
        has_gaps = not is_sparse and dense_layout(tensor) is None
        key: tuple[Any, ...] = (i,)  # of its own: empty tensors share no memory
        if is_sparse:
            key = (-1, id(tensor))
        elif has_gaps:
            key = (tensor.data_ptr(), tensor.shape, tensor.stride(), dtype)
        elif tensor.numel():
            key = (tensor.data_ptr(), tensor.numel(), dtype)
        if key not in rows:
            rows[key] = len(columns)
            held = tensor
            if is_sparse:
                sparse[i] = _coalesced(tensor)
                held = sparse[i]._values()
                if sparse[i] is not tensor:
                    copies.append((tensor, sparse[i]))
            elif has_gaps:
                held = _contiguous(tensor)
                copies.append((tensor, held))
            length = held.numel() * (2 if tensor.is_complex() else 1)
            columns.append((held.data_ptr() if length else 0, length, dtype))
        row_of.append(rows[key])
    table = Table.of(*(zip(*columns) if columns else ((), (), ())))
    overlap = table.overlap()
    if overlap is not None:
        i = row_of.index(overlap[1])
        return ForTorch(i if place_of is None else place_of[i], "overlaps another in memory")
    wide = any(tensor.dtype in _WIDE for tensor in tensors)
    found = Gradients(tensors, place_of, names, places, table, wide)
    found.row_of, found._copies, found._values = row_of, copies, sparse
    return found


def _for_torch(tensor: Any, complex_too: bool, sparse_too: bool) -> str | None:
    """What makes a tensor one for torch's own function; None if nothing does."""
    what = not_plain(tensor, sparse_too)
    if what is not None:
        return what
    if tensor.dtype not in DTYPES and not (complex_too and tensor.dtype in _COMPLEX):
        return f"is of {tensor.dtype}"
    if tensor.layout == torch.sparse_coo or not tensor.numel():
        return None
    try:
        address = tensor.data_ptr()
    except RuntimeError:
        address = 0
    if address == 0:
        return "has no memory of its own"
    if _may_overlap_itself(tensor.shape, tensor.stride()):
        return "has several elements in one place of its memory"
    return None


def not_plain(tensor: Any, sparse_too: bool = False) -> str | None:
    """What makes it no plain tensor in CPU memory, of whatever dtype; None if nothing does."""
    if type(tensor) not in KINDS:
        return f"is of the type {type(tensor).__module__}.{type(tensor).__name__}"
    if not tensor.is_cpu:
        return f"is on the device {tensor.device}"
    if tensor.layout == torch.sparse_coo and sparse_too:
        return None
    if tensor.layout != torch.strided or tensor.is_nested:
        return f"has the layout {'nested' if tensor.is_nested else tensor.layout}"
    return None


def _dtype(dtype: torch.dtype) -> int:
    return DTYPES[dtype] if dtype in DTYPES else _COMPLEX[dtype]


def dense_layout(tensor: Tensor) -> Layout | None:
    """How a dense tensor lies in memory; None if there are gaps."""
    if tensor.is_contiguous():
        return c_order(tensor.shape)
    return layout(tensor.shape, tensor.stride(), 1)


def _may_overlap_itself(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    reach = 0
    for stride, extent in sorted(zip(strides, shape)):
        if extent > 1:
            if stride <= reach:
                return True
            reach += stride * (extent - 1)
    return False


def _contiguous(tensor: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu").copy_(tensor)


def _coalesced(tensor: Tensor) -> Tensor:
    """A sparse tensor whose values count once each and lie in C order: the tensor itself if it
    is one already, so that they are scaled where they are."""
    with torch.no_grad():
        coalesced = tensor.detach().coalesce()
        if tensor.is_coalesced() and tensor._values().is_contiguous():
            return tensor
        if coalesced._values().is_contiguous():
            return coalesced
        return torch.sparse_coo_tensor(
            coalesced._indices(),
            coalesced._values().contiguous(),
            coalesced.shape,
            is_coalesced=True,
            check_invariants=False,
        )


NOTHING = Gradients([], None, None, 0, Table.of((), (), ()), False)
