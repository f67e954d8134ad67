"""What the live comparisons with other frameworks find, recorded; and docs/peers.md made of it.

A test of a comparison takes the fixture `compared`, and says for each case how far its two
sides are apart; `finding` is for what a peer does otherwise on purpose or by mistake, as the
test has just seen it do. With GRADCLIP_PEER_RECORD set (tests/peers.sh) a session leaves
them in that file as JSON.

    python peer_report.py RECORDS_DIR REPORT.md NAME...
    python peer_report.py --only RECORDS_DIR REPORT.md NAME...   # leaves the other rows as they are
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

try:
    import pytest
except ImportError:  # the report is made by any Python
    pytest = None


@dataclass
class Comparison:
    """All cases of one kind: how far apart the two sides were, and might have been, at most."""

    what: str
    cases: int = 0
    largest: float = 0.0
    allowed: float = 0.0


@dataclass
class Record:
    peer: str
    versions: dict[str, str] = field(default_factory=dict)
    tests: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    comparisons: list[Comparison] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    day: str = field(default_factory=lambda: time.strftime("%Y-%m-%d", time.gmtime()))


def relative(ours: Any, theirs: Any, tiny: float = 0.0) -> float:
    """The largest relative difference of the elements; infinite where one is NaN or infinite and
    the other is not the same. Differences up to tiny do not count."""
    import numpy as np

    a, b = np.asarray(ours, "f8"), np.asarray(theirs, "f8")
    assert a.shape == b.shape, (a.shape, b.shape)
    with np.errstate(invalid="ignore", divide="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tiny)
        apart = np.where(same, 0.0, np.abs(a - b) / np.abs(b))
    return float(np.max(np.where(np.isnan(apart), np.inf, apart), initial=0.0))


# ------------------------------------------------------------------ recording --

_comparisons: dict[str, Comparison] = {}
_findings: list[str] = []
_started = time.monotonic()

if pytest is not None:

    @pytest.fixture
    def compared() -> Callable[..., None]:
        """compared(what, ours, theirs, allowed, tiny=0.0, case=""): records one case of the kind
        what, and fails if its two sides are further apart than allowed."""

        def compare(
            what: str, ours: Any, theirs: Any, allowed: float, tiny: float = 0.0, case: Any = ""
        ) -> None:
            apart = relative(ours, theirs, tiny)
            kind = _comparisons.setdefault(what, Comparison(what))
            kind.cases += 1
            kind.largest = max(kind.largest, apart)
            kind.allowed = max(kind.allowed, allowed)
            assert apart <= allowed, f"{what} {case}: {apart:.3g} apart"

        return compare

    @pytest.fixture
    def finding() -> Callable[[str], None]:
        """finding(sentence): what the peer does otherwise, for the report."""
        return lambda sentence: None if sentence in _findings else _findings.append(sentence)


def pytest_sessionfinish(session: Any) -> None:
    path = os.environ.get("GRADCLIP_PEER_RECORD")
    if not path:
        return
    from importlib.metadata import version

    from gradclip._native import ffi

    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    counts = {kind: len(reporter.stats.get(kind, ())) for kind in ("passed", "failed", "skipped")}
    counts["failed"] += len(reporter.stats.get("error", ()))
    record = Record(
        peer=os.environ["GRADCLIP_PEER"],
        versions={name: version(name) for name in os.environ["GRADCLIP_PEER_ABOUT"].split()},
        tests=counts,
        seconds=time.monotonic() - _started,
        comparisons=list(_comparisons.values()),
        findings=_findings,
        machine={
            "Python": platform.python_version(),
            "processor": _processor(),
            "libgradclip": ffi.gradclip_version_string().decode(),
            "kernels": ffi.gradclip_isa().decode(),
        },
    )
    Path(path).write_text(json.dumps(asdict(record), indent=1))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


# ------------------------------------------------------------------- reporting --


def report(records: list[Record], missing: list[str], page: str = "") -> str:
    """The page; rows and sections of `page` stay where there is no record."""
    machine = records[0].machine
    kept = dict.fromkeys(re.findall(r"^\| (\w+) \| .*\| \d{4}-\d\d-\d\d \|$", page, flags=re.M))
    fresh = {record.peer: record for record in records}
    lines = [
        "# Live comparisons",
        "",
        "Written by `make test-peers`; `make test-peers-NAME` runs one of them. Every case is",
        "computed here and by the peer, on the same random values, in one process; the code is in",
        "tests/peers and tests/with_torch of the Python package. Differences are relative, the",
        "largest of all elements of all cases; of a float16 or bfloat16 element it is mostly its",
        "own rounding.",
        "",
        f"{machine['processor']}; Python {machine['Python']}; libgradclip "
        f"{machine['libgradclip']}, {machine['kernels']} kernels.",
        "",
        "| peer | versions | tests | cases compared | seconds | verdict | day |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in kept | dict.fromkeys(fresh):
        if name not in fresh:
            lines += re.findall(rf"^\| {name} \| .*$", page, flags=re.M)[:1]
            continue
        record = fresh[name]
        versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
        cases = sum(comparison.cases for comparison in record.comparisons)
        tests = f"{record.tests['passed']} passed"
        tests += "".join(
            f", {record.tests[kind]} {kind}" for kind in ("failed", "skipped") if record.tests[kind]
        )
        cells = [record.peer, versions, tests, cases, f"{record.seconds:.0f}", verdict(record)]
        cells.append(record.day)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [f"| {name} | | | | | **did not run** | |" for name in missing]
    for name in kept | dict.fromkeys(fresh):
        if name not in fresh:
            found = re.search(rf"^## {name}$.*?(?=^## |\Z)", page, flags=re.M | re.S)
            lines += ["", found[0].rstrip()] if found else []
            continue
        record = fresh[name]
        if not record.comparisons and not record.findings:
            continue
        lines += ["", f"## {record.peer}", ""]
        if record.comparisons:
            lines += ["| compared | cases | largest difference | allowed |", "|---|---|---|---|"]
            lines += [
                f"| {c.what} | {c.cases} | {c.largest:.2g} | {c.allowed:.2g} |"
                for c in sorted(record.comparisons, key=lambda c: c.what)
            ]
        if record.findings:
            lines += [""] if record.comparisons else []
            lines += ["What it does otherwise, as these tests see it do:", ""]
            lines += [f"* {sentence}" for sentence in record.findings]
    return "\n".join(lines) + "\n"


def verdict(record: Record) -> str:
    if record.tests["failed"] or not record.tests["passed"]:
        return "**fails**"
    within = all(c.largest <= c.allowed for c in record.comparisons)
    return "agrees" if within else "**differs**"


def main(records: Path, target: Path, names: list[str], only: bool) -> None:
    found, missing = [], []
    for name in names:
        path = records / f"{name}.json"
        if not path.exists():
            missing.append(name)
            continue
        loaded = json.loads(path.read_text())
        loaded["comparisons"] = [Comparison(**c) for c in loaded["comparisons"]]
        found.append(Record(**loaded))
    if not found:
        sys.exit(f"no records in {records}")
    page = target.read_text() if only else ""
    target.write_text(report(found, missing, page))
    print(f"wrote {target.resolve()}")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--only"]
    main(Path(arguments[0]), Path(arguments[1]), arguments[2:], "--only" in sys.argv)
