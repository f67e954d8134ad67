"""From a call's arguments to the lines of the golden file, through the oracle."""

from math import ceil, isinf, isnan

import clip
from formats import F64
from golden_file import hex_float, tensor_line
from norms import COUNTS_AS_INFINITE, Magnitudes, as_float, total_norm, unscaled
from patterns import expand, length


def norm_ulps(p, formats, grad_scale, number):
    """How far the library's norm may be from the oracle's (see README.md)."""
    if p == 0 or number == 0:
        return 0
    # A quotient below the normal numbers may be rounded once more.
    subnormal = 1 if grad_scale != 1 and number < 2.0**-1022 else 0
    if abs(p) > COUNTS_AS_INFINITE or p in (1, 2) and F64 not in formats:
        return subnormal
    if p in (1, 2):
        return subnormal + (1 if grad_scale == 1 else 2)
    return subnormal + ceil(4 * max(1, 1 / abs(p))) + (0 if grad_scale == 1 else 1)


def oracle_tensors(inputs):
    return [clip.Tensor(t.fmt, expand(t.runs), t.counted) for t in inputs]


def float_norm(inputs, p, grad_scale=1.0):
    """The total norm, for choosing a max_norm beside it."""
    counted = [Magnitudes.of(t.fmt, expand(t.runs) if t.counted else []) for t in inputs]
    return as_float(unscaled(total_norm(counted, p), p, grad_scale))


def clip_call(inputs, max_norm, p, eps=1e-6, grad_scale=1.0, policy=clip.LEAVE, note="-"):
    found = clip.clip_grad_norm(oracle_tensors(inputs), max_norm, p, eps, grad_scale, policy)
    formats = {t.fmt for t in inputs if t.counted and length(t.runs)}
    total_ulps = norm_ulps(p, formats, grad_scale, found.total_norm)
    coef_ulps = 0
    if 0 < found.clip_coef < 1:
        coef_ulps = 2 * total_ulps + 1 if total_ulps else 0
        if isinf(found.total_norm):  # the norm itself is not rounded to float64
            coef_ulps += 2
    product_ulps = coef_ulps
    if coef_ulps and found.clip_coef < 2.0**-1022:
        # A subnormal has few digits; products and the factor inherit their error.
        product_ulps = ceil(coef_ulps * 2.0**-1021 / found.clip_coef)
        if grad_scale < 1:
            coef_ulps = product_ulps
    if total_ulps and not isinf(found.total_norm) and not isnan(found.total_norm):
        # An inexact norm must not decide whether anything is clipped.
        assert not 0.999 < max_norm / (found.total_norm + eps or 1) < 1.001, (note, max_norm)
    element_ulps = 0
    if coef_ulps:
        element_ulps = 2 * product_ulps + 1 if F64 in {t.fmt for t in inputs} else 3
    first = found.first or ("-", "-")
    yield (
        f"clip {hex_float(p)} {hex_float(max_norm)} {hex_float(eps)} {hex_float(grad_scale)} {policy} "
        f"{len(inputs)} {found.status} {hex_float(found.total_norm)} {total_ulps} "
        f"{hex_float(found.clip_coef)} {hex_float(found.factor)} {coef_ulps} {element_ulps} "
        f"{found.nonfinite_count} {found.nan_count} {first[0]} {first[1]} {note}"
    )
    for i, t in enumerate(inputs):
        own = found.tensor_norms[i]
        formats = {t.fmt} if t.counted else set()
        output = None if found.outputs is None else found.outputs[i]
        yield tensor_line(t, own, norm_ulps(p, formats, grad_scale, own), output)


def with_call(inputs, max_norm, total, eps=1e-6, grad_scale=1.0, policy=clip.LEAVE, note="-"):
    found = clip.clip_grads_with_norm(oracle_tensors(inputs), max_norm, total, eps, grad_scale, policy)
    yield (
        f"with {hex_float(max_norm)} {hex_float(total)} {hex_float(eps)} {hex_float(grad_scale)} {policy} "
        f"{len(inputs)} {found.status} {hex_float(found.clip_coef)} {hex_float(found.factor)} {note}"
    )
    for i, t in enumerate(inputs):
        yield tensor_line(t, output=None if found.outputs is None else found.outputs[i])


def scale_call(inputs, factor, note="-"):
    yield f"scale {hex_float(factor)} {len(inputs)} {note}"
    for t, output in zip(inputs, clip.scale_all(oracle_tensors(inputs), factor)):
        yield tensor_line(t, output=output)


def value_call(inputs, clip_value, note="-"):
    yield f"value {hex_float(clip_value)} {len(inputs)} {note}"
    for t, output in zip(inputs, clip.clip_grad_value(oracle_tensors(inputs), clip_value)):
        yield tensor_line(t, output=output)


def coef_call(max_norm, total, eps):
    coef = clip.clip_coef(max_norm, total, eps)
    yield f"coef {hex_float(max_norm)} {hex_float(total)} {hex_float(eps)} {hex_float(coef)}"
