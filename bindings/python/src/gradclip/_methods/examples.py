"""Clipping by example, for differentially private training (DP-SGD)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ctypes import byref, c_double, sizeof
from math import isfinite
from typing import Any, NamedTuple

from .._gradients.rows import Table, rows_of
from .._gradients.tree import rebuild
from .._gradients.types import Grads, Limits
from .._native import ffi
from .._native.call import Options, call, doubles, number_of
from .parts import limits_of_rows


class PerExample(NamedTuple):
    """The clipped sum over examples, and what clipping found.

    Attributes:
        sums: the sum over the examples for each gradient, in containers like those
            given, of the gradient's shape without its first axis; None entries stay None.
        norms: the norm of each example, before clipping: NaN or infinite for those that
            were dropped. Per layer: for each example a tuple of one a gradient.
        factors: what each example was multiplied by, 0 for those that were dropped; per
            layer as norms.
        clipped: how many examples had a norm above max_norm (the dropped not counted).
        nonfinite: the indices of the examples that were dropped for a NaN or an infinity.
        sensitivity: what the exact norm of no example's contribution exceeds.
        rounding_bound: what the norm of (sums - the exact sum of contributions) does not
            exceed. An example more or less changes the sums by at most
            sensitivity + 2 * rounding_bound.
    """

    sums: Any
    norms: tuple[Any, ...]
    factors: tuple[Any, ...]
    clipped: int
    nonfinite: tuple[int, ...]
    sensitivity: float
    rounding_bound: float

    def __repr__(self) -> str:
        return (
            f"<gradclip.PerExample of {len(self.norms)} examples: {self.clipped} clipped, "
            f"{len(self.nonfinite)} dropped>"
        )

    @property
    def unclipped(self) -> int:
        """How many examples were not clipped, for adapt_max_norm (add noise first)."""
        return len(self.norms) - self.clipped - len(self.nonfinite)


def clip_per_example(
    grads: Grads,
    max_norm: float | Sequence[float] | Limits,
    *,
    rule: str = "clip",
    eps: float = 0.0,
    grad_scale: float = 1.0,
    dtype: str | None = None,
    names: Iterable[str] | None = None,
    exact_f64: bool = False,
) -> PerExample:
    """Clips the gradient of every example by its own norm, and adds the clipped gradients up.

    What DP-SGD needs before noise is added (Abadi et al., arXiv 1607.00133), in two passes
    over the gradients, without a clipped copy. They are not written. The norm of an example
    is over all gradients, and exact. **The exact norm of each contribution is at most
    max_norm**: factors are rounded down and products towards zero. The sums are accumulated
    in float64. No noise is added, and no privacy is accounted for: see docs/methods.md.

    Args:
        grads: as for clip_grad_norm_, each of shape [examples, ...] and in C order; they
            may be read-only. All have the same number of examples; of 0, which Poisson sampling may draw,
            the sums are zeros.
        max_norm: the largest norm of an example's contribution, 0 or a finite normal
            number. Or one for each gradient, as for clip_by_norm_: per-layer clipping,
            each gradient of an example by its own norm.
        rule: how the coefficient follows from a norm n. "clip": min(1, max_norm / (n +
            eps)). "automatic": max_norm / (n + eps), also where that is above 1 (Bu et
            al., arXiv 2206.07136; eps=0.01 is its AUTO-S, eps=0 its AUTO-V). "threshold":
            1 if n <= max_norm, otherwise 0.
        eps: >= 0; 0 as optax and jax-privacy, 1e-6 as Opacus.
        grad_scale: what the gradients are still multiplied by, > 2**-1024: norms and
            sums are those of grads / grad_scale.
        dtype: of the sums, "float32" or "float64"; by default float64 if a gradient is,
            otherwise float32.
        names: names of the gradients for errors; by default the keys of dictionaries.
        exact_f64: norms of float64 gradients summed exactly too.

    An example with a NaN or an infinity in any gradient is dropped: it adds nothing, and
    .nonfinite has its index.

    Returns:
        A `PerExample`; its sums are NumPy arrays.

    Raises:
        ValueError: shapes do not match, there is no example, an argument is outside its
            range. TypeError: as clip_grad_norm_ does.
        ImportError: there is no NumPy.

    >>> import numpy
    >>> per_example = numpy.array([[3.0, 4.0], [0.3, 0.4], [numpy.nan, 0.0]])
    >>> found = clip_per_example([per_example], max_norm=1.0)
    >>> found.clipped, found.nonfinite, found.sums[0].round(12).tolist()
    (1, (2,), [0.9, 1.2])
    """
    import numpy

    tensors = rows_of(grads, names, writable=False)
    orders = [tensors.order(i) for i in range(len(tensors.arrays))]
    examples = count_examples((tensors.label(i), order.shape) for i, order in enumerate(orders))
    for i, order in enumerate(orders):
        if not order.is_c_order:
            raise ValueError(
                f"{tensors.label(i)} is not in C order, example after example: pass "
                "numpy.ascontiguousarray(...) of it"
            )
    if dtype not in (None, "float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64' (got {dtype!r})")
    wide = ffi.GRADCLIP_F64 in tensors.memory.dtypes
    kind = dtype or ("float64" if wide else "float32")
    sums: list[Any] = [
        numpy.empty(orders[tensors.first_of(row)].shape[1:], kind) for row in range(tensors.count)
    ]
    table = Table.of(
        [s.__array_interface__["data"][0] for s in sums],
        [s.size for s in sums],
        [ffi.GRADCLIP_F64 if kind == "float64" else ffi.GRADCLIP_F32] * len(sums),
    )
    leaves = rebuild(tensors.tree, iter(tensors.at_places(sums, None)))
    limits = limits_of_rows(tensors, max_norm)
    options = Options(eps=eps, grad_scale=grad_scale, exact_f64=exact_f64)
    return by_example(tensors.table, table, leaves, examples, limits, rule, options)


def count_examples(shapes: Iterable[tuple[str, Sequence[int]]]) -> int:
    """The extent of the first axis, which all must have."""
    examples = None
    for label, shape in shapes:
        if not shape:
            raise ValueError(f"{label} has no axis of examples: its shape is ()")
        if examples is None:
            examples, reference = shape[0], label
        elif shape[0] != examples:
            raise ValueError(
                f"{label} must have as many examples as {reference}: {examples} (got {shape[0]})"
            )
    if examples is None:
        raise ValueError(
            "grads must have at least one gradient, which tells how many examples there are"
        )
    return examples


# -------------------------------------------------------------- on rows --


_RULES = {
    "clip": ffi.GRADCLIP_EXAMPLE_CLIP,
    "automatic": ffi.GRADCLIP_EXAMPLE_AUTOMATIC,
    "threshold": ffi.GRADCLIP_EXAMPLE_THRESHOLD,
}


def by_example(
    grads: Table,
    sums: Table,
    summed: Any,
    examples: int,
    max_norms: Sequence[float],
    rule: str,
    options: Options,
) -> PerExample:
    """summed: the arrays whose memory is in sums, as they are handed out."""
    limits = doubles("max_norm", max_norms)
    layers = len(limits)
    norms, factors = (c_double * (examples * layers))(), (c_double * (examples * layers))()
    result = ffi.gradclip_per_example_result(sizeof(ffi.gradclip_per_example_result))
    call(
        ffi.gradclip_clip_per_example,
        grads.first,
        sums.first,
        len(grads.words) // 4,
        examples,
        limits,
        layers,
        number_of("rule", rule, _RULES),
        options.native,
        byref(result),
        norms,
        factors,
    )
    of_norms, of_factors = _of_examples(norms, layers), _of_examples(factors, layers)
    dropped: tuple[int, ...] = ()
    if result.nonfinite:
        # What is dropped has factor 0, and so may have what is not: then the norm tells.
        dropped = tuple(
            i for i, each in enumerate(of_norms) if not all(map(isfinite, _layers(each)))
        )
        if len(dropped) != result.nonfinite:
            # Finite gradients whose norm no float64 holds read infinite too, but count.
            dropped = tuple(i for i in dropped if not any(_layers(of_factors[i])))
    return PerExample(
        summed,
        of_norms,
        of_factors,
        result.clipped,
        dropped,
        result.sensitivity,
        result.rounding_bound,
    )


def _of_examples(values: Any, layers: int) -> tuple[Any, ...]:
    """A number for each example, a tuple of them where there are several layers."""
    if layers == 1:
        return tuple(values)
    return tuple(tuple(values[i : i + layers]) for i in range(0, len(values), layers))


def _layers(of_example: Any) -> tuple[float, ...]:
    return of_example if isinstance(of_example, tuple) else (of_example,)


def adapt_max_norm(
    max_norm: float,
    unclipped: float,
    examples: float,
    quantile: float = 0.5,
    learning_rate: float = 0.2,
) -> float:
    """The max_norm for the next step of DP-SGD, so that a share `quantile` of the examples
    stays unclipped: max_norm * exp(-learning_rate * (unclipped / examples - quantile)).

    The geometric update of Andrew et al., arXiv 1905.03871.

    Args:
        max_norm: the present one, finite and >= 0.
        unclipped: how many examples were not clipped. For privacy it has noise added
            first, so it may be any finite number.
        examples: of how many, > 0; the expected number with Poisson sampling.
        quantile: the share that is to stay unclipped, 0 to 1.
        learning_rate: how fast, >= 0.

    Raises:
        ValueError: an argument is outside its range.

    >>> adapt_max_norm(1.0, unclipped=96, examples=128, quantile=0.5)
    0.951229424500714
    """
    adapted = c_double()
    call(
        ffi.gradclip_adapt_max_norm,
        max_norm,
        unclipped,
        examples,
        quantile,
        learning_rate,
        byref(adapted),
    )
    return adapted.value
