"""Looks at saved gradients and says who is large, who is zero and who is NaN: a .npz or
.npy file, safetensors (bfloat16 and float16 too), or a torch .pt file where torch is
installed. Needs NumPy, and for safetensors the package of that name.

  gradclip inspect grads.npz
"""

from __future__ import annotations

import argparse
import json

from .._advise.extra import require

HELP = "who is large, who is NaN in a file of saved gradients"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=".npz, .npy, .safetensors or .pt")
    parser.add_argument(
        "--norm-type", type=float, default=2.0, metavar="P", help="the order; default: 2"
    )
    parser.add_argument(
        "--grad-scale", type=float, default=1.0, metavar="S", help="divide by this loss scale"
    )
    parser.add_argument(
        "--rows", type=int, default=40, metavar="N", help="of the table; default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    require("numpy", "gradclip inspect")
    from .. import inspect
    from .._json import plain
    from .saved import load

    grads, skipped = load(arguments.file)
    found = inspect(grads, norm_type=arguments.norm_type, grad_scale=arguments.grad_scale)
    if arguments.json:
        out = {
            "total_norm": found.total_norm,
            "norm_type": found.norm_type,
            "problems": found.problems,
            "gradients": [report.to_dict() for report in found],
            "skipped": skipped,
        }
        print(json.dumps(plain(out), indent=2, allow_nan=False))
        return 0
    for name, why in skipped.items():
        print(f"{name!r} was left out: {why}")
    print("\n".join([*found.problems, found.summary, found.table(max(0, arguments.rows))]))
    return 0
