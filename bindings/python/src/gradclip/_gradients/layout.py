"""How the elements of an n-dimensional array lie in memory.

The library takes a gradient as one run of elements. Any array that fills its
memory without gaps is such a run: C order, Fortran order, any other order of
the axes, and axes that run backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Layout(NamedTuple):
    """The order in memory of a dense array's elements.

    Attributes:
        shape: the array's extents.
        axes: its axes, from the one that varies slowest in memory to the fastest.
        reversed: for each axis, whether its index falls as the address rises.
        offset: the bytes from element (0, 0, ...) down to the lowest address, <= 0.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    reversed: tuple[bool, ...]
    offset: int

    @property
    def is_c_order(self) -> bool:
        return self.axes == tuple(range(len(self.shape))) and not any(self.reversed)

    def index_of(self, element: int) -> tuple[int, ...]:
        """The n-dimensional index of the element at a place in memory."""
        index = [0] * len(self.shape)
        for axis in reversed(self.axes):
            element, place = divmod(element, self.shape[axis])
            index[axis] = self.shape[axis] - 1 - place if self.reversed[axis] else place
        return tuple(index)


def c_order(shape: Sequence[int]) -> Layout:
    return Layout(tuple(shape), tuple(range(len(shape))), (False,) * len(shape), 0)


def layout(shape: Sequence[int], strides: Sequence[int], itemsize: int) -> Layout | None:
    """The layout of an array, with strides in bytes; None if it has gaps or overlaps itself."""
    if 0 in shape:
        return c_order(shape)
    # Axes of extent 1 may have any stride: they are put where C order has them.
    moving = [axis for axis, extent in enumerate(shape) if extent > 1]
    moving.sort(key=lambda axis: abs(strides[axis]))
    expected = itemsize
    for axis in moving:
        if abs(strides[axis]) != expected:
            return None
        expected *= shape[axis]
    slowest_first = iter(reversed(moving))
    axes = tuple(next(slowest_first) if extent > 1 else axis for axis, extent in enumerate(shape))
    backwards = tuple(extent > 1 and stride < 0 for extent, stride in zip(shape, strides))
    offset = sum(
        stride * (extent - 1) for extent, stride in zip(shape, strides) if extent > 1 and stride < 0
    )
    return Layout(tuple(shape), axes, backwards, offset)


def flat_index(index: Sequence[int], shape: Sequence[int]) -> int:
    """The index in C order (array.flat[...], array.ravel()[...]) of an n-dimensional index."""
    flat = 0
    for place, extent in zip(index, shape):
        flat = flat * extent + place
    return flat
