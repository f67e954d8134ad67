"""How far each library's total norm is from the true one.

    python accuracy.py --output accuracy.png

One gradient of N standard-normal elements, for N = 1e4 ... 1e8 and p = 1, 2, 3. The
true norm comes from integers (exact.py), not from any of the libraries. Prints a
table per p, in Markdown, and draws a picture; fails if gradclip's norm is not exact
where that is promised (p = 1 and 2). Takes about 2.5 GB of memory. `make accuracy` at
the top of the repository installs what is needed and runs it.
"""

from __future__ import annotations

import argparse
import math
import platform
import resource
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from exact import PowerSums, check, correctly_rounded
from peers import PEERS, Peer

DTYPES = ("float32", "float16", "bfloat16")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.strip().splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="element type")
    parser.add_argument("--smallest", type=int, default=4, metavar="E", help="from N = 10^E")
    parser.add_argument("--largest", type=int, default=8, metavar="E", help="to N = 10^E")
    parser.add_argument("--orders", type=int, nargs="+", choices=(1, 2, 3), default=[1, 2, 3], metavar="P", help="p")
    parser.add_argument("--seed", type=int, default=1, help="of the elements")
    parser.add_argument("--output", type=Path, metavar="PNG", help="where to draw the picture")
    options = parser.parse_args()
    if not 1 <= options.smallest <= options.largest <= 8:
        parser.error(
            "--smallest and --largest must be in 1 ... 8 and in this order "
            f"(got {options.smallest} and {options.largest})"
        )
    return options


def sample(dtype: str, length: int, seed: int) -> np.ndarray:
    """Standard-normal elements, drawn as float32 and rounded to dtype."""
    values = np.random.default_rng(seed).standard_normal(length, dtype=np.float32)
    if dtype == "bfloat16":
        import ml_dtypes  # NumPy has no bfloat16 of its own

        return values.astype(ml_dtypes.bfloat16)
    return values.astype(dtype, copy=False)


def relative_error(norm: float, true_norm: Fraction) -> float:
    """(norm - true) / true; 0 if norm is the float64 nearest to the true norm."""
    if not math.isfinite(norm):
        return norm
    if norm == correctly_rounded(true_norm):
        return 0.0
    return float((Fraction(norm) - true_norm) / true_norm)


def measure(options: argparse.Namespace, peers: list[Peer]) -> dict[tuple[str, int, int], float | None]:
    """The error by (peer, p, N); None where a library refuses the dtype."""
    errors: dict[tuple[str, int, int], float | None] = {}
    check(sample(options.dtype, 10_000, options.seed), options.orders)
    for exponent in range(options.smallest, options.largest + 1):
        length = 10**exponent
        start = time.monotonic()
        print(f"N = 1e{exponent}: exact", end="", file=sys.stderr, flush=True)
        grad = sample(options.dtype, length, options.seed)
        true_sums = PowerSums(grad, options.orders)
        for peer in peers:
            print(f", {peer.name}", end="", file=sys.stderr, flush=True)
            for p in options.orders:
                try:
                    with np.errstate(over="ignore"):
                        error = relative_error(peer.norm(grad, p), true_sums.norm(p))
                except TypeError:
                    error = None
                errors[peer.name, p, length] = error
        print(f" ({time.monotonic() - start:.0f} s)", file=sys.stderr)
    return errors


def cell(error: float | None) -> str:
    if error is None:
        return "not supported"
    return "exact" if error == 0 else f"{error:+.1e}"


def print_tables(options: argparse.Namespace, peers: list[Peer], errors: dict) -> None:
    lengths = sorted({length for _, _, length in errors})
    for p in options.orders:
        print(f"\n{options.dtype}, p = {p}: (total_norm - true norm) / true norm\n")
        print("| N | " + " | ".join(peer.name for peer in peers) + " |")
        print("|---|" + "---|" * len(peers))
        for length in lengths:
            cells = (cell(errors[peer.name, p, length]) for peer in peers)
            print(f"| 1e{round(math.log10(length))} | " + " | ".join(cells) + " |")
    print('\n"exact": the float64 nearest to the true norm, to the bit.')


def main() -> None:
    options = arguments()
    peers = []
    for peer in PEERS:
        if peer.load():
            peers.append(peer)
            print(f"{peer.name} {peer.version}: {peer.call}")
        else:
            print(f"{peer.name}: not installed ({peer.missing})")
    print(f"Python {platform.python_version()}, {platform.machine()}, {time.strftime('%Y-%m-%d')}, seed {options.seed}")
    if not any(peer.name == "gradclip" for peer in peers):
        raise SystemExit("accuracy.py: the package gradclip is not installed (make accuracy installs it)")
    errors = measure(options, peers)
    print_tables(options, peers, errors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"Peak memory {peak:.1f} GiB.")
    if options.output:
        import picture

        picture.draw(options.output, options.dtype, options.orders, [peer.name for peer in peers], errors)
        print(f"The picture: {options.output}")
    ours = ((p, n, error) for (name, p, n), error in errors.items() if name == "gradclip")
    broken = [f"p = {p}, N = {n}" for p, n, error in ours if p < 3 and error != 0]
    if broken:
        raise SystemExit(f"accuracy.py: gradclip's norm is not the exact one for {'; '.join(broken)}")


if __name__ == "__main__":
    main()
