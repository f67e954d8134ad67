"""sdist_contents.py CHECKOUT SDIST: an unpacked sdist has all that git tracks of the package
and of what it carries of the checkout in library/, byte for byte, and nothing else.

(If something is missing from library/ altogether, the library cannot be built of it.)
"""

import subprocess
import sys
from pathlib import Path

checkout, sdist = map(Path, sys.argv[1:])
package = Path("bindings", "python")
library = sdist / "library"


def tracked(*paths):
    command = ["git", "ls-files", "-z", "--", *paths]
    listed = subprocess.run(command, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True)
    found = [Path(path) for path in listed.stdout.split("\0")[:-1]]
    # A link to a folder is a folder there.
    links = [path for path in found if (checkout / path).is_dir()]
    inside = [path / file.name for path in links for file in (checkout / path).iterdir()]
    return [path for path in found if path not in links] + inside


expected = {sdist / path.relative_to(package): path for path in tracked(str(package))}
expected.update((library / path, path) for path in tracked(*(p.name for p in library.iterdir())))
wrong = [
    str(path)
    for carried, path in expected.items()
    if not carried.is_file() or carried.read_bytes() != (checkout / path).read_bytes()
]
added = {sdist / "PKG-INFO", sdist / ".gitignore"}  # by hatchling
more = [str(p) for p in sdist.rglob("*") if p.is_file() and p not in expected and p not in added]
if wrong or more or len(expected) < 150:
    sys.exit(
        f"of {len(expected)} files that git tracks the sdist lacks, or has otherwise: {wrong}; "
        f"and it has, though git does not track them: {more}"
    )
print(f"sdist: carries the {len(expected)} files that git tracks, and nothing else")
