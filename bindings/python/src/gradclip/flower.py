"""Clipping of clients' updates in Flower (flwr): drop-ins for its functions of the same names.

    import gradclip.flower
    gradclip.flower.patch()      # before the server, or the client, runs

Flower's own functions let a NaN pass unclipped, divide by zero for an update of zeros, stop at
integer arrays, and leave about every second clipped update a little above the limit. Here

* nothing that is not finite passes: such an update is dropped, and adds nothing;
* no contribution's exact norm exceeds the limit: factors are rounded down, products towards
  zero, and sums towards the server's arrays;
* an update of zeros is an update;
* arrays of integers and booleans are counters: not part of the norm, and handed on as they are.
  Where the server has float16 or float32 there is no counter: a client's integers are weights.

The norm is that of the differences, each rounded to float64 once, and their squares summed
exactly: the same bits on every machine, on the server and for whoever checks it. No copy of the
model is made for it. The functions may be called from several threads, on different lists.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from importlib import import_module
from math import isfinite, nextafter
from typing import Any, Literal, NamedTuple

import numpy
from numpy.typing import NDArray

from . import Accumulator
from ._rebinding import Rebinding, held_in, takes

__all__ = [
    "ClippedUpdate",
    "adaptive_clip_inputs_inplace",
    "clip_inputs_inplace",
    "clip_update",
    "compute_adaptive_clip_model_update",
    "compute_clip_model_update",
    "get_norm",
    "patch",
]

_log = logging.getLogger("gradclip.flower")

# Elements that are worked on at a time, as float64.
_PIECE = 65536
# What rounding each difference and the norm may have lost of the norm, and more.
_ABOVE = 1 + 2.0**-50
_SMALLEST = 2.0**-1022
_LARGE = 2.0**64


class ClippedUpdate(NamedTuple):
    """What clip_update() returns.

    Attributes:
        arrays: base + the clipped update, or the clipped update where there is no base. In
            place of an array that nothing changed stands that array itself.
        norm: of the update before clipping. NaN or infinite if it was dropped.
        factor: what the update was multiplied by: 1 if it was left alone, 0 if it was dropped.
        clipped: whether its norm was above clipping_norm, or it was dropped.
    """

    arrays: list[NDArray[Any]]
    norm: float
    factor: float
    clipped: bool


def clip_update(
    arrays: Sequence[NDArray[Any]],
    clipping_norm: float,
    *,
    base: Sequence[NDArray[Any]] | None = None,
) -> ClippedUpdate:
    """Clips a client's update by its exact norm; nothing given is written.

    Args:
        arrays: NumPy arrays of float16, float32 or float64, of any shape and strides: the
            client's model if there is a base, otherwise its update. Integers and booleans are
            no part of the update, and come back as they are.
        clipping_norm: what the exact norm of the contribution, the returned arrays minus
            base, does not exceed: 0, a normal number, or infinity (measure only).
        base: the server's model, as many arrays of the same shapes. Integers for an array that
            is float16 or float32 there are taken as numbers of the update: no client can call
            a weight a counter. (Averaged counters are float64 at the server.) What comes back
            for an array of floats has its type, whatever the client's was.

    An update with a NaN or an infinity is dropped: base comes back, or zeros. A warning is
    logged that names the array.

    Raises:
        TypeError: an array of another type. ValueError: the number of arrays or a shape
            differs, clipping_norm is outside its range, or base is not finite.

    >>> clip_update([numpy.array([3.0, 4.0])], 2.5).norm
    5.0
    """
    arrays = [numpy.asarray(array) for array in arrays]
    bases: list[NDArray[Any] | None] = [None] * len(arrays)
    if base is not None:
        bases = [numpy.asarray(array) for array in base]
    _check(arrays, bases, clipping_norm)
    arrays = [_without_false_counters(x, y) for x, y in zip(arrays, bases)]
    norm, bad = _measure(arrays, bases)
    if bad is not None:
        _drop(bad, bases)
        return ClippedUpdate(_scaled(arrays, bases, 0.0), norm, 0.0, True)
    if norm * _ABOVE <= clipping_norm:
        kept = [
            x if x.dtype == _type(x, y) else _scaled([x], [y], 1.0)[0]
            for x, y in zip(arrays, bases)
        ]
        return ClippedUpdate(kept, norm, 1.0, False)
    factor = _factor(clipping_norm, norm)
    if norm > 2.0**1000:  # the limit over what float64 may not hold
        scaled, _ = _measure(arrays, bases, _LARGE)
        factor = nextafter(_factor(clipping_norm, scaled) / _LARGE, 0.0)
    return ClippedUpdate(_scaled(arrays, bases, factor), norm, factor, norm > clipping_norm)


# ------------------------------------------------------------ Flower's names --


def get_norm(input_arrays: Sequence[NDArray[Any]]) -> float:
    """The norm of all arrays as one vector; NaN or infinite if an element is."""
    arrays = [numpy.asarray(array) for array in input_arrays]
    _check(arrays, [None] * len(arrays), 0.0)
    return _measure(arrays, [None] * len(arrays))[0]


def clip_inputs_inplace(input_arrays: list[NDArray[Any]], clipping_norm: float) -> None:
    """Clips an update in place. One that is not finite becomes zeros."""
    adaptive_clip_inputs_inplace(input_arrays, clipping_norm)


def adaptive_clip_inputs_inplace(input_arrays: list[NDArray[Any]], clipping_norm: float) -> bool:
    """Clips an update in place, and says whether its norm was above clipping_norm.

    Flower's strategies add the arrays of the list to the server's model next. That addition is
    rounded towards the model, so that the contribution stays within clipping_norm.
    """
    found = clip_update(input_arrays, clipping_norm)
    for i, clipped in enumerate(found.arrays):
        if not isinstance(input_arrays[i], numpy.ndarray):  # what NumPy makes of 0 axes
            input_arrays[i] = clipped
        elif clipped is not input_arrays[i]:
            input_arrays[i][...] = clipped
        if clipped.dtype.kind == "f":
            input_arrays[i] = input_arrays[i].view(_Addend)
    return found.clipped


def compute_clip_model_update(
    param1: list[NDArray[Any]], param2: Sequence[NDArray[Any]], clipping_norm: float
) -> None:
    """Makes param1 the server's model param2 plus the clipped update param1 - param2.

    The arrays of param1 are replaced in the list, and not written.
    """
    compute_adaptive_clip_model_update(param1, param2, clipping_norm)


def compute_adaptive_clip_model_update(
    param1: list[NDArray[Any]], param2: Sequence[NDArray[Any]], clipping_norm: float
) -> bool:
    """The same, and says whether the norm of the update was above clipping_norm."""
    found = clip_update(param1, clipping_norm, base=param2)
    param1[:] = found.arrays
    return found.clipped


_OURS = {
    function.__name__: function
    for function in (
        get_norm,
        clip_inputs_inplace,
        adaptive_clip_inputs_inplace,
        compute_clip_model_update,
        compute_adaptive_clip_model_update,
    )
}
# Where Flower keeps them, by version, and who holds them under a name of their own.
_HOMES = ("flwr.supercore.differential_privacy", "flwr.common.differential_privacy")
_HOLDERS = (
    "flwr.server.strategy",
    "flwr.serverapp.strategy",
    "flwr.clientapp.mod",
    "flwr.client.mod",
)


def patch(norm_bit: Literal["clipped", "unclipped"] = "clipped") -> Rebinding:
    """Puts these functions in the place of Flower's, in its strategies and its client mods.

    Args:
        norm_bit: what the adaptive functions return and a client tells the server. "clipped",
            as in Flower: whether the norm was above the limit. "unclipped": whether it was
            not, which is the bit of the rule's paper (Andrew et al., arXiv 1905.03871). With
            Flower's bit its rule lowers the limit when too many updates are clipped, so that
            yet more are: see docs/federated.md. Server and clients must agree.

    Returns:
        What was done; its undo(), or leaving it as a context manager, takes it back.

    Raises:
        ImportError: there is no flwr, or it has no such functions where this version of
            gradclip knows them, or they take other arguments. Nothing was changed.
    """
    if norm_bit not in ("clipped", "unclipped"):
        raise ValueError(f"norm_bit must be 'clipped' or 'unclipped' (got {norm_bit!r})")
    home = _home()
    for name in _HOLDERS:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(error.name or ""):
                raise
    ours: dict[str, Any] = dict(_OURS)
    if norm_bit == "unclipped":
        for name in ("adaptive_clip_inputs_inplace", "compute_adaptive_clip_model_update"):
            ours[name] = _inverted(_OURS[name])
    theirs = {id(getattr(home, name)): function for name, function in ours.items()}
    return Rebinding(held_in("flwr", theirs), "gradclip.flower.patch")


def _home() -> Any:
    import flwr

    version = getattr(flwr, "__version__", None)
    if version is None:
        from importlib.metadata import version as version_of

        version = version_of("flwr")
    for place in _HOMES:
        try:
            home = import_module(place)
        except ModuleNotFoundError:
            continue
        for name, function in _OURS.items():
            if takes(getattr(home, name, None)) != takes(function):
                raise ImportError(
                    f"flwr {version} is not known to gradclip.flower: {place}.{name} does not "
                    f"take ({', '.join(takes(function))}); nothing was changed"
                )
        return home
    raise ImportError(
        f"flwr {version} is not known to gradclip.flower: it has none of {', '.join(_HOMES)}; "
        "nothing was changed"
    )


def _inverted(function: Any) -> Any:
    def unclipped(*arguments: Any, **named: Any) -> bool:
        return not function(*arguments, **named)

    unclipped.__name__ = function.__name__
    unclipped.__doc__ = f"gradclip.flower.{function.__name__}, whose answer is turned round."
    return unclipped


# ------------------------------------------------------------------- numbers --


class _Addend(numpy.ndarray):
    """An update that, added to an array, is rounded towards that array."""

    def __radd__(self, base: Any) -> NDArray[Any]:
        base = numpy.asarray(base)
        return _towards(base, numpy.asarray(self), numpy.result_type(base, self))


def _check(
    arrays: Sequence[NDArray[Any]], bases: Sequence[NDArray[Any] | None], clipping_norm: float
) -> None:
    limit = float(clipping_norm)
    if not (limit == 0 or limit >= _SMALLEST):
        raise ValueError(f"clipping_norm must be 0 or a number >= 2**-1022 (got {clipping_norm!r})")
    if len(arrays) != len(bases):
        raise ValueError(f"there are {len(arrays)} arrays for {len(bases)} of the model")
    for i, (array, base) in enumerate(zip(arrays, bases)):
        for one in (array,) if base is None else (array, base):
            if one.dtype.kind not in "fiub" or one.dtype.itemsize > 8:
                raise TypeError(
                    f"array {i} is of {one.dtype}: float16, float32 and float64 are clipped, "
                    "integers and booleans left alone"
                )
        if base is None:
            continue
        if array.shape != base.shape:
            raise ValueError(f"array {i} has the shape {array.shape}, the model's {base.shape}")


def _without_false_counters(array: NDArray[Any], base: NDArray[Any] | None) -> NDArray[Any]:
    """The array, as float64 if it is of integers and the server's cannot be a counter."""
    if base is None or array.dtype.kind == "f" or base.dtype.kind != "f" or base.itemsize == 8:
        return array
    return array.astype("f8")


def _type(array: NDArray[Any], base: NDArray[Any] | None) -> Any:
    """Of the sum: the server's; a counter keeps its own."""
    if base is None or array.dtype.kind != "f":
        return array.dtype
    if base.dtype.kind != "f":
        return numpy.result_type(array, base)
    return base.dtype.newbyteorder("=")


def _factor(clipping_norm: float, norm: float) -> float:
    """At most clipping_norm / norm, also where the norm was rounded down."""
    return nextafter(clipping_norm / nextafter(norm * _ABOVE, numpy.inf), 0.0)


def _measure(
    arrays: Sequence[NDArray[Any]], bases: Sequence[NDArray[Any] | None], scale: float = 1.0
) -> tuple[float, int | None]:
    """The norm of the differences / scale; the number of the first array that is not finite."""
    accumulator = Accumulator(exact_f64=True, grad_scale=scale)
    bad = None
    for i, (array, base) in enumerate(zip(arrays, bases)):
        if array.dtype.kind != "f":
            continue
        _add(accumulator, array, base)
        if bad is None and not isfinite(accumulator.finish()):
            # Finite differences may have a norm beyond float64: that is no reason.
            bad = i if accumulator.finish().nonfinite.count else None
    return float(accumulator.finish()), bad


def _add(accumulator: Accumulator, array: NDArray[Any], base: NDArray[Any] | None) -> None:
    """Adds array - base as it lies in memory; in pieces of float64, where it lies otherwise."""
    operands = [array] if base is None else [array, base]
    plain = all(
        one.flags.c_contiguous and one.dtype.kind == "f" and one.dtype.isnative for one in operands
    )
    for pieces in [operands] if plain else _pieces(operands):
        if base is None:
            accumulator.add(numpy.ascontiguousarray(pieces[0]))
        else:
            accumulator.add_difference(*map(numpy.ascontiguousarray, pieces))


def _pieces(operands: list[NDArray[Any]], *written: NDArray[Any]) -> Iterator[Any]:
    """Stretches of the operands as float64, and of what is written in its own type."""
    access: list[list[Any]] = [["readonly"]] * len(operands) + [["writeonly"]] * len(written)
    every = numpy.nditer(
        [*operands, *written],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=access,
        op_dtypes=["=f8"] * len(operands) + [one.dtype for one in written],
        buffersize=_PIECE,
    )
    with every:
        for pieces in every:
            yield pieces if isinstance(pieces, tuple) else (pieces,)


def _scaled(
    arrays: Sequence[NDArray[Any]], bases: Sequence[NDArray[Any] | None], factor: float
) -> list[NDArray[Any]]:
    """base + factor * (array - base), rounded towards base."""
    made = []
    for array, base in zip(arrays, bases):
        if array.dtype.kind != "f":
            made.append(array)
            continue
        out = numpy.empty(array.shape, _type(array, base))
        operands = [array] if base is None else [array, base]
        with numpy.errstate(all="ignore"):
            for *given, target in _pieces(operands, out):
                start = given[1] if base is not None else 0.0
                if factor == 0:
                    target[...] = start
                    continue
                # One step towards zero makes up for the rounding of the product.
                step = numpy.nextafter((given[0] - start) * factor, 0.0)
                _store(target, start, step)
        made.append(out)
    return made


def _towards(base: NDArray[Any], update: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """base + update, rounded towards base."""
    out = numpy.empty(numpy.broadcast_shapes(base.shape, update.shape), dtype)
    with numpy.errstate(all="ignore"):
        for start, step, target in _pieces([base, update], out):
            _store(target, start, step)
    return out


def _store(target: NDArray[Any], start: Any, step: NDArray[Any]) -> None:
    """target = start + step, of its own type, no further from start than step is long.

    All are pieces of float64 but target. The nearest value may lie beyond; the one next to
    it does not. The test of which is needed is on the safe side of its own rounding.
    """
    near = (start + step).astype(target.dtype)
    far = numpy.abs(near.astype("=f8") - start) > numpy.abs(step) * (1 - 2.0**-50)
    begin = numpy.broadcast_to(numpy.asarray(start), near.shape).astype(target.dtype)
    target[...] = numpy.where(far, numpy.nextafter(near, begin), near)


def _drop(number: int, bases: Sequence[NDArray[Any] | None]) -> None:
    for i, base in enumerate(bases):
        if base is not None and not numpy.isfinite(base).all():
            raise ValueError(f"array {i} of the model (base, param2) is not finite")
    _log.warning("an update was dropped: its array %d is not finite", number)
