"""What a call returns: the norm, and what was found on the way."""

from __future__ import annotations


class NonFinite:
    """The NaNs and infinities of a call's gradients; false if there are none.

    Attributes:
        count: how many elements are NaN or infinite.
        nan_count: how many of those are NaN.
        tensor: which gradient has the first of them: its place in the list that
            was given (nested containers flattened, None counted); None if all
            is finite, as for the next three.
        name: the name of that gradient, if names are known.
        element: the index of the first in that gradient, flattened in C order.
        index: the same as an n-dimensional index (None also where an Accumulator
            got the gradient as bytes; element is then its place in memory).
        rank: where several processes have one norm, the one whose gradients
            these are (the lowest that has any); None otherwise.

    "First" is the order of the list, then the order in memory.
    """

    __slots__ = ("count", "element", "index", "name", "nan_count", "rank", "tensor")

    def __init__(
        self,
        count: int = 0,
        nan_count: int = 0,
        tensor: int | None = None,
        name: str | None = None,
        element: int | None = None,
        index: tuple[int, ...] | None = None,
        rank: int | None = None,
    ) -> None:
        self.count = count
        self.nan_count = nan_count
        self.tensor = tensor
        self.name = name
        self.element = element
        self.index = index
        self.rank = rank

    @property
    def inf_count(self) -> int:
        """How many elements are infinite."""
        return self.count - self.nan_count

    def __bool__(self) -> bool:
        return self.count > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NonFinite):
            return NotImplemented
        return all(getattr(self, slot) == getattr(other, slot) for slot in self.__slots__)

    def __hash__(self) -> int:
        return hash((self.count, self.nan_count, self.tensor, self.element))

    def __repr__(self) -> str:
        shown = _ORDER if self.rank is None else (*_ORDER, "rank")
        fields = ", ".join(f"{slot}={getattr(self, slot)!r}" for slot in shown)
        return f"NonFinite({fields})"

    def __str__(self) -> str:
        return self.of("gradient")

    def of(self, noun: str) -> str:
        """The text for a list of what is called noun: gradients, or parameters."""
        if not self.count:
            return "the gradients are finite"
        elements = "1 element is" if self.count == 1 else f"{self.count} elements are"
        kinds = f"{self.nan_count} NaN, {self.inf_count} infinite"
        if self.tensor is None:  # a sum over ranks does not say
            return f"{elements} not finite ({kinds})"
        where = f"{noun} {self.tensor}"
        if self.name is not None:
            where = f"{self.name!r} ({where})"
        if self.rank is not None:
            where += f" on rank {self.rank}"
        index = "" if self.index is None else f" index {self.index},"
        return (
            f"{elements} not finite ({kinds}): "
            f"the first is element {self.element},{index} of {where}"
        )


_ORDER = ("count", "nan_count", "tensor", "name", "element", "index")

ALL_FINITE = NonFinite()


class Norm(float):
    """A total norm, before clipping. A float that also carries what happened.

    Attributes:
        clip_coef: min(1, max_norm / (total_norm + eps)); 1 where nothing was to
            be clipped.
        clipped: whether the gradients were scaled down by clip_coef (are to be,
            after defer_clip and Accumulator.finish).
        factor: clip_coef / grad_scale, what the gradients were multiplied by (are
            to be, after defer_clip and Accumulator.finish); 1 where they are left
            alone for being non-finite.
        nonfinite: the NaNs and infinities among the gradients, a `NonFinite`.
        tensor_norms: the norm of each gradient, in the order given, if asked
            for with tensor_norms=True, else None. One that is empty or None has 0;
            one that was given twice has its norm in both places, and counted once.
    """

    __slots__ = ("clip_coef", "clipped", "factor", "nonfinite", "tensor_norms")

    clip_coef: float
    clipped: bool
    factor: float
    nonfinite: NonFinite
    tensor_norms: tuple[float, ...] | None

    def item(self) -> float:
        """The norm as a plain float, as a tensor's item() gives it."""
        return float(self)
