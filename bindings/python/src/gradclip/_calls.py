"""The library's operations on collected gradients: the shared half of every function and plan.

Which values are allowed is the library's to say, and its message becomes the
exception's. Here only what ctypes cannot pass on at all is refused.
"""

from __future__ import annotations

import ctypes
from ctypes import ArgumentError, c_double, sizeof
from functools import lru_cache
from typing import Any

from . import _ffi
from ._errors import NonFiniteGradientError, error_for
from ._norm import ALL_FINITE, NonFinite, Norm
from ._tensors import Rows, Table

_POLICIES = {
    "leave": _ffi.GRADCLIP_NONFINITE_LEAVE,
    "propagate": _ffi.GRADCLIP_NONFINITE_PROPAGATE,
    "zero": _ffi.GRADCLIP_NONFINITE_ZERO,
}
_OPTIONS_SIZE = sizeof(_ffi.gradclip_options)
_RESULT_SIZE = sizeof(_ffi.gradclip_result)


def clip_grad_norm_(
    tensors: Rows,
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    eps: float,
    nonfinite: str,
    grad_scale: float,
    tensor_norms: bool,
    exact_f64: bool = False,
) -> Norm:
    options = options_of(eps, nonfinite, grad_scale, error_if_nonfinite, exact_f64)
    result, norms = _result(tensors, tensor_norms)
    call(
        _ffi.gradclip_clip_grad_norm,
        tensors.table.first,
        tensors.count,
        max_norm,
        norm_type,
        options,
        result,
    )
    return _norm(tensors, result, norms, error_if_nonfinite)


def clip_grad_norm(
    tensors: Rows,
    outputs: Table,
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    eps: float,
    nonfinite: str,
    grad_scale: float,
    tensor_norms: bool,
    exact_f64: bool = False,
) -> tuple[Norm, int]:
    options = options_of(eps, nonfinite, grad_scale, error_if_nonfinite, exact_f64)
    result, norms = _result(tensors, tensor_norms)
    status = call(
        _ffi.gradclip_clip_grad_norm_to,
        tensors.table.first,
        outputs.first,
        tensors.count,
        max_norm,
        norm_type,
        options,
        result,
    )
    return _norm(tensors, result, norms, error_if_nonfinite), status


def defer_clip(
    tensors: Rows,
    max_norm: float,
    norm_type: float,
    error_if_nonfinite: bool,
    eps: float,
    nonfinite: str,
    grad_scale: float,
    tensor_norms: bool,
    exact_f64: bool,
) -> Norm:
    options = options_of(eps, nonfinite, grad_scale, error_if_nonfinite, exact_f64)
    result, norms = _result(tensors, tensor_norms)
    call(
        _ffi.gradclip_defer_clip,
        tensors.table.first,
        tensors.count,
        max_norm,
        norm_type,
        options,
        result,
    )
    return _norm(tensors, result, norms, error_if_nonfinite)


def get_total_norm(
    tensors: Rows,
    norm_type: float,
    error_if_nonfinite: bool,
    nonfinite: str,
    grad_scale: float,
    tensor_norms: bool,
    exact_f64: bool = False,
) -> Norm:
    options = options_of(_EPS, nonfinite, grad_scale, error_if_nonfinite, exact_f64)
    result, norms = _result(tensors, tensor_norms)
    call(
        _ffi.gradclip_get_total_norm,
        tensors.table.first,
        tensors.count,
        norm_type,
        options,
        result,
    )
    return _norm(tensors, result, norms, error_if_nonfinite)


def clip_grads_with_norm_(
    tensors: Rows,
    max_norm: float,
    total_norm: float,
    eps: float,
    nonfinite: str,
    grad_scale: float,
) -> Norm:
    options = options_of(eps, nonfinite, grad_scale, False)
    result, _ = _result(tensors, False)
    call(
        _ffi.gradclip_clip_grads_with_norm,
        tensors.table.first,
        tensors.count,
        max_norm,
        total_norm,
        options,
        result,
    )
    return _norm(tensors, result, None, False)


def clip_coef(max_norm: float, total_norm: float, eps: float) -> float:
    coefficient = c_double()
    options = options_of(eps, "leave", 1.0, False)
    call(_ffi.gradclip_clip_coef, max_norm, total_norm, options, ctypes.byref(coefficient))
    return coefficient.value


def scale(tensors: Rows, factor: float, row: int | None = None) -> None:
    """Multiplies all gradients by a factor, or that of one row."""
    table, first, count = tensors.table, tensors.table.first, tensors.count
    if row is not None:
        first, count = _ffi.gradclip_tensor.from_buffer(table.words, 32 * row), 1
    call(_ffi.gradclip_scale, first, count, factor, None)


def clip_grad_value_(tensors: Rows, clip_value: float) -> None:
    call(_ffi.gradclip_clip_grad_value, tensors.table.first, tensors.count, clip_value, None)


# -------------------------------------------------------------------- parts --

_EPS = 1e-6  # of gradclip_options_init, like the other defaults below


def options_of(
    eps: float,
    nonfinite: str,
    grad_scale: float,
    error_if_nonfinite: bool = False,
    exact_f64: bool = False,
) -> _ffi.gradclip_options | None:
    if eps == _EPS and grad_scale == 1.0 and nonfinite == "leave" and not exact_f64:
        return None
    policy = _POLICIES.get(nonfinite)
    if policy is None:
        raise ValueError(
            f"nonfinite must be one of {', '.join(map(repr, _POLICIES))} (got {nonfinite!r})"
        )
    if error_if_nonfinite:
        # Where there is something to raise for, nothing may be written, and
        # where there is nothing the policies do not differ.
        policy = _ffi.GRADCLIP_NONFINITE_LEAVE
    return _made_options(
        real("eps", eps), real("grad_scale", grad_scale), policy, bool(exact_f64)
    )


@lru_cache(maxsize=16)
def _made_options(
    eps: float, grad_scale: float, policy: int, exact_f64: bool
) -> _ffi.gradclip_options:
    # The library only reads options, so calls and threads can share them.
    return _ffi.gradclip_options(_OPTIONS_SIZE, eps, grad_scale, policy, exact_f64)


def real(name: str, value: float) -> float:
    try:
        return c_double(value).value
    except TypeError:
        raise _not_a_number(name, value) from None


def _not_a_number(name: str, value: object) -> TypeError:
    return TypeError(f"{name} must be a real number (got {value!r})")


def new_result() -> _ffi.gradclip_result:
    return _ffi.gradclip_result(_RESULT_SIZE)


def _result(
    tensors: Rows, tensor_norms: bool
) -> tuple[_ffi.gradclip_result, ctypes.Array[c_double] | None]:
    result = new_result()
    if not tensor_norms:
        return result, None
    norms = (c_double * tensors.count)()
    result.tensor_norms = norms
    return result, norms


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


def _norm(
    tensors: Rows,
    result: _ffi.gradclip_result,
    norms: ctypes.Array[c_double] | None,
    error_if_nonfinite: bool,
) -> Norm:
    nonfinite = ALL_FINITE
    if result.nonfinite_count:
        nonfinite = tensors.nonfinite(result)
        if error_if_nonfinite:
            raise NonFiniteGradientError(nonfinite)
    return norm_of(result, nonfinite, None if norms is None else tensors.norms(list(norms)))


def norm_of(
    result: _ffi.gradclip_result, nonfinite: NonFinite, tensor_norms: tuple[float, ...] | None
) -> Norm:
    norm = Norm(result.total_norm)
    norm.clip_coef = coef = result.clip_coef
    norm.clipped = coef != 1.0
    norm.factor = result.factor
    norm.nonfinite = nonfinite
    norm.tensor_norms = tensor_norms
    return norm
