#!/usr/bin/env python3
"""ports.py BUILD_DIR: what LLVM's models of processors say of the loops that sum squares of float32.

The inner loop of each way is taken out of the library's disassembly and given to llvm-mca (LLVM_MCA names another): how many
instructions it has for an element, and in how many cycles 16 elements go through. A model is what somebody wrote down about a
processor, and no measurement.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

PROCESSORS = ("skylake-avx512", "icelake-server", "sapphirerapids", "znver4")
IFMA_SINCE = "icelake-server"  # in the list above
LOOPS = {
    "x86-64-v3, two accumulators": r"KernelsX86v3.*sumExactly.*Float32.*Square.*Two",
    "x86-64-v4, two accumulators": r"KernelsX86v4.*sumExactly.*Float32.*Square.*Two",
    "x86-64-v4-ifma, fixed point": r"KernelsX86v4.*sumSquaresInFixedPoint",
}
SYMBOL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
LINE = re.compile(r"^\s*([0-9a-f]+):\t(.*?)\s*(?:#.*)?$")
JUMP = re.compile(r"^j\w+\s+([0-9a-f]+) ")


def functions(library):
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", library], capture_output=True, text=True, check=True)
    name, found = "", {}
    for line in text.stdout.splitlines():
        if symbol := SYMBOL.match(line):
            name = symbol.group(1)
        elif instruction := LINE.match(line):
            found.setdefault(name, []).append((int(instruction.group(1), 16), instruction.group(2)))
    return found


def inner_loop(code):
    """The shortest loop that asks for memory ahead."""
    place = {address: i for i, (address, _) in enumerate(code)}
    loops = []
    for i, (_, text) in enumerate(code):
        start = place.get(int(jump.group(1), 16), i) if (jump := JUMP.match(text)) else i
        loop = [text for _, text in code[start : i + 1]]
        if start < i and any(text.startswith("prefetch") for text in loop):
            loops.append(loop)
    return min(loops, key=len)


def cycles(loop, processor):
    body = "\n".join(["1:", *loop[:-1], loop[-1].split()[0] + " 1b", ""])
    command = [os.environ.get("LLVM_MCA", "llvm-mca"), "-march=x86-64", f"-mcpu={processor}", "-iterations=1000"]
    done = subprocess.run(command, input=body, capture_output=True, text=True)
    total = re.search(r"Total Cycles:\s+(\d+)", done.stdout)
    return f"{int(total.group(1)) / 1000:.1f}" if total else sys.exit(f"ports.py: {command}: {done.stderr}")


def main():
    library = (Path(sys.argv[1]) / "lib-unstripped" / (Path(sys.argv[1]) / "lib/libgradclip.so").resolve().name).as_posix()
    code = functions(library)
    print("| loop | instructions an element |", *(f" {name} |" for name in PROCESSORS), sep="")
    print("|---" * (2 + len(PROCESSORS)) + "|")
    for name, pattern in LOOPS.items():
        [body] = [body for symbol, body in code.items() if re.search(pattern, symbol)]
        loop = inner_loop(body)
        lacks = PROCESSORS.index(IFMA_SINCE) if "ifma" in name else 0
        row = ["–" if i < lacks else cycles(loop, processor) for i, processor in enumerate(PROCESSORS)]
        print(f"| {name} | {len(loop) / 16:.2f} |", *(f" {cell} |" for cell in row), sep="")


if __name__ == "__main__":
    main()
