"""inspect: which gradient is large, which is NaN."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from ctypes import sizeof
from math import fsum, isinf
from typing import Any

from .._gradients.array import DTYPE_NAMES
from .._gradients.layout import flat_index
from .._gradients.rows import Tensors
from .._gradients.types import Grads
from .._native import ffi
from .._native.call import call, new_result, options_of
from .._norm import ALL_FINITE
from .report import Inspection, Report


def inspect(
    grads: Grads,
    names: Iterable[str] | None = None,
    norm_type: float = 2.0,
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
    return inspection_of(Tensors(grads, names, writable=False), norm_type, grad_scale)


def inspection_of(tensors: Tensors, norm_type: float, grad_scale: float) -> Inspection:
    rows, result = _look(tensors, norm_type, grad_scale)
    norms = [row.norm for row in rows]
    if max(norms, default=0.0) > sys.float_info.max:
        # Finite gradients whose norm no float64 holds: smaller units have the same shares.
        smaller = min(grad_scale * 2.0**600, sys.float_info.max)
        norms = [row.norm for row in _look(tensors, norm_type, smaller)[0]]
    shares = _shares(norms, [row.length > 0 for row in rows], norm_type)
    reports = [_no_gradient(tensors, leaf) for leaf in range(len(tensors.leaves))]
    for i in range(len(tensors.arrays)):
        row = i if tensors.row_of is None else tensors.row_of[i]
        reports[tensors.leaf(i)] = _report(tensors, i, rows[row], shares[row])
    nonfinite = tensors.nonfinite(result) if result.nonfinite_count else ALL_FINITE
    return Inspection(reports, result.total_norm, norm_type, nonfinite)


def _look(
    tensors: Tensors, norm_type: float, grad_scale: float
) -> tuple[list[ffi.gradclip_report], ffi.gradclip_result]:
    rows = (ffi.gradclip_report * tensors.count)()
    result = new_result()
    call(
        ffi.gradclip_inspect,
        tensors.table.first,
        tensors.count,
        norm_type,
        options_of(1e-6, "leave", grad_scale),
        rows,
        sizeof(ffi.gradclip_report),
        result,
    )
    return list(rows), result


def _report(tensors: Tensors, i: int, row: ffi.gradclip_report, share: float) -> Report:
    leaf, order = tensors.leaf(i), tensors.layout(i)
    found = row.first_nonfinite != ffi.GRADCLIP_NONE
    index = order.index_of(row.first_nonfinite) if found else None
    return Report(
        tensor=leaf,
        name=None if tensors.names is None else tensors.names[leaf],
        shape=order.shape,
        dtype=DTYPE_NAMES[tensors.memory.dtypes[i]],
        length=row.length,
        norm=row.norm,
        share=share,
        max_abs=row.max_abs,
        mean=row.mean,
        nan_count=row.nan_count,
        positive_infinity_count=row.positive_infinity_count,
        negative_infinity_count=row.negative_infinity_count,
        zero_count=row.zero_count,
        subnormal_count=row.subnormal_count,
        first_nonfinite=None if index is None else flat_index(index, order.shape),
        index=index,
    )


def _no_gradient(tensors: Tensors, leaf: int) -> Any:
    name = None if tensors.names is None else tensors.names[leaf]
    return Report(leaf, name, None, None, 0, 0.0, 0.0, 0.0, 0.0, 0, 0, 0, 0, 0, None, None)


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
