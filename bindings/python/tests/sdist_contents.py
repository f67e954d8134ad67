"""sdist_contents.py CHECKOUT SDIST: an unpacked sdist has all that git tracks of the package
and of the library's sources, byte for byte."""

import subprocess
import sys
from pathlib import Path

FROM_THE_ROOT = [
    "Makefile",
    "Package.swift",
    "Sources",
    "Tests",
    "exports.map",
    "include",
    "packaging",
]

checkout, sdist = map(Path, sys.argv[1:])


def tracked(*paths):
    command = ["git", "ls-files", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    return [Path(path) for path in listed.stdout.split("\0")[:-1]]


pairs = [(path, sdist / "library" / path) for path in tracked(*FROM_THE_ROOT)]
package = Path("bindings", "python")
pairs += [(path, sdist / path.relative_to(package)) for path in tracked(str(package))]
wrong = [
    str(path)
    for path, carried in pairs
    if not carried.is_file() or carried.read_bytes() != (checkout / path).read_bytes()
]
if wrong or len(pairs) < 150:
    sys.exit(f"of {len(pairs)} files that git tracks the sdist lacks, or has otherwise: {wrong}")
print(f"sdist: carries the {len(pairs)} files that git tracks")
