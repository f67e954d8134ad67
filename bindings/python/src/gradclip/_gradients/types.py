"""The types of what is passed in; for type checkers, and for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, Union


class SupportsDLPack(Protocol):
    """An array that can be exported through DLPack."""

    def __dlpack__(self) -> Any: ...


if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    Array: TypeAlias = ReadableBuffer | SupportsDLPack
    Grads: TypeAlias = Array | Iterable["Grads"] | Mapping[Any, "Grads"] | None
else:  # what typing.get_type_hints finds, which cannot follow an alias into itself
    Array = Union[bytearray, memoryview, SupportsDLPack]
    """One gradient: NumPy array, array.array, memoryview, ctypes array, DLPack producer."""

    Grads = Union[Array, Iterable[Any], Mapping[Any, Any], None]
    """One gradient, or any nesting of containers of gradients and None."""

GradsT = TypeVar("GradsT", bound="Grads")

NonFinitePolicy: TypeAlias = Literal["leave", "propagate", "zero"]
"""What to do about NaN and infinities; see clip_grad_norm_."""
