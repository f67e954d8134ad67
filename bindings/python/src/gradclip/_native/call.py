"""A call into the library: its options, its result, its refusals.

Which values are allowed is the library's to say, and its message becomes the
exception's. Here only what ctypes cannot pass on at all is refused.
"""

from __future__ import annotations

from ctypes import ArgumentError, c_double, sizeof
from functools import lru_cache
from typing import Any

from .._norm import NonFinite, Norm
from . import ffi
from .errors import error_for

_POLICIES = {
    "leave": ffi.GRADCLIP_NONFINITE_LEAVE,
    "propagate": ffi.GRADCLIP_NONFINITE_PROPAGATE,
    "zero": ffi.GRADCLIP_NONFINITE_ZERO,
}
_OPTIONS_SIZE = sizeof(ffi.gradclip_options)
_RESULT_SIZE = sizeof(ffi.gradclip_result)


EPS = 1e-6  # of gradclip_options_init, like the other defaults below


def options_of(
    eps: float,
    nonfinite: str,
    grad_scale: float,
    error_if_nonfinite: bool = False,
    exact_f64: bool = False,
) -> ffi.gradclip_options | None:
    if eps == EPS and grad_scale == 1.0 and nonfinite == "leave" and not exact_f64:
        return None
    policy = _POLICIES.get(nonfinite)
    if policy is None:
        raise ValueError(
            f"nonfinite must be one of {', '.join(map(repr, _POLICIES))} (got {nonfinite!r})"
        )
    if error_if_nonfinite:
        # Where there is something to raise for, nothing may be written, and
        # where there is nothing the policies do not differ.
        policy = ffi.GRADCLIP_NONFINITE_LEAVE
    return _made_options(real("eps", eps), real("grad_scale", grad_scale), policy, bool(exact_f64))


@lru_cache(maxsize=16)
def _made_options(
    eps: float, grad_scale: float, policy: int, exact_f64: bool
) -> ffi.gradclip_options:
    # The library only reads options, so calls and threads can share them.
    return ffi.gradclip_options(_OPTIONS_SIZE, eps, grad_scale, policy, exact_f64)


def real(name: str, value: float) -> float:
    try:
        return c_double(value).value
    except TypeError:
        raise _not_a_number(name, value) from None


def _not_a_number(name: str, value: object) -> TypeError:
    return TypeError(f"{name} must be a real number (got {value!r})")


def new_result() -> ffi.gradclip_result:
    return ffi.gradclip_result(_RESULT_SIZE)


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


def norm_of(
    result: ffi.gradclip_result, nonfinite: NonFinite, tensor_norms: tuple[float, ...] | None
) -> Norm:
    norm = Norm(result.total_norm)
    norm.clip_coef = coef = result.clip_coef
    norm.clipped = coef != 1.0
    norm.factor = result.factor
    norm.nonfinite = nonfinite
    norm.tensor_norms = tensor_norms
    return norm
