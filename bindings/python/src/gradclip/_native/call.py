"""A call into the library: its options, its result, its refusals.

Which values are allowed is the library's to say, and its message becomes the
exception's. Here only what ctypes cannot pass on at all is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from ctypes import (
    ArgumentError,
    Array,
    byref,
    c_double,
    c_size_t,
    c_void_p,
    create_string_buffer,
    sizeof,
)
from functools import lru_cache
from operator import index
from typing import Any, TypeVar

from .._norm import NonFinite, Norm
from . import ffi
from .errors import InvalidArgumentError, error_for

POLICIES = {
    "leave": ffi.GRADCLIP_NONFINITE_LEAVE,
    "propagate": ffi.GRADCLIP_NONFINITE_PROPAGATE,
    "zero": ffi.GRADCLIP_NONFINITE_ZERO,
}
_OPTIONS_SIZE = sizeof(ffi.gradclip_options)
RESULT_SIZE = sizeof(ffi.gradclip_result)
NormT = TypeVar("NormT", bound=Norm)
_EPS = 1e-6  # of gradclip_options_init, like the other defaults below


class Options:
    """How a norm is taken and what follows from it: the arguments that every way to clip has.

    What each means is said at gradclip.clip_grad_norm_. They are looked at when the library is
    called, not before: where ranks clip together the others must hear of what is refused.
    """

    __slots__ = (
        "eps",
        "error_if_nonfinite",
        "exact_f64",
        "grad_scale",
        "nonfinite",
        "norm_type",
        "tensor_norms",
    )

    def __init__(
        self,
        norm_type: Any = 2.0,
        error_if_nonfinite: bool = False,
        eps: float = _EPS,
        nonfinite: str = "leave",
        grad_scale: float = 1.0,
        exact_f64: bool = False,
        tensor_norms: bool = False,
    ) -> None:
        self.norm_type: float = 2.0
        self.error_if_nonfinite = error_if_nonfinite
        self.eps = eps
        self.nonfinite = nonfinite
        self.grad_scale = grad_scale
        self.exact_f64 = exact_f64
        self.tensor_norms = tensor_norms
        if type(norm_type) is float:
            self.norm_type = norm_type
        elif isinstance(norm_type, str) and norm_type in ("inf", "-inf"):  # as torch has it too
            self.norm_type = float(norm_type)
        else:
            self.norm_type = real("norm_type", norm_type)

    @property
    def native(self) -> ffi.gradclip_options | None:
        """As the library takes them; None is the default."""
        nonfinite, eps, grad_scale = self.nonfinite, self.eps, self.grad_scale
        if nonfinite == "leave" and eps == _EPS and grad_scale == 1.0 and not self.exact_f64:
            return None
        policy = POLICIES.get(nonfinite) if isinstance(nonfinite, str) else None
        if policy is None:
            policy = number_of("nonfinite", nonfinite, POLICIES)  # which refuses it
        if self.error_if_nonfinite:
            # Where there is something to raise for, nothing may be written, and
            # where there is nothing the policies do not differ.
            policy = ffi.GRADCLIP_NONFINITE_LEAVE
        try:
            return _native(eps, grad_scale, policy, bool(self.exact_f64))
        except (TypeError, OverflowError):
            eps, grad_scale = real("eps", eps), real("grad_scale", grad_scale)
            return _native(eps, grad_scale, policy, bool(self.exact_f64))

    def but(self, **others: Any) -> Options:
        """The same options but for some."""
        return Options(**{name: getattr(self, name) for name in self.__slots__} | others)

    def writes(self, norm: Norm) -> bool:
        """Whether a call with these options that found this norm has written gradients."""
        if norm.nonfinite and self.nonfinite != "propagate":
            return self.nonfinite == "zero"
        return norm.clip_coef != 1.0 or self.grad_scale != 1.0


@lru_cache(maxsize=16)
def _native(eps: float, grad_scale: float, policy: int, exact_f64: bool) -> ffi.gradclip_options:
    # The library only reads options, so calls and threads can share them.
    return ffi.gradclip_options(_OPTIONS_SIZE, eps, grad_scale, policy, exact_f64)


def number_of(name: str, word: str, numbers: Mapping[str, int]) -> int:
    """The library's number for a word; ValueError for another than those it has one for."""
    number = numbers.get(word) if isinstance(word, str) else None
    if number is None:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, numbers))} (got {word!r})")
    return number


def real(name: str, value: Any) -> float:
    """A number as ctypes takes it, numpy's scalars included; TypeError for what is none."""
    try:
        return c_double(value).value
    except (TypeError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else InvalidArgumentError
        raise kind(f"{name} must be a real number (got {_shown(value)})") from None


def whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """An integer, numpy's included, as ctypes takes it, which would wrap others around."""
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer (got {value!r})") from None
    if not least <= number <= (2**64 - 1 if most is None else most):
        range_of = f">= {least}" if most is None else f"from {least} to {most}"
        raise InvalidArgumentError(f"{name} must be an integer {range_of} (got {value!r})")
    return number


def _shown(value: Any) -> str:
    """An int may have more digits than Python writes."""
    return "an int beyond float64" if isinstance(value, int) else repr(value)


def new_result() -> ffi.gradclip_result:
    return ffi.gradclip_result(RESULT_SIZE)


def doubles(name: str, values: Any) -> Array[c_double]:
    """Numbers as the library takes a list of them."""
    return (c_double * len(values))(*[real(name, value) for value in values])


def call(function: Any, *arguments: Any) -> int:
    try:
        status: int = function(*arguments)
    except ArgumentError as error:
        for name, kind, value in zip(function.names, function.argtypes, arguments):
            if kind is c_double:
                real(name, value)
        raise error
    if status < 0:
        raise error_for(status)
    return status


class Handle(c_void_p):
    """An object of the library's, an "accumulator" or a "chooser": freed when it goes out of use."""

    def __init__(self, kind: str, *arguments: Any) -> None:
        super().__init__()
        self._kind = kind
        self._free = getattr(ffi, f"gradclip_{kind}_free")  # at Python's end ffi may be gone
        call(getattr(ffi, f"gradclip_{kind}_create"), *arguments, self)

    def __del__(self) -> None:
        self._free(self)

    def state(self) -> bytes:
        """What it holds, as bytes that are the same on every machine."""
        export, size = getattr(ffi, f"gradclip_{self._kind}_export"), c_size_t()
        call(export, self, None, byref(size))
        state = create_string_buffer(size.value)
        call(export, self, state, byref(size))
        return state.raw

    def take(self, state: bytes) -> None:
        """What import does: an accumulator adds what the bytes hold, a chooser becomes it."""
        call(getattr(ffi, f"gradclip_{self._kind}_import"), self, state, len(state))


def norm_of(
    result: ffi.gradclip_result,
    nonfinite: NonFinite,
    tensor_norms: tuple[float, ...] | None = None,
    kind: type[NormT] = Norm,  # type: ignore[assignment]
) -> NormT:
    norm = kind(result.total_norm)
    norm.clip_coef = coef = result.clip_coef
    norm.clipped = coef != 1.0
    norm.factor = result.factor
    norm.nonfinite = nonfinite
    norm.tensor_norms = tensor_norms
    return norm
