"""Clipping as a whole: all gradients by one norm."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import byref, c_double
from typing import Any

from .._choosers.chooser import Chooser, checked_chooser
from .._gradients.rows import Rows, Table, Tensors, rows_of
from .._gradients.types import Grads, GradsT, NonFinitePolicy
from .._native import ffi
from .._native.call import RESULT_SIZE, NormT, Options, call, norm_of
from .._native.errors import NonFiniteGradientError
from .._norm import ALL_FINITE, Norm


def clip_grad_norm_(
    grads: Grads,
    max_norm: float | Chooser,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    tensor_norms: bool = False,
    exact_f64: bool = False,
) -> Norm:
    """Scales gradients in place so that their norm, taken together, is at most max_norm.

    The formula is that of torch.nn.utils.clip_grad_norm_: each element is
    multiplied by clip_coef = min(1, max_norm / (total_norm + eps)). Nothing is
    written where nothing needs clipping.

    Args:
        grads: an array or any nesting of lists, tuples, dictionaries and other
            iterables of arrays: writable arrays in CPU memory with the buffer
            protocol (NumPy, array.array, memoryview, ctypes) or DLPack, of
            float32, float64, float16 or bfloat16, dense in any order of their
            axes. None entries are passed over. Two that are the same memory
            count, and are scaled, once; two that overlap otherwise are an error.
            Or a Plan.
        max_norm: the largest norm allowed, >= 0. 0 gives zeros; infinity only
            measures. Or a chooser (gradclip.AutoClip() and others), which takes the norm
            in, and sets it: what it decided is its .last, with .skip.
        norm_type: the order p of the norm, any number but NaN: 2 is usual,
            math.inf (or "inf") takes the largest magnitude.
        error_if_nonfinite: raise NonFiniteGradientError, before anything is
            written, if an element is NaN or infinite.
        eps: added to the norm in clip_coef, >= 0. 1e-6 is torch's; 0 is that of
            optax, TensorFlow and the textbooks.
        nonfinite: what to do when elements are NaN or infinite. "leave": write
            nothing, and report them. "propagate": what torch does, multiply by
            the coefficient that follows from the non-finite norm. "zero": set
            them to 0 and clip the rest by the norm of the rest.
        grad_scale: what the gradients are still multiplied by (loss scaling),
            > 2**-1024. The norm is that of grads / grad_scale, and the gradients are
            divided by it in the same pass.
        names: names of the gradients for reports and errors, one each (one for
            None too); by default the keys of dictionaries.
        tensor_norms: also return the norm of each gradient.
        exact_f64: sum float64 gradients exactly too, for norm_type 1 and 2 (those of
            the other dtypes always are): the norm is correctly rounded, and its
            bits do not depend on the order. Without it the norm of float64
            gradients is within one unit in the last place.

    Returns:
        The norm of all gradients before clipping, in float64: a float with the
        attributes clip_coef, clipped, factor, nonfinite and tensor_norms.

    Raises:
        TypeError: something is no array, has the wrong dtype, or is a torch
            parameter (see gradclip.torch).
        ValueError: an array is read-only or not dense, arrays overlap, or an
            argument is outside its range.
        NonFiniteGradientError: see error_if_nonfinite.
        UnsupportedError: the library has no code for a dtype or device.

    >>> import array
    >>> grad = array.array("d", [3.0, 4.0])
    >>> norm = clip_grad_norm_([grad], max_norm=1.0, eps=0)
    >>> norm, norm.clip_coef, grad
    (5.0, 0.2, array('d', [0.6000000000000001, 0.8]))
    """
    options = Options(
        norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64, tensor_norms
    )
    rows = rows_of(grads, names, writable=True)
    if hasattr(max_norm, "feed"):
        return by_chooser(max_norm, rows, options)
    return run(ffi.gradclip_clip_grad_norm, rows, options, max_norm, options.norm_type)


def clip_grad_norm(
    grads: GradsT,
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    tensor_norms: bool = False,
    exact_f64: bool = False,
) -> tuple[GradsT, Norm]:
    """Like clip_grad_norm_, but leaves the gradients alone and returns clipped new arrays.

    The arguments are those of clip_grad_norm_; gradients may be read-only.

    Returns:
        The new arrays, in containers of the kinds given (an iterator becomes a
        list; one that cannot be made again is a TypeError), each of the kind, shape, dtype and memory order of its gradient
        (a memoryview for other objects with the buffer protocol); and the norm.
        Gradients that are left alone for being non-finite are copied.

    >>> import array
    >>> grad = array.array("d", [3.0, 4.0])
    >>> clip_grad_norm([grad], max_norm=10.0)
    ([array('d', [3.0, 4.0])], 5.0)
    """
    options = Options(
        norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64, tensor_norms
    )
    return clipped_copies(rows_of(grads, names, writable=False), max_norm, options)


def defer_clip(
    grads: Grads,
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    tensor_norms: bool = False,
    exact_f64: bool = False,
) -> Norm:
    """Everything of clip_grad_norm_ but the write: for an optimizer that multiplies by itself.

    The arguments are those of clip_grad_norm_; gradients may be read-only. Multiply
    every gradient by .factor of the result where it is used anyway, for one pass
    over the gradients less. If .nonfinite is true, skip the step: nothing was replaced,
    under nonfinite="zero" either, and whatever a NaN is multiplied by, the optimizer
    would read it. (Under "zero" norm and factor are those of the finite elements;
    clip_grads_with_norm_ replaces the others.)

    >>> import array
    >>> grad = array.array("d", [3.0, 4.0])
    >>> norm = defer_clip([grad], max_norm=1.0, eps=0)
    >>> norm, norm.clip_coef, norm.factor, grad
    (5.0, 0.2, 0.2, array('d', [3.0, 4.0]))
    """
    options = Options(
        norm_type, error_if_nonfinite, eps, nonfinite, grad_scale, exact_f64, tensor_norms
    )
    rows = rows_of(grads, names, writable=False)
    return run(ffi.gradclip_defer_clip, rows, options, max_norm, options.norm_type)


def get_total_norm(
    grads: Grads,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    *,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
    tensor_norms: bool = False,
    exact_f64: bool = False,
) -> Norm:
    """The norm of all gradients, taken together; nothing is written.

    The arguments are those of clip_grad_norm_; gradients may be read-only.
    nonfinite="zero" leaves NaN and infinities out of the norm.

    >>> import array
    >>> get_total_norm({"w": array.array("f", [3.0]), "b": array.array("d", [-4.0])})
    5.0
    """
    options = Options(
        norm_type, error_if_nonfinite, 1e-6, nonfinite, grad_scale, exact_f64, tensor_norms
    )
    return measure(rows_of(grads, names, writable=False), options)


def clip_grads_with_norm_(
    grads: Grads,
    max_norm: float,
    total_norm: float,
    *,
    eps: float = 1e-6,
    nonfinite: NonFinitePolicy = "leave",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> Norm:
    """Scales gradients in place by min(1, max_norm / (total_norm + eps)), for a norm known already.

    The second half of clip_grad_norm_, for a total_norm (>= 0, of grads /
    grad_scale) that other processes had a part in, say. The gradients are not
    looked at: of the policies only what they do about an infinite total_norm
    counts ("leave" writes nothing), and that "zero" sets NaN and infinities to 0.

    Returns:
        total_norm, as the same kind of float as clip_grad_norm_; nothing is
        reported as non-finite.

    >>> import array
    >>> grad = array.array("d", [3.0, 4.0])
    >>> clip_grads_with_norm_([grad], max_norm=1.0, total_norm=10.0, eps=0).clip_coef, grad
    (0.1, array('d', [0.30000000000000004, 0.4]))
    """
    options = Options(eps=eps, nonfinite=nonfinite, grad_scale=grad_scale)
    rows = rows_of(grads, names, writable=True)
    return run(ffi.gradclip_clip_grads_with_norm, rows, options, max_norm, total_norm)


def clip_grad_value_(
    grads: Grads, clip_value: float, *, names: Iterable[str] | None = None
) -> None:
    """Clamps every element to [-clip_value, clip_value], in place.

    NaN stays NaN; infinities become clip_value or -clip_value. clip_value is
    >= 0 and is rounded to each gradient's dtype. grads and names are those of
    clip_grad_norm_.

    >>> import array
    >>> grad = array.array("f", [-3.0, 0.25])
    >>> clip_grad_value_([grad], 0.5)
    >>> grad
    array('f', [-0.5, 0.25])
    """
    clip_value_of(rows_of(grads, names, writable=True), clip_value)


# ------------------------------------------------------------------- on rows --


def run(
    function: Any, rows: Rows, options: Options, *arguments: Any, outputs: Table | None = None
) -> Norm:
    """Calls a function of the library that fills a result, for rows and with options.

    arguments are what that function has between the number of rows and the options; outputs
    what it has behind the rows, if it writes elsewhere.
    """
    table, count = rows.table, rows.count
    result = ffi.gradclip_result(RESULT_SIZE)
    norms = None
    if options.tensor_norms:
        norms = (c_double * count)()
        result.tensor_norms = norms
    if outputs is None:  # without a tuple more, for speed
        call(function, table.first, count, *arguments, options.native, result)
    else:
        call(function, table.first, outputs.first, count, *arguments, options.native, result)
    if norms is None and not result.nonfinite_count:  # nearly always
        return norm_of(result, ALL_FINITE)
    return found(rows, options, result, norms)


def found(
    rows: Rows,
    options: Options,
    result: ffi.gradclip_result,
    norms: Any = None,
    kind: type[NormT] = Norm,  # type: ignore[assignment]
    index: tuple[int, ...] | None = None,
) -> NormT:
    """What a call found: a norm, or an error if that is what is not finite is to be.

    norms are those of the rows, if they were asked for; index: see Rows.nonfinite.
    """
    nonfinite = ALL_FINITE
    if result.nonfinite_count:
        nonfinite = rows.nonfinite(result, index)
        if options.error_if_nonfinite:
            raise NonFiniteGradientError(nonfinite)
    return norm_of(result, nonfinite, None if norms is None else rows.at_places(norms, 0.0), kind)


def measure(rows: Rows, options: Options) -> Norm:
    """The norm of rows; nothing is written."""
    return run(ffi.gradclip_get_total_norm, rows, options, options.norm_type)


def clipped_copies(rows: Tensors, max_norm: float, options: Options) -> tuple[Any, Norm]:
    """New arrays for rows, and the norm."""
    from .._gradients.outputs import Outputs

    outputs = Outputs(rows)
    function = ffi.gradclip_clip_grad_norm_to
    norm = run(function, rows, options, max_norm, options.norm_type, outputs=outputs.table)
    if norm.nonfinite and options.nonfinite == "leave":
        outputs.copy_sources()
    return outputs.finish(), norm


def by_chooser(chooser: Any, rows: Rows, options: Options) -> Norm:
    """Clips rows as a chooser of this package decides; its .last is the decision."""
    chooser = checked_chooser(chooser)
    if options.error_if_nonfinite:
        measure(rows, options.but(nonfinite="leave"))
    norm: Norm = chooser.clip_rows(rows, options).norm
    return norm


def clip_value_of(rows: Rows, clip_value: float) -> None:
    call(ffi.gradclip_clip_grad_value, rows.table.first, rows.count, clip_value, None)


def clip_coef(max_norm: float, total_norm: float, eps: float) -> float:
    coefficient = c_double()
    call(ffi.gradclip_clip_coef, max_norm, total_norm, Options(eps=eps).native, byref(coefficient))
    return coefficient.value


def scale(rows: Rows, factor: float, row: int | None = None) -> None:
    """Multiplies all gradients by a factor, or that of one row."""
    first, count = rows.table.first, rows.count
    if row is not None:
        first, count = ffi.gradclip_tensor.from_buffer(rows.table.words, 32 * row), 1
    call(ffi.gradclip_scale, first, count, factor, None)
