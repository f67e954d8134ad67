"""python -m gradclip_bench.level DTYPE LENGTH SCALE EXACT: for each number of calls that it reads, the seconds that a
norm took (p = 2, one thread), of normally distributed values of a scale. For kernels that a process must ask for when
it starts (GRADCLIP_ISA)."""

from __future__ import annotations

import sys

from . import driver, shapes
from .arena import Arena


def main() -> None:
    dtype, length, scale, exact = sys.argv[1:]
    arena = Arena(shapes.equal(1, int(length)), dtype, float(scale))
    options = driver.options(1, exact == "1")
    for line in sys.stdin:
        print(driver.total_norm(arena.tensors, 2.0, options, int(line)), flush=True)


main()
