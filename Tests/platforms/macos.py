#!/usr/bin/env python3
"""macos.py PROGRAM [ARGUMENT...]: runs a program of macOS on arm64 in an emulator of the processor.

The libraries that the program names by @rpath lie beside it. machine.py has the machine, libsystem.py what both
ask of the system; a name that is not there ends the program and is told.
"""

import sys
from pathlib import Path

from libsystem import FUNCTIONS
from machine import Machine

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(Machine(Path(sys.argv[1]).resolve(), sys.argv[2:], FUNCTIONS).run())
