"""How long `import gradclip` takes: python Benchmarks/python/import_time.py [--rounds N]

Each round starts Python twice, once to do nothing and once to import the package, in an order
that changes, after one round that is not counted (files are then in memory, bytecode is
written). Printed are medians and quartiles: of the time on the clock, of the processor's time,
which other programs hardly change, and of what -X importtime says, which is the clock's again.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

PROGRAMS = {"nothing": "pass", "the package": "import gradclip"}


def seconds(program, *options):
    """On the clock, and the processor's; and what came on standard error."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, *options, "-c", program], check=True, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - begin, used, done.stderr


def imported():
    """Milliseconds of the import itself, with all that it loads: the last line's second column."""
    _, _, lines = seconds("import gradclip", "-X", "importtime")
    total = [line.split("|") for line in lines.splitlines() if line.endswith("| gradclip")]
    return int(total[-1][1]) / 1000


def show(name, values):
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"{name:<40} {middle:6.1f} ms ({low:.1f} to {high:.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    times = {name: [] for name in PROGRAMS}
    importtime = []
    for number in range(rounds + 1):
        order = list(PROGRAMS.items())
        for name, program in order if number % 2 else reversed(order):
            times[name].append(seconds(program)[:2])
        importtime.append(imported())
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {rounds} rounds")
    pairs = list(zip(times["the package"], times["nothing"]))[1:]
    for kind, name in enumerate(("on the clock", "of the processor")):
        show(f"Python that does nothing, {name}", [1000 * none[kind] for _, none in pairs])
        show(f"import gradclip, {name}", [1000 * (mine[kind] - none[kind]) for mine, none in pairs])
    show("import gradclip, by -X importtime", importtime[1:])


if __name__ == "__main__":
    main()
