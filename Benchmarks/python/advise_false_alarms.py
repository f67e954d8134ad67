"""How often `gradclip advise` finds what is not there.

    python Benchmarks/python/advise_false_alarms.py [--streams N]

The streams are lognormal, with a sigma of 0.05 to 1 and correlations of neighbouring
logarithms of 0, 0.5 and 0.9, without drift, jumps or warm-up, of 150 to 4000 rows.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

import gradclip


def stream(rng: np.random.Generator) -> np.ndarray:
    rows, sigma = int(rng.integers(150, 4000)), rng.uniform(0.05, 1.0)
    correlation = rng.choice([0, 0.5, 0.9])
    noise = rng.standard_normal(rows)
    logs = np.empty(rows)
    logs[0] = noise[0]
    for i in range(1, rows):
        logs[i] = correlation * logs[i - 1] + np.sqrt(1 - correlation**2) * noise[i]
    return np.exp(sigma * logs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=400)
    streams = parser.parse_args().streams
    rng = np.random.default_rng(1)
    verdicts: Counter[str] = Counter()
    warnings: Counter[str] = Counter()
    warmups = 0
    for _ in range(streams):
        advice = gradclip.advise(stream(rng))
        verdicts[advice.verdict] += 1
        warnings.update(warning.cause for warning in advice.warnings)
        warmups += advice.warmup > 0
    print(f"{streams} streams: {dict(verdicts)}, warnings {dict(warnings)}, warm-ups {warmups}")


if __name__ == "__main__":
    main()
