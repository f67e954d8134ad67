#!/usr/bin/env python3
"""generate_choosers.py [--check]: prints choosers.txt, what choosers decide by the oracle; or says whether
the file that lies here is that.

    chooser KIND MODE WINDOW WARMUP_STEPS PERCENTILE DECAY Z_THRESHOLD MAX_NORM LAMBDA_REL CLIP_FACTOR EPS SKIP_UPDATE
    s NORM LOSS STATUS THRESHOLD COEF MEAN DEVIATION RECORDED
    t STATUS COEF RECORDED NORM:THRESHOLD:COEF ...

A line `s` or `t` is a step of the chooser above it; `-` stands for no loss and no gradient.
Numbers are hex floats. AutoClip's thresholds are to be equal in every bit; all else to a part in
10^12, since the oracle's sums are exact.
"""

import math
import random
import sys
from math import inf, nan
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))

import choosers  # noqa: E402

FILE = HERE / "choosers.txt"
AUTOCLIP, ZCLIP, ADAGC, SKIPSTEP = 1, 2, 3, 4
DEFAULTS = {
    "mode": 0, "window": 0, "warmup": 0, "percentile": 10.0, "decay": 0.97, "z": 2.5,
    "cap": inf, "rel": 1.05, "factor": 1.0, "eps": 1e-6, "skip_update": 0,
}  # fmt: skip


def text(x):
    return "nan" if x != x else "inf" if x == inf else "-inf" if x == -inf else float(x).hex()


def header(kind, **given):
    o = {**DEFAULTS, **given}
    numbers = " ".join(text(o[k]) for k in ("percentile", "decay", "z", "cap", "rel", "factor", "eps"))
    return f"chooser {kind} {o['mode']} {o['window']} {o['warmup']} {numbers} {o['skip_update']}"


def stream(rng, length, kind):
    """Norms as runs have them: a level that drifts, noise, spikes; now and then none at all."""
    out = []
    for i in range(length):
        x = math.exp(rng.gauss(0, 0.4)) * (1 + i / length)
        if kind == "hostile":
            x = rng.choice([x, x * 2.0 ** rng.randrange(-400, 400), 0.0, 1.0, 1.0, nan, inf])
        elif rng.random() < 0.04:
            x *= rng.choice([5, 50, 1000])
        if kind == "holes" and rng.random() < 0.1:
            x = rng.choice([nan, inf])
        out.append(x)
    return out


def steps(chooser, norms, losses=None):
    for i, norm in enumerate(norms):
        loss = None if losses is None else losses[i]
        d = chooser.feed(norm, loss)
        yield (
            f"s {text(norm)} {'-' if loss is None else text(loss)} {d.status} {text(d.threshold)} "
            f"{text(d.clip_coef)} {text(d.mean)} {text(d.deviation)} {int(d.recorded)}"
        )


def tensor_steps(chooser, rows):
    for norms in rows:
        d = chooser.feed(norms)
        blank = d.status != choosers.OK
        cells = " ".join(
            f"{'-' if n is None else text(n)}:{'-' if blank else text(d.thresholds[i])}:"
            f"{'-' if blank else text(d.coefs[i])}"
            for i, n in enumerate(norms)
        )
        yield f"t {d.status} {text(d.clip_coef)} {int(d.recorded)} {cells}"


def cases():
    rng = random.Random(20200714)
    for percentile in (10.0, 0.0, 100.0, 50.0, 33.3, 99.9):
        for window, mode in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (7, 1), (64, 0), (65, 1)):
            yield header(AUTOCLIP, mode=mode, window=window, percentile=percentile)
            kind = rng.choice(["plain", "hostile", "holes"])
            yield from steps(choosers.AutoClip(percentile, window, mode), stream(rng, 160, kind))
    for mode in (0, 1, 2):
        for cap, skip_update, warmup in ((inf, 0, 25), (1.0, 0, 25), (inf, 1, 3), (2.0, 1, 0), (inf, 0, 1)):
            for decay, z, factor in ((0.97, 2.5, 1.0), (0.5, 0.0, 0.7), (0.9, 1.0, 1.0)):
                yield header(
                    ZCLIP, mode=mode, cap=cap, skip_update=skip_update, warmup=warmup, decay=decay,
                    z=z, factor=factor,
                )  # fmt: skip
                chooser = choosers.ZClip(decay, z, warmup, mode, cap, factor, 1e-6, skip_update)
                yield from steps(chooser, stream(rng, 120, rng.choice(["plain", "holes"])))
    for count, warmup, beta, cap in ((1, 100, 0.98, 1.0), (3, 5, 0.9, 1.0), (4, 0, 0.0, 0.5), (2, 1, 1.0, inf)):
        yield header(ADAGC, warmup=warmup, decay=beta, cap=cap, eps=1e-8)
        norms = [stream(rng, 150, "holes" if i == 0 else "plain") for i in range(count)]
        rows = [
            [None if count > 1 and rng.random() < 0.1 else n for n in row] for row in zip(*norms)
        ]
        yield from tensor_steps(choosers.AdaGC(beta, 1.05, cap, warmup, 1e-8), rows)
    for window, z in ((128, 6.0), (8, 3.0), (2, 1.0), (5, 0.0), (33, 2.0)):
        for with_loss in (False, True):
            yield header(SKIPSTEP, window=window, z=z)
            norms = stream(rng, 200, "holes")
            losses = [rng.choice([nan, -inf, 90.0]) if rng.random() < 0.03 else rng.gauss(-1, 2) for _ in norms]
            yield from steps(choosers.SkipStep(window, z), norms, losses if with_loss else None)
    for factor in (3.0, 0.1, 0.0):
        for window, mode in ((0, 0), (7, 1)):
            yield header(AUTOCLIP, mode=mode, window=window, percentile=50.0, factor=factor)
            yield from steps(choosers.AutoClip(50.0, window, mode, factor), stream(rng, 100, "holes"))


def main():
    made = "\n".join(cases()) + "\n"
    if sys.argv[1:] != ["--check"]:
        sys.stdout.write(made)
    elif FILE.read_text() != made:
        sys.exit(f"{FILE.name} is not what the oracle makes")
    else:
        print(f"{FILE.name} is what the oracle makes ({made.count(chr(10))} lines)")


if __name__ == "__main__":
    main()
