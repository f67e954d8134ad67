"""Writes one gradient per dtype, and what the oracle says of it, for norms.c.

    saved_gradient.py FOLDER

FOLDER/DTYPE.bin holds the elements; FOLDER/cases.txt has a line for each case:
dtype, norm_type, max_norm, total_norm, clip_coef (hexadecimal), and the file with the
clipped elements.
"""

import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "oracle"))

from clip import Tensor, clip_grad_norm  # noqa: E402
from formats import FORMATS  # noqa: E402

ELEMENTS = 12_347
CODES = {"f32": "I", "f16": "H", "bf16": "H"}


def elements(fmt, rng):
    """Half near 1, as gradients are; half of any finite magnitude, subnormals included."""
    top = (1 << fmt.exponent_bits) - 1
    middle = top // 2
    for i in range(ELEMENTS):
        exponent = rng.randrange(middle - 12, middle) if i % 2 else rng.randrange(top)
        sign = rng.getrandbits(1)
        mantissa = rng.getrandbits(fmt.mantissa_bits)
        yield ((sign << fmt.exponent_bits) | exponent) << fmt.mantissa_bits | mantissa


def main(folder):
    lines = []
    for name, code in CODES.items():
        fmt = FORMATS[name]
        rng = random.Random(name)
        bits = list(elements(fmt, rng))
        pack = struct.Struct(f"<{len(bits)}{code}").pack
        (folder / f"{name}.bin").write_bytes(pack(*bits))
        for p in (1.0, 2.0, float("inf")):
            free = clip_grad_norm([Tensor(fmt, bits)], float("inf"), p)
            max_norm = free.total_norm / 3
            found = clip_grad_norm([Tensor(fmt, bits)], max_norm, p)
            clipped = f"{name}-{p:g}.bin"
            (folder / clipped).write_bytes(pack(*found.outputs[0]))
            norms = " ".join(x.hex() for x in (max_norm, found.total_norm, found.clip_coef))
            lines.append(f"{name} {p:g} {norms} {clipped}\n")
    (folder / "cases.txt").write_text("".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
