"""What the gates that read machine code share."""

import re
import subprocess
import sys
from pathlib import Path

SYMBOL = re.compile(r"^[0-9a-f]+ <(.+)>:$")
LINE = re.compile(r"^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t?(\S*)")


def unstripped(build):
    """What was stripped to the library that is shipped: it still tells which function is whose."""
    path = build / "lib-unstripped" / (build / "lib" / "libgradclip.so").resolve().name
    if not path.is_file():
        sys.exit(f"{Path(sys.argv[0]).stem}: {path} is missing: run make first")
    return path


def instructions(library):
    """Of each: the function's symbol, the bytes, the name, the line that says all this."""
    text = subprocess.run(["objdump", "-d", "--insn-width=16", str(library)], capture_output=True, text=True, check=True).stdout
    symbol = ""
    for line in text.splitlines():
        if found := SYMBOL.match(line):
            symbol = found.group(1)
        elif found := LINE.match(line):
            yield symbol, bytes.fromhex(found.group(1)), found.group(2), line.strip()
