"""Clipping as a whole, on rows: the half that functions, plans and torch share."""

from __future__ import annotations

import ctypes
from ctypes import c_double

from .._gradients.rows import Rows, Table
from .._native import ffi
from .._native.call import EPS, call, new_result, norm_of, options_of
from .._native.errors import NonFiniteGradientError
from .._norm import ALL_FINITE, Norm


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
        ffi.gradclip_clip_grad_norm,
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
        ffi.gradclip_clip_grad_norm_to,
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
        ffi.gradclip_defer_clip,
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
    options = options_of(EPS, nonfinite, grad_scale, error_if_nonfinite, exact_f64)
    result, norms = _result(tensors, tensor_norms)
    call(
        ffi.gradclip_get_total_norm,
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
        ffi.gradclip_clip_grads_with_norm,
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
    call(ffi.gradclip_clip_coef, max_norm, total_norm, options, ctypes.byref(coefficient))
    return coefficient.value


def scale(tensors: Rows, factor: float, row: int | None = None) -> None:
    """Multiplies all gradients by a factor, or that of one row."""
    table, first, count = tensors.table, tensors.table.first, tensors.count
    if row is not None:
        first, count = ffi.gradclip_tensor.from_buffer(table.words, 32 * row), 1
    call(ffi.gradclip_scale, first, count, factor, None)


def clip_grad_value_(tensors: Rows, clip_value: float) -> None:
    call(ffi.gradclip_clip_grad_value, tensors.table.first, tensors.count, clip_value, None)


def _result(
    tensors: Rows, tensor_norms: bool
) -> tuple[ffi.gradclip_result, ctypes.Array[c_double] | None]:
    result = new_result()
    if not tensor_norms:
        return result, None
    norms = (c_double * tensors.count)()
    result.tensor_norms = norms
    return result, norms


def _norm(
    tensors: Rows,
    result: ffi.gradclip_result,
    norms: ctypes.Array[c_double] | None,
    error_if_nonfinite: bool,
) -> Norm:
    nonfinite = ALL_FINITE
    if result.nonfinite_count:
        nonfinite = tensors.nonfinite(result)
        if error_if_nonfinite:
            raise NonFiniteGradientError(nonfinite)
    return norm_of(result, nonfinite, None if norms is None else tensors.norms(list(norms)))
