"""How long `import gradclip` takes: python Benchmarks/python/import_time.py [--rounds N]

Each round starts Python twice, once to do nothing and once to import the package, in an order
that changes, after one round that is not counted (files are then in memory, bytecode is
written). Printed are medians and quartiles, and what -X importtime says of the same.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time

PROGRAMS = {"nothing": "pass", "the package": "import gradclip"}


def seconds(program, *options):
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *options, "-c", program], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - begin, done.stderr


def imported():
    """Milliseconds of the import itself, with all that it loads: the last line's second column."""
    _, lines = seconds("import gradclip", "-X", "importtime")
    total = [line.split("|") for line in lines.splitlines() if line.endswith("| gradclip")]
    return int(total[-1][1]) / 1000


def show(name, values):
    low, middle, high = statistics.quantiles(values, n=4)
    print(f"{name:<28} {middle:6.1f} ms ({low:.1f} to {high:.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    times = {name: [] for name in PROGRAMS}
    importtime = []
    for number in range(rounds + 1):
        order = list(PROGRAMS.items())
        for name, program in order if number % 2 else reversed(order):
            times[name].append(1000 * seconds(program)[0])
        importtime.append(imported())
    print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {rounds} rounds")
    for name, values in times.items():
        show(f"a process that imports {name}" if name != "nothing" else "a process that does nothing", values[1:])
    pairs = zip(times["the package"][1:], times["nothing"][1:])
    show("the difference", [mine - none for mine, none in pairs])
    show("-X importtime", importtime[1:])


if __name__ == "__main__":
    main()
