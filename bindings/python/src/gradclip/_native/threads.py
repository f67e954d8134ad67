"""How many threads a call of the library may use."""

from __future__ import annotations

from operator import index

from . import ffi
from .errors import InvalidArgumentError


def set_num_threads(count: int) -> None:
    """Sets how many threads a call may use, in this process: 0 goes back to the default, which
    is one for each processor that the process may use (or GRADCLIP_NUM_THREADS).

    Results do not depend on it. Calls that are running keep their threads.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    try:
        number = index(count)
    except TypeError:
        raise TypeError(f"count must be an integer (got {count!r})") from None
    if not 0 <= number < 2**32:
        raise InvalidArgumentError(f"count must be an integer from 0 to 2**32 - 1 (got {number})")
    ffi.gradclip_set_num_threads(number)


def get_num_threads() -> int:
    """How many threads a call may use; see set_num_threads."""
    return int(ffi.gradclip_get_num_threads())
