"""report.py UNCOVERED LCOV...: a line for each source file with lines that no test ran, whose
reasons are in UNCOVERED. It is an error if there are more of them than are listed there, and they
are more than a tenth of the file.

A line counts as run if it ran in any of the LCOV files: the kernels are one source that is
compiled several times, and Python is tested in several environments.
"""

import os
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "bindings" / "python" / "src"


def source_of(path):
    """The file of the checkout that path stands for, relative to it; None if it is none."""
    _, found, inside = path.partition("/site-packages/")
    real = PYTHON / inside if found else Path(os.path.realpath(ROOT / path))
    if not real.is_file():
        return None
    real = real.relative_to(ROOT) if real.is_relative_to(ROOT) else None
    return real if real and str(real).startswith(("Sources/", "bindings/")) else None


def runs_of(files):
    """For each source the numbers of its lines, and how often each ran."""
    runs = defaultdict(lambda: defaultdict(int))
    for file in files:
        source = None
        for line in Path(file).read_text().splitlines():
            kind, _, rest = line.partition(":")
            if kind == "SF":
                source = source_of(rest)
            elif kind == "DA" and source is not None:
                number, count = rest.split(",")[:2]
                runs[source][int(number)] += int(count)
    return runs


def allowed_lines(path):
    """For each source how many lines may be left: lines of `SOURCE COUNT REASON...`."""
    allowed = {}
    for line in Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            source, count, _reason = line.split(None, 2)
            allowed[Path(source)] = int(count)
    return allowed


def ranges(numbers):
    """1, 2, 3, 7 as "1-3, 7"."""
    parts = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


LEAST = 90  # percent of a file


def main(uncovered, *files):
    runs, allowed = runs_of(files), allowed_lines(uncovered)
    wrong = []
    totals = defaultdict(lambda: [0, 0])
    for source in sorted(runs):
        left = [number for number, count in runs[source].items() if count == 0]
        total = totals["Python" if source.suffix == ".py" else "Swift and C"]
        total[0] += len(runs[source])
        total[1] += len(left)
        if not left:
            continue
        percent = 100 - 100 * len(left) / len(runs[source])
        listed = allowed.get(source, 0)
        more = f" ({len(left) - listed} more than are listed)" if len(left) > listed else ""
        print(f"{percent:6.1f} %  {source}: {ranges(left)}{more}")
        if more and percent < LEAST:
            wrong.append(f"{source}: {len(left)} lines are run by no test, of which {listed} are listed")
    for source in sorted(set(allowed) - set(runs)):
        wrong.append(f"{source} is listed, and there is no such file")
    for name, (lines, left) in totals.items():
        print(f"coverage of {name}: {100 - 100 * left / lines:.2f} % of {lines} lines ({left} are not run)")
    if wrong:
        sys.exit("\n".join([*wrong, f"Add a test, or the reason to {uncovered}."]))


main(*sys.argv[1:])
