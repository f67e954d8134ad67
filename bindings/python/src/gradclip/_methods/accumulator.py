"""Accumulator: a norm that is added up piece by piece."""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Iterable
from math import inf
from typing import Any

from .._gradients.pairs import Pairs
from .._gradients.rows import rows_of
from .._gradients.types import Grads, NonFinitePolicy
from .._native import ffi
from .._native.call import Handle, Options, call, new_result, norm_of, whole
from .._native.errors import NonFiniteGradientError
from .._norm import ALL_FINITE, NonFinite, Norm
from .whole import measure


class Accumulator:
    """A norm that is added up piece by piece.

    Add gradients as the backward pass makes them, while they are still in the
    processor's cache; parts of them in several threads, each with an accumulator
    of its own, and merge those; shards in several processes, which exchange
    to_bytes(). For norm_type 1 and 2 over float32, float16 and bfloat16 (over
    float64 too with exact_f64) and for infinity the norm has the bits of one call
    on all gradients, however they were cut and merged. For other orders that
    holds if gradients are cut at multiples of 4096 elements only; for norm_type 0
    every gradient that is added counts as one.

    What was added is not kept: only the sum is, in a few hundred bytes.

    An accumulator may be used from any thread; calls on the same one take turns.
    It can be copied and pickled.

    Args:
        norm_type, eps, nonfinite, grad_scale, exact_f64: as for clip_grad_norm_;
            they hold for all that is done with the accumulator.

    >>> import array
    >>> accumulator = Accumulator()
    >>> for grad in (array.array("f", [3.0]), array.array("f", [4.0])):
    ...     accumulator.add(grad)
    >>> norm = accumulator.finish(max_norm=2.5)
    >>> norm, round(norm.factor, 6)
    (5.0, 0.5)
    """

    __slots__ = (
        "__weakref__",
        "_first",
        "_first_tensor",
        "_handle",
        "_is_finite",
        "_lock",
        "_options",
    )

    def __init__(
        self,
        norm_type: float | str = 2.0,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        exact_f64: bool = False,
    ) -> None:
        self._options = options = Options(
            norm_type, False, eps, nonfinite, grad_scale, bool(exact_f64)
        )
        self._handle = Handle("accumulator", options.norm_type, options.native)
        self._lock = allocate_lock()
        # The first non-finite element's place is noted while its gradient is at hand.
        self._is_finite = True
        self._first: NonFinite | None = None
        self._first_tensor = ffi.GRADCLIP_NONE

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self._arguments().items())
        return f"<gradclip.Accumulator({arguments})>"

    def _arguments(self) -> dict[str, Any]:
        """What it was made with."""
        names = ("norm_type", "eps", "nonfinite", "grad_scale", "exact_f64")
        return {name: getattr(self._options, name) for name in names}

    # ---------------------------------------------------------------- adding --

    def add(
        self, grads: Grads, *, names: Iterable[str] | None = None, index: int | None = None
    ) -> None:
        """Adds gradients: an array or any nesting of arrays, which are only read.

        grads and names are those of clip_grad_norm_. index is the number of the first
        gradient, from 0, for .nonfinite.tensor of the result: a backward pass makes gradients
        in the reverse order. With it .nonfinite is that of the lowest number that is not
        finite, whichever was added first. Without it they are numbered as they are added.
        Gradients that are the same memory count once within a call, but again in
        the next. NaN and infinities are reported by finish().
        """
        tensors = rows_of(grads, names, writable=False)
        with self._lock:
            self._number(index)
            call(ffi.gradclip_accumulator_add, self._handle, tensors.table.first, tensors.count)
            if self._has_another_first(index is not None):
                # Rarely: a second look, for names and indices.
                self._first = measure(tensors, Options()).nonfinite

    def add_difference(
        self,
        tensors: Grads,
        minus: Grads,
        *,
        names: Iterable[str] | None = None,
        index: int | None = None,
    ) -> None:
        """Adds the differences tensors - minus, element by element, without a copy of them.

        That is how far weights went from older ones: a client's update, say. Each difference is
        rounded to float64, to nearest, and is then added as an element of float64 is: with
        exact_f64=True sums are exact, and the norm has the same bits everywhere.

        Args:
            tensors: an array or any nesting of arrays, as for add().
            minus: as many arrays of the same shapes, in the same order in memory. The dtypes
                of a pair may differ. Where one is None both must be.
            names, index: as for add(). The same pair twice counts once.

        Raises:
            ValueError: the number of arrays, a shape, or an order in memory differs.

        >>> import array
        >>> new, old = array.array("f", [4.0, 6.0]), array.array("d", [1.0, 2.0])
        >>> accumulator = Accumulator(exact_f64=True)
        >>> accumulator.add_difference(new, old)
        >>> accumulator.finish()
        5.0
        """
        pairs = Pairs(tensors, minus, names)
        with self._lock:
            self._number(index)
            _add_pairs(self._handle, pairs)
            if self._has_another_first(index is not None):
                again = Accumulator()
                _add_pairs(again._handle, pairs)
                result = new_result()
                call(ffi.gradclip_accumulator_finish, again._handle, inf, result)
                self._first = pairs.nonfinite(result)

    def merge(self, other: Accumulator | bytes) -> None:
        """Adds what another accumulator, or the bytes of one, holds, as if added after this.

        The other one is left as it is, and may be the same. norm_type and exact_f64
        must agree: InvalidArgumentError if those of an accumulator do not, BadDataError
        for bytes of others, damaged bytes, and anything else. Then nothing was added.
        """
        if not isinstance(other, Accumulator):
            with self._lock:
                self._merge_bytes(other)
            return
        # In one order everywhere, so that two threads cannot wait for each other.
        locks = {id(one): one._lock for one in (self, other)}
        for key in sorted(locks):
            locks[key].acquire()
        try:
            call(ffi.gradclip_accumulator_merge, self._handle, other._handle)
            if self._has_another_first():
                self._first = other._first
        finally:
            for lock in locks.values():
                lock.release()

    def _merge_bytes(self, data: bytes) -> None:
        try:
            state = bytes(memoryview(data))
        except TypeError:
            raise TypeError(
                f"an Accumulator or the bytes of one are needed (got {data!r})"
            ) from None
        self._handle.take(state)
        self._has_another_first()

    def _number(self, index: int | None) -> None:
        if index is not None:
            number = whole("index", index, most=2**63 - 1)
            call(ffi.gradclip_accumulator_set_next_tensor, self._handle, number)

    def _has_another_first(self, is_numbered: bool = False) -> bool:
        """Whether what was just added has the first non-finite element of all. Only if it was
        given a number can it be before what was there already."""
        if not is_numbered and not self._is_finite:
            return False
        before = self._first_tensor
        result = new_result()
        call(ffi.gradclip_accumulator_finish, self._handle, inf, result)
        self._is_finite = result.nonfinite_count == 0
        self._first_tensor = result.first_tensor
        return not self._is_finite and self._first_tensor != before

    def reset(self) -> None:
        """Forgets all that was added."""
        with self._lock:
            call(ffi.gradclip_accumulator_reset, self._handle)
            self._is_finite = True
            self._first = None
            self._first_tensor = ffi.GRADCLIP_NONE

    # ---------------------------------------------------------------- asking --

    def finish(self, max_norm: float = inf, error_if_nonfinite: bool = False) -> Norm:
        """The norm of all that was added, with clip_coef and factor for max_norm.

        Nothing is written: multiply the gradients by .factor of the result, or let
        the optimizer do it; if .nonfinite is true, skip the step, under nonfinite="zero" too,
        for nothing was replaced. More may be added afterwards.

        Of the result's .nonfinite, tensor is the number of the gradient: its index in add(), or
        in the order in which all were added, None left out; name and index are None if
        that gradient came as bytes.

        Raises:
            NonFiniteGradientError: an element is NaN or infinite, and
                error_if_nonfinite is true.
        """
        result = new_result()
        with self._lock:
            call(ffi.gradclip_accumulator_finish, self._handle, max_norm, result)
            first = self._first
        nonfinite = ALL_FINITE
        if result.nonfinite_count:
            nonfinite = NonFinite(
                count=result.nonfinite_count,
                nan_count=result.nan_count,
                tensor=_known(result.first_tensor),
                name=None if first is None else first.name,
                element=_known(result.first_element) if first is None else first.element,
                index=None if first is None else first.index,
            )
            if error_if_nonfinite:
                raise NonFiniteGradientError(nonfinite)
        return norm_of(result, nonfinite)

    # -------------------------------------------------------------- as bytes --

    def to_bytes(self) -> bytes:
        """The state as bytes, for another process: merge() and from_bytes() read them.

        At most 192 bytes for norm_type 1 and 2 over float32, float16 and bfloat16, at
        most 1024 otherwise. They are the same on every machine and carry a
        checksum. Names of gradients, eps, nonfinite and grad_scale are not in them.
        """
        with self._lock:
            return self._handle.state()

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        norm_type: float | str = 2.0,
        *,
        eps: float = 1e-6,
        nonfinite: NonFinitePolicy = "leave",
        grad_scale: float = 1.0,
        exact_f64: bool = False,
    ) -> Accumulator:
        """A new accumulator with the state that to_bytes() gave.

        Raises:
            BadDataError: the bytes are damaged, foreign, or of another norm_type or
                exact_f64.

        >>> import array
        >>> accumulator = Accumulator(norm_type=1.0)
        >>> accumulator.add(array.array("f", [3.0, -4.0]))
        >>> Accumulator.from_bytes(accumulator.to_bytes(), norm_type=1.0).finish()
        7.0
        """
        made = cls(
            norm_type, eps=eps, nonfinite=nonfinite, grad_scale=grad_scale, exact_f64=exact_f64
        )
        made._merge_bytes(data)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            first = self._first
        return _restored, (self._arguments(), self.to_bytes(), first)


def _add_pairs(handle: Handle, pairs: Pairs) -> None:
    minus = pairs.minus.first
    call(ffi.gradclip_accumulator_add_difference, handle, pairs.table.first, minus, pairs.count)


def _known(number: int) -> int | None:
    """None where the bytes came from a sum over ranks, which does not say which was first."""
    return None if number == ffi.GRADCLIP_NONE else number


def _restored(arguments: dict[str, Any], state: bytes, first: Any) -> Accumulator:
    made = Accumulator.from_bytes(state, **arguments)
    made._first = first
    return made
