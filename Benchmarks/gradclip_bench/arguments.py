"""The command line. Nothing heavy is imported here: the number of threads must be in
the environment before NumPy is."""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gradclip_bench",
        description="Measures gradclip, its peers, and memory's bandwidth, in interleaved rounds.",
    )
    parser.add_argument("--quick", action="store_true", help="under a minute; of the peers NumPy only")
    parser.add_argument("--output", type=Path, required=True, help="folder for results.json, tables and chart")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for everyone (%(default)s)")
    parser.add_argument("--rounds", type=int, help="rounds that count, per case (11; quick: 3)")
    parser.add_argument("--seconds", type=float, help="at most, per case (40; quick: 1)")
    parser.add_argument("--only", default=[""], nargs="+", metavar="TEXT", help="rows whose name contains one of them")
    parser.add_argument("--no-growth", action="store_true", help="leave out how the cost grows")
    parser.add_argument(
        "--least-gain", type=float, default=1.7, metavar="X",
        help="rounds in which two spinning threads gain less than this over one are thrown away (%(default)s; 0 "
        "keeps all, for trying things out on a busy machine: such figures are not to be quoted)",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.threads < 1:
        parser.error(f"--threads must be >= 1 (got {arguments.threads})")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error(f"--rounds must be >= 1 (got {arguments.rounds})")
    if arguments.rounds is None:
        arguments.rounds = 3 if arguments.quick else 11
    if arguments.seconds is None:
        arguments.seconds = 1.0 if arguments.quick else 40.0
    return arguments
