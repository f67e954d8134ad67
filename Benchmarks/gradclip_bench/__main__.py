"""python -m gradclip_bench: measure, print, write JSON, draw."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

from .arguments import parse


def _announcer():
    start = time.monotonic()

    def announce(what: str) -> None:
        print(f"[{time.monotonic() - start:4.0f} s] {what}", file=sys.stderr, flush=True)

    return announce


def _measure(arguments, announce) -> dict[str, Any]:
    # Imported here: the environment is set by now.
    from . import cases, driver, growth, machine, pairs, peers, roof, run_cases, shapes, values
    from .arena import Arena
    from .rounds import Effort

    described = machine.describe()

    def chosen(rows: list) -> list:
        return [row for row in rows if any(text in row.name for text in arguments.only)]

    lists = chosen(cases.table(described["AVX-512 IFMA"]))
    own = chosen([] if arguments.quick else [*pairs.table(), *values.table()])
    loaded, missing, variants = [], {}, {}
    if lists or not arguments.no_growth:
        announce("loading the peers")
        loaded, missing = peers.load(arguments.quick)
        for name, reason in missing.items():
            announce(f"without {name}: {reason}")
        announce("looking for the best plain loops")
        variants = roof.best_variants(Arena(shapes.equal(1, 64_000_000), "float32"), arguments.threads)
    batch = 0.01 if arguments.quick else 0.04
    effort = Effort(arguments.rounds, arguments.seconds, batch, arguments.least_gain)
    results: dict[str, Any] = {
        "machine": described,
        "threads": arguments.threads,
        "quick": arguments.quick,
        "least gain": arguments.least_gain,
        "versions": {peer.NAME: peer.version() for peer in loaded},
        "missing": missing,
        "roof loops": {kind: driver.roof_names()[v] for kind, v in variants.items()},
        "cases": [],
    }
    try:
        for row in run_cases.run(lists, loaded, effort, arguments.threads, variants, announce):
            results["cases"].append(row)
        for row in run_cases.run_rows(own, effort, arguments.threads, announce):
            results["cases"].append(row)
    except KeyboardInterrupt:
        announce("interrupted: what was measured until now follows")
        return results
    if not arguments.no_growth:
        few = replace(effort, rounds=max(1, arguments.rounds // 2), seconds=arguments.seconds / 3, batch=batch / 2)
        results["growth"] = growth.run(loaded, few, arguments.threads, variants, arguments.quick, announce)
    return results


def _print(results: dict[str, Any], output) -> None:
    from . import machine, report

    rows = results["cases"]
    names = [name for name in results["versions"]]
    tables = [report.times(rows, names), report.own(rows), report.asked(rows)]
    for table in tables:
        report.draw(*table)
    kept, made = (sum(row[f"rounds {what}"] for row in rows) for what in ("kept", "made"))
    verdict = (
        f"{machine.one_line(results['machine'])}; {results['threads']} threads. {kept} of {made} rounds were left; in "
        f"the others two spinning threads gained less than {results['least gain']:g} over one."
    )
    if kept < made / 2:
        verdict += (
            " The machine is busy: measure again when it is not, or longer (ARGUMENTS='--seconds 300'), or without "
            "the check (ARGUMENTS='--least-gain 0')."
        )
    print(verdict)
    text = "\n".join(report.markdown(*table) for table in tables if table[1])
    (output / "results.md").write_text(f"{text}\n{verdict}\n")


def main() -> None:
    arguments = parse()
    for variable in ("GRADCLIP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ[variable] = str(arguments.threads)
    announce = _announcer()
    results = _measure(arguments, announce)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "results.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    _print(results, arguments.output)
    print(f"All of it: {path}")
    if "growth" in results:
        try:
            from . import chart

            print("Charts:", *chart.draw(results, arguments.output / "benchmark"))
        except ImportError as error:
            print(f"No chart: {error}")


main()
