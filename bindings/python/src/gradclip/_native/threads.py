"""How many threads a call of the library may use."""

from __future__ import annotations

from . import ffi
from .call import whole


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
    ffi.gradclip_set_num_threads(whole("count", count, most=2**32 - 1))


def get_num_threads() -> int:
    """How many threads a call may use; see set_num_threads."""
    return int(ffi.gradclip_get_num_threads())
