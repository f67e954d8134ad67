"""Clipping in parts: each gradient by its own norm, or each group by the norm of the group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ctypes import c_double, c_uint32
from typing import Any

from .._gradients.rows import Rows, Tensors, rows_of
from .._gradients.tree import flatten
from .._gradients.types import Grads, Limits, NonFinitePolicy
from .._native import ffi
from .._native.call import Options, call, doubles, new_result, real
from .._norm import Norm
from .whole import found


def clip_by_norm_(
    grads: Grads,
    max_norm: float | Sequence[float] | Limits,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 0.0,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> PartsNorm:
    """Scales each gradient in place so that its own norm is at most max_norm.

    g * min(1, max_norm / (||g|| + eps)) for each gradient g: tf.clip_by_norm, Keras's
    clipnorm, burn's clipping. The norms are as exact as those of clip_grad_norm_.

    Args:
        grads: as for clip_grad_norm_.
        max_norm: the largest norm allowed, >= 0; or one for each gradient: a sequence (None
            entries counted too), or a dictionary by the gradients' names.
        eps: added to the norm, >= 0. 0 is TensorFlow's and Keras's.
        norm_type, error_if_nonfinite, nonfinite, grad_scale, names, exact_f64: as for
            clip_grad_norm_. With nonfinite="leave" one element that is not finite
            leaves every gradient alone.

    Returns:
        The norm of all gradients together, a float, with tensor_norms, clip_coefs
        and the other attributes of `PartsNorm`.

    Raises:
        As clip_grad_norm_ does.

    >>> import array
    >>> a, b = array.array("d", [3.0, 4.0]), array.array("d", [0.3, 0.4])
    >>> norm = clip_by_norm_([a, b], max_norm=1.0)
    >>> a, b, norm.clip_coefs
    (array('d', [0.6000000000000001, 0.8]), array('d', [0.3, 0.4]), (0.2, 1.0))
    """
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64)
    return by_gradient(rows_of(grads, names, writable=True), max_norm, options)


def clip_by_block_rms_(
    grads: Grads,
    threshold: float = 1.0,
    error_if_nonfinite: bool = False,
    *,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> PartsNorm:
    """Scales each gradient in place so that its root mean square is at most threshold.

    g / max(1, rms(g) / threshold), rms(g) = ||g||_2 / sqrt(number of elements), for each
    gradient g: optax.clip_by_block_rms, and, of updates, the d of Adafactor (arXiv
    1804.04235, section 6).

    Args:
        threshold: the largest root mean square allowed, >= 0; 1 is Adafactor's.
        The others: as for clip_by_norm_.

    Returns:
        As clip_by_norm_; tensor_norms are norms, not root mean squares.

    Raises:
        InvalidArgumentError: a threshold that is negative or NaN, and as clip_by_norm_ does.

    >>> import array
    >>> grad = array.array("d", [2.0, -2.0, 2.0, 2.0])
    >>> clip_by_block_rms_([grad], threshold=1.0).clip_coefs, grad
    ((0.5,), array('d', [1.0, -1.0, 1.0, 1.0]))
    """
    options = Options(2.0, error_if_nonfinite, 0.0, nonfinite, grad_scale, exact_f64)
    return by_rms(rows_of(grads, names, writable=True), threshold, options)


def clip_by_group_(
    groups: Mapping[str, Grads],
    max_norm: float | Mapping[str, float],
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 0.0,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    exact_f64: bool = False,
) -> PartsNorm:
    """Scales each group of gradients in place so that its norm is at most its max_norm.

    What Megatron does for parts of a model, and optax with clip_by_global_norm inside
    masked or multi_transform.

    Args:
        groups: a dictionary from the names of groups to gradients, each as for
            clip_grad_norm_. No gradient may be in two groups.
        max_norm: the largest norm allowed, >= 0, for all groups or for each by name;
            infinity only measures.
        The others: as for clip_by_norm_.

    Returns:
        The norm of all gradients together, a float, with group_norms and group_coefs,
        dictionaries by name, and the other attributes of `PartsNorm`.

    Raises:
        KeyError: max_norm has no entry for a group, or one for a group that is none.
        ValueError: a gradient is in two groups, and as clip_grad_norm_ does.

    >>> import array
    >>> encoder, head = array.array("d", [3.0, 4.0]), array.array("d", [8.0])
    >>> norm = clip_by_group_({"encoder": encoder, "head": head}, {"encoder": 1.0, "head": 10.0})
    >>> norm.group_norms, encoder, head
    ({'encoder': 5.0, 'head': 8.0}, array('d', [0.6000000000000001, 0.8]), array('d', [8.0]))
    """
    leaves: list[Any] = []
    names: list[str] = []
    of_leaf: list[int] = []
    for place, (name, grads) in enumerate(groups.items()):
        flat = flatten(grads)
        leaves += flat.leaves
        names += [f"{name}.{path}" for path in flat.names or map(str, range(len(flat.leaves)))]
        of_leaf += [place] * len(flat.leaves)
    options = Options(norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64)
    return by_group(Tensors(leaves, names, writable=True), list(groups), of_leaf, max_norm, options)


# ------------------------------------------------------------------------- parts --


def limits_of_groups(groups: list[str], max_norm: float | Mapping[str, float]) -> list[float]:
    if not isinstance(max_norm, Mapping):
        return [max_norm] * len(groups)
    unknown = [name for name in max_norm if name not in groups]
    if unknown:
        raise KeyError(f"max_norm names a group that is not there: {unknown[0]!r}")
    missing = [name for name in groups if name not in max_norm]
    if missing:
        raise KeyError(f"max_norm has no entry for the group {missing[0]!r}")
    return [max_norm[name] for name in groups]


def by_name(what: str, given: Mapping[str, Any], names: list[str] | None) -> list[Any]:
    """The values of a dictionary, nested or with paths for keys, in the order of names."""
    if names is None:
        raise ValueError(
            f"{what} is by name, and the gradients have no names: pass a dictionary, or names"
        )
    flat = flatten(given)
    values = dict(zip(flat.names or (), flat.leaves))
    for name in names:
        if name not in values:
            raise ValueError(f"{what} has none for the gradient {name!r}")
    for name in values:
        if name not in names:
            raise ValueError(f"{what} names a gradient that is not there: {name!r}")
    return [values[name] for name in names]


def limits_of_rows(
    rows: Rows, max_norm: float | Sequence[float] | Limits
) -> Sequence[float]:
    """One max_norm for all rows, or one each."""
    if isinstance(max_norm, Mapping):
        max_norm = by_name("max_norm", max_norm, rows.names)
    if not isinstance(max_norm, Sequence):
        return [max_norm]
    if len(max_norm) != rows.places:
        raise ValueError(
            f"max_norm must be a number or have one a {rows.noun}: {rows.places} "
            f"(got {len(max_norm)})"
        )
    return rows.of_rows(max_norm, "{0} is given twice, with another max_norm") or [0.0]


class PartsNorm(Norm):
    """A total norm, before clipping, and what each part was clipped by.

    The attributes of `Norm`, and:

    Attributes:
        clip_coef: the smallest coefficient.
        factor: what belongs to it.
        tensor_norms: the norm of each gradient (None where units are measured).
        clip_coefs: a tuple with what each gradient was clipped by, in the order given: its
            coefficient (that of its group for clip_by_group_), 1 for None; for
            adaptive_clip_grad_ the coefficients of its units, an array of float64 (None
            for what was left out).
        group_norms, group_coefs: of each group, by name, for clip_by_group_; else None.
        clipped_count: how many gradients, groups or units were scaled down.
    """

    __slots__ = ("clip_coefs", "clipped_count", "group_coefs", "group_norms")

    clip_coefs: tuple[Any, ...]
    clipped_count: int
    group_coefs: dict[str, float] | None
    group_norms: dict[str, float] | None


# ------------------------------------------------------------------- on rows --


def by_gradient(
    rows: Rows, max_norm: float | Sequence[float] | Mapping[str, Any], options: Options
) -> PartsNorm:
    limits = doubles("max_norm", limits_of_rows(rows, max_norm))
    return _clipped(
        rows, options, ffi.gradclip_clip_by_norm, limits, len(limits), options.norm_type
    )


def by_rms(rows: Rows, threshold: float, options: Options) -> PartsNorm:
    return _clipped(rows, options, ffi.gradclip_clip_by_block_rms, real("max_norm", threshold))


def by_group(
    rows: Rows,
    groups: list[str],
    of_place: Sequence[int],
    max_norm: float | Mapping[str, float],
    options: Options,
) -> PartsNorm:
    """of_place: the number of the group of each place."""
    of_row = rows.of_rows(of_place, "{0} is in two groups")
    limits = doubles("max_norm", limits_of_groups(groups, max_norm))
    coefs, group_norms = (c_double * len(limits))(), (c_double * len(limits))()
    result, norms = _with_norms(rows)
    call(
        ffi.gradclip_clip_by_group,
        rows.table.first,
        rows.count,
        (c_uint32 * rows.count)(*of_row),
        limits,
        len(limits),
        options.norm_type,
        options.native,
        result,
        group_norms,
        coefs,
    )
    norm = parts_norm(rows, result, options, norms)
    norm.clip_coefs = rows.at_places([coefs[group] for group in of_row], 1.0)
    norm.clipped_count = sum(coef != 1.0 for coef in coefs)
    norm.group_coefs = dict(zip(groups, coefs))
    norm.group_norms = dict(zip(groups, group_norms))
    return norm


def _clipped(rows: Rows, options: Options, function: Any, *limits: Any) -> PartsNorm:
    result, norms = _with_norms(rows)
    coefs = (c_double * rows.count)()
    call(function, rows.table.first, rows.count, *limits, options.native, result, coefs)
    norm = parts_norm(rows, result, options, norms)
    norm.clip_coefs = rows.at_places(list(coefs), 1.0)
    norm.clipped_count = sum(coef != 1.0 for coef in coefs)
    return norm


def parts_norm(
    rows: Rows, result: Any, options: Options, norms: Any, index: tuple[int, ...] | None = None
) -> PartsNorm:
    """What every call of this kind returns, without what belongs to its parts."""
    norm = found(rows, options, result, norms, PartsNorm, index)
    norm.clip_coefs = ()
    norm.clipped_count = 0
    norm.group_coefs = norm.group_norms = None
    if options.writes(norm):
        rows.written()
    return norm


def _with_norms(rows: Rows) -> tuple[ffi.gradclip_result, Any]:
    result = new_result()
    norms = (c_double * rows.count)()
    if rows.count:
        result.tensor_norms = norms
    return result, norms
