"""What a call must come to, by the text of include/gradclip.h.

The inputs are bit patterns, the float64 steps (coefficient, factor) are Python
floats, which are IEEE binary64, and products of elements are exact rationals
rounded once or twice as the contract says.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import inf, isinf, isnan, nan
from typing import List, Optional

from formats import F32, F64, Format, bits_of, float_of, round64
from norms import INF, NAN, Magnitudes, as_float, norm, total_norm, unscaled

LEAVE, PROPAGATE, ZERO = 0, 1, 2
OK, NON_FINITE = 0, 1


@dataclass
class Tensor:
    fmt: Format
    elements: List[int]  # bit patterns
    counted: bool = True


@dataclass
class Outcome:
    status: int
    total_norm: float
    clip_coef: float
    factor: float
    nonfinite_count: int = 0
    nan_count: int = 0
    first: Optional[tuple] = None  # (tensor, element) of the first NaN or infinity
    tensor_norms: List[float] = field(default_factory=list)
    # The elements afterwards, None where no gradient is touched at all.
    outputs: Optional[List[List[int]]] = None


def divide(a: float, b: float) -> float:
    """a / b as IEEE has it, for a, b >= 0 and not both 0."""
    if b == 0:
        return inf
    return a / b


def clip_coef(max_norm: float, total: float, eps: float, true_norm=None) -> float:
    """min(1, max_norm / (total_norm + eps)). true_norm is the rational norm,
    for when its float64 reads infinity although every gradient is finite."""
    if max_norm == 0:
        return 0.0
    if max_norm == inf:
        return 1.0
    if isnan(total):
        return nan
    if isinf(total) and isinstance(true_norm, Fraction):
        return min(1.0, round64(Fraction(max_norm) / (true_norm + Fraction(eps))))
    if total + eps == 0:
        return 1.0
    return min(1.0, max_norm / (total + eps))


def quotient(coef: float, grad_scale: float) -> float:
    return nan if isnan(coef) else divide(coef, grad_scale)


def is_normal_f32(factor: float) -> bool:
    """Whether (float)factor is a normal number."""
    if isnan(factor) or isinf(factor):
        return False
    bits = F32.round(Fraction(factor)) & ~F32.sign_bit
    return F32.min_normal <= bits <= F32.max_finite


def scaled(fmt: Format, bits: int, factor: float) -> int:
    """One element after x * factor."""
    if fmt.is_nan(bits) or isnan(factor):
        return fmt.nan
    negative = fmt.is_negative(bits) != (bits_of(factor) >= F64.sign_bit)
    sign = fmt.sign_bit if negative else 0
    if fmt.is_inf(bits):
        return fmt.nan if factor == 0 else sign | fmt.inf
    x = fmt.value(bits)
    if isinf(factor):
        return fmt.nan if x == 0 else sign | fmt.inf
    if fmt is F64:
        return F64.round(x * Fraction(factor), negative)
    if is_normal_f32(factor):
        multiplier = F32.value(F32.round(Fraction(factor)))
        product = F32.round(x * multiplier, negative)
    else:
        wide = F64.round(x * Fraction(factor), negative)
        product = F32.inf if F64.is_inf(wide) else F32.round(F64.value(wide), negative)
    if fmt is F32:
        return product | (F32.sign_bit if negative else 0)
    return sign | fmt.inf if F32.is_inf(product) else fmt.round(F32.value(product), negative)


def scale_all(tensors, factor, zero_nonfinite=False):
    """Every element times factor; with zero_nonfinite, 0 for each that a
    counted tensor has and that is not finite."""

    def one(tensor, bits):
        if zero_nonfinite and tensor.counted and not tensor.fmt.is_finite(bits):
            return 0
        return bits if factor == 1 else scaled(tensor.fmt, bits, factor)

    cache = {}
    outputs = []
    for tensor in tensors:
        table = cache.setdefault((tensor.fmt.name, tensor.counted), {})
        for bits in set(tensor.elements) - table.keys():
            table[bits] = one(tensor, bits)
        outputs.append([table[bits] for bits in tensor.elements])
    return outputs


def clip_grad_norm(tensors, max_norm, norm_type, eps=1e-6, grad_scale=1.0, policy=LEAVE):
    """gradclip_clip_grad_norm. outputs is what an out-of-place call writes; in
    place the same elements are found afterwards."""
    counted = [Magnitudes.of(t.fmt, t.elements if t.counted else []) for t in tensors]
    bad = [
        (i, j)
        for i, t in enumerate(tensors)
        for j, bits in enumerate(t.elements)
        if t.counted and not t.fmt.is_finite(bits)
    ]
    if policy == ZERO:
        counted = [m.without_nonfinite() for m in counted]
    true_norm = unscaled(total_norm(counted, norm_type), norm_type, grad_scale)
    found = Outcome(
        status=OK,
        total_norm=as_float(true_norm),
        clip_coef=1.0,  # nothing is multiplied if the call ends here
        factor=1.0,
        nonfinite_count=len(bad),
        nan_count=sum(1 for i, j in bad if tensors[i].fmt.is_nan(tensors[i].elements[j])),
        first=bad[0] if bad else None,
        tensor_norms=[as_float(unscaled(norm(m, norm_type), norm_type, grad_scale)) for m in counted],
    )
    if bad and policy == LEAVE:
        found.status = NON_FINITE
        return found
    rational = None if true_norm in (INF, NAN) else true_norm
    found.clip_coef = clip_coef(max_norm, found.total_norm, eps, rational)
    found.factor = quotient(found.clip_coef, grad_scale)
    found.outputs = scale_all(tensors, found.factor, policy == ZERO)
    return found


def clip_grads_with_norm(tensors, max_norm, total, eps=1e-6, grad_scale=1.0, policy=LEAVE):
    """gradclip_clip_grads_with_norm."""
    if isinf(total) and policy == LEAVE:
        return Outcome(NON_FINITE, total, 1.0, 1.0)
    coef = clip_coef(max_norm, total, eps)
    factor = quotient(coef, grad_scale)
    return Outcome(OK, total, coef, factor, outputs=scale_all(tensors, factor, policy == ZERO))


def clip_grad_value(tensors, clip_value):
    """gradclip_clip_grad_value: the elements afterwards."""
    outputs = []
    for t in tensors:
        limit = t.fmt.inf if isinf(clip_value) else t.fmt.round(Fraction(clip_value))
        outputs.append([clamped(t.fmt, bits, limit) for bits in t.elements])
    return outputs


def clamped(fmt, bits, limit):
    # Magnitudes of one format are ordered as their bits are.
    magnitude = bits & ~fmt.sign_bit
    if fmt.is_nan(bits) or magnitude <= limit:
        return bits
    return (bits & fmt.sign_bit) | limit


def element_as_float(fmt, bits):
    """For people: the element as a Python float."""
    if fmt.is_nan(bits):
        return nan
    if fmt.is_inf(bits):
        return -inf if fmt.is_negative(bits) else inf
    value = float_of(F64.round(fmt.value(bits)))
    return -value if fmt.is_negative(bits) and value == 0 else value
