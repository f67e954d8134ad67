#!/usr/bin/env python3
"""gate-environment.py BUILD_DIR: a function that sets the floating point environment does no arithmetic itself.

Nothing but a call holds arithmetic between the setting and the restoring: the compiler does not know that the result
depends on them, and may move an addition across. So what computes is in functions of their own that are not inlined,
and whoever writes one without @inline(never) is told here. Comparing raises no rounding, and is done. The kernels
for x86-64-v4, which read the flags of one instruction after the other, name each as an operand (gk_squares.h)."""

import re
import sys
from pathlib import Path

from disassembly import instructions, unstripped

ARITHMETIC = re.compile(r"^v?((add|sub|mul|div|sqrt|max|min|round|rcp|rsqrt|f\w*m(add|sub)\w*)[sp][sd]|cvt\w+)$")


def main():
    everywhere = {}
    for symbol, _, name, _ in instructions(unstripped(Path(sys.argv[1]))):
        if "GradClipKernels" not in symbol:
            everywhere.setdefault(symbol, []).append(name)
    setting = {symbol: names for symbol, names in everywhere.items() if "ldmxcsr" in names}
    wrong = []
    for symbol, names in setting.items():
        if computes := sorted(set(filter(ARITHMETIC.match, names))):
            wrong.append(f"{symbol} sets the floating point environment and does {', '.join(computes)} itself")
    computing = sum(any(map(ARITHMETIC.match, names)) for names in everywhere.values())
    if wrong:
        sys.exit("gate-environment: " + "\n".join(wrong) + "\n(give what computes @inline(never))")
    # The gate must have something to see.
    if len(setting) < 10 or computing < 10:
        sys.exit(f"gate-environment: {len(setting)} functions set the environment, {computing} compute: not as expected")
    print(f"ok: none of the {len(setting)} functions that set the floating point environment does arithmetic itself ({computing} do)")


if __name__ == "__main__":
    main()
