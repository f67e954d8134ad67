"""How long `gradclip advise` takes for a long log, and how much memory.

    python Benchmarks/python/advise_long_log.py [--rows N]

Writes a CSV as gradclip.Monitor does, with N rows of a run with a schedule that was clipped, reads it and gives advice. Time is
that of the processor, in one thread.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np

from gradclip._advise import advise_log
from gradclip._advise.readers import read

HEADER = "step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element\n"


def write(path: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(HEADER)
        for start in range(0, rows, 100_000):
            steps = np.arange(start, min(start + 100_000, rows))
            norms = 2 * np.exp(0.3 * rng.standard_normal(len(steps)))
            coefs = np.minimum(1, 3 / norms)
            rates = 0.05 * (1 + np.cos(np.pi * steps / rows))
            losses = 1 + np.exp(-3 * steps / rows) + 0.1 * rng.standard_normal(len(steps))
            columns = (steps, norms, coefs, rates, losses)
            file.writelines(
                f"{step},{norm:.8g},{coef:.8g},{rate:.6g},{loss:.6g},0,,\n"
                for step, norm, coef, rate, loss in zip(*(one.tolist() for one in columns))
            )


def used() -> tuple[float, float]:
    """Seconds of processor time, and the peak of memory in MB."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "run.csv")
        write(path, rows)
        size = path.stat().st_size / 1e6
        begin, _ = used()
        log = read(str(path))
        middle, reading = used()
        verdict = advise_log(log).verdict
        end, peak = used()
    print(
        f"{rows} rows, {size:.0f} MB: read in {middle - begin:.1f} s ({reading:.0f} MB), ", end=""
    )
    print(f"advised on in {end - middle:.1f} s (peak {peak:.0f} MB); {verdict}")


if __name__ == "__main__":
    main()
