"""The types of what is passed in; for type checkers, and for readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from typing_extensions import TypeAlias


class SupportsDLPack(Protocol):
    """An array that can be exported through DLPack."""

    def __dlpack__(self) -> Any: ...


Array: TypeAlias = "ReadableBuffer | SupportsDLPack"
"""One gradient: NumPy array, array.array, memoryview, ctypes array, DLPack producer."""

Grads: TypeAlias = "Array | Iterable[Grads] | Mapping[Any, Grads] | None"
"""One gradient, or any nesting of containers of gradients and None."""

GradsT = TypeVar("GradsT", bound="Grads")

NonFinitePolicy: TypeAlias = 'Literal["leave", "propagate", "zero"]'
"""What to do about NaN and infinities; see clip_grad_norm_."""
