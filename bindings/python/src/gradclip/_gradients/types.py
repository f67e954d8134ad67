"""The types of what is passed in; for type checkers, and for readers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, Union


class SupportsDLPack(Protocol):
    """An array that can be exported through DLPack."""

    def __dlpack__(self) -> Any: ...


class HoldsGradients(Protocol):
    """A gradclip.Plan."""

    def _open(self) -> Any: ...


class Decides(Protocol):
    """What a chooser says of a step: see Decision."""

    @property
    def threshold(self) -> float: ...

    @property
    def clip_coef(self) -> float: ...

    @property
    def skip(self) -> bool: ...


class Feeds(Protocol):
    """A chooser of this package, or any object that is fed norms and decides: feed(norm), or
    feed(norm, loss=...)."""

    @property
    def feed(self) -> Callable[..., Decides]: ...


class WritesScalars(Protocol):
    """A SummaryWriter: add_scalar(tag, value, step)."""

    @property
    def add_scalar(self) -> Callable[[str, float, int], object]: ...


if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    Array: TypeAlias = ReadableBuffer | SupportsDLPack
    Grads: TypeAlias = Array | Iterable["Grads"] | Mapping[Any, "Grads"] | HoldsGradients | None
    Limits: TypeAlias = Mapping[str, float | "Limits"]
else:  # what typing.get_type_hints finds, which cannot follow an alias into itself
    Array = Union[bytearray, memoryview, SupportsDLPack]
    """One gradient: NumPy array, array.array, memoryview, ctypes array, DLPack producer."""

    Grads = Union[Array, Iterable[Any], Mapping[Any, Any], HoldsGradients, None]
    """One gradient, or any nesting of containers of gradients and None, or a Plan."""

    Limits = Mapping[str, Any]
    """A number for each gradient by its name, in dictionaries nested as the gradients are."""

GradsT = TypeVar("GradsT", bound="Grads")

NonFinitePolicy: TypeAlias = Literal["leave", "propagate", "zero"]
"""What to do about NaN and infinities; see clip_grad_norm_."""
