"""inspect: which gradient is large, which is NaN."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from ctypes import sizeof
from math import fsum, isinf

from .._gradients.layout import flat_index
from .._gradients.rows import Rows, rows_of
from .._gradients.types import Grads
from .._native import ffi
from .._native.call import Options, call, new_result
from .._norm import ALL_FINITE
from .report import Inspection, Report


def inspect(
    grads: Grads,
    names: Iterable[str] | None = None,
    norm_type: float | str = 2.0,
    grad_scale: float = 1.0,
) -> Inspection:
    """Looks at every gradient: who is large, who is zero, who is NaN. Nothing is written.

    print(inspect(grads)) says first what is wrong, and then shows a table, the
    largest share of the norm first.

    Args:
        grads: as for clip_grad_norm_; gradients may be read-only.
        names: names of the gradients, one each (one for None too); by default the
            keys of dictionaries.
        norm_type: the order of the norms.
        grad_scale: what the gradients are still multiplied by: norms, magnitudes
            and means are those of grads / grad_scale.

    Returns:
        A sequence with one Report a gradient, in the order given.

    >>> import array
    >>> reports = inspect({"w": array.array("f", [3.0, -4.0]), "b": array.array("f", [0.0])})
    >>> reports[0].norm, reports[0].max_abs, reports[0].share
    (5.0, 4.0, 1.0)
    >>> print(reports)
    'b' (gradient 1) is all zero
    total_norm 5, norm_type 2, 2 gradients, 3 elements
    gradient  shape    dtype  share  norm  max_abs  mean  zeros
    w          (2,)  float32   100%     5        4  -0.5      0
    b          (1,)  float32     0%     0        0     0      1
    """
    return inspection_of(rows_of(grads, names, writable=False), norm_type, grad_scale)


def inspection_of(rows: Rows, norm_type: float | str, grad_scale: float) -> Inspection:
    options = Options(norm_type, grad_scale=grad_scale)
    found, result = _look(rows, options)
    norms = [one.norm for one in found]
    if max(norms, default=0.0) > sys.float_info.max:
        # Finite gradients whose norm no float64 holds: smaller units have the same shares.
        smaller = min(grad_scale * 2.0**600, sys.float_info.max)
        norms = [one.norm for one in _look(rows, options.but(grad_scale=smaller))[0]]
    shares = _shares(norms, [one.length > 0 for one in found], options.norm_type)
    reports = [_no_gradient(rows, place) for place in range(rows.places)]
    for i in range(len(rows.arrays)):
        row = rows.row(i)
        reports[rows.place(i)] = _report(rows, i, found[row], shares[row])
    nonfinite = rows.nonfinite(result) if result.nonfinite_count else ALL_FINITE
    return Inspection(reports, result.total_norm, options.norm_type, nonfinite)


def _look(rows: Rows, options: Options) -> tuple[list[ffi.gradclip_report], ffi.gradclip_result]:
    reports = (ffi.gradclip_report * rows.count)()
    result = new_result()
    call(
        ffi.gradclip_inspect,
        rows.table.first,
        rows.count,
        options.norm_type,
        options.native,
        reports,
        sizeof(ffi.gradclip_report),
        result,
    )
    return list(reports), result


def _report(rows: Rows, i: int, found: ffi.gradclip_report, share: float) -> Report:
    place, shape = rows.place(i), rows.shape(i)
    index = None
    if found.first_nonfinite != ffi.GRADCLIP_NONE:
        index = rows.index_of(i, found.first_nonfinite)
    return Report(
        tensor=place,
        name=None if rows.names is None else rows.names[place],
        shape=shape,
        dtype=rows.dtype(i),
        length=found.length,
        norm=found.norm,
        share=share,
        max_abs=found.max_abs,
        mean=found.mean,
        nan_count=found.nan_count,
        positive_infinity_count=found.positive_infinity_count,
        negative_infinity_count=found.negative_infinity_count,
        zero_count=found.zero_count,
        subnormal_count=found.subnormal_count,
        first_nonfinite=None if index is None else flat_index(index, shape),
        index=index,
    )


def _no_gradient(rows: Rows, place: int) -> Report:
    name = None if rows.names is None else rows.names[place]
    return Report(place, name, None, None, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, None, None)


def _shares(norms: list[float], has_elements: list[bool], norm_type: float) -> list[float]:
    """What each norm contributes: n^p / sum n^p, and for an infinite p how near it comes
    to the norm that decides."""
    counted = [norm for norm, counts in zip(norms, has_elements) if counts]
    if norm_type > 0:
        largest = max(counted, default=0.0)
        parts = [norm / largest if largest else 0.0 for norm in norms]
    elif norm_type < 0:
        smallest = min(counted, default=0.0)
        parts = [
            (smallest / norm if norm else 1.0) if counts else 0.0
            for norm, counts in zip(norms, has_elements)
        ]
    else:
        parts = [1.0 if norm else 0.0 for norm in norms]
    if isinf(norm_type):
        return parts
    if norm_type:
        parts = [part ** abs(norm_type) for part in parts]
    total = fsum(parts)
    return [part / total if total else 0.0 for part in parts]
