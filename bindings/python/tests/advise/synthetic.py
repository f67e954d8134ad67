"""The logs of verdicts.md: made from a seed, with the regime that each is known to have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

SEED = 20261123


@dataclass
class Made:
    """What advise() is given."""

    norms: np.ndarray
    arguments: dict[str, Any] = field(default_factory=dict)
    loss_scale: np.ndarray | None = None  # a column that only files have


def lognormal(level, sigma, rows, seed=0):
    return level * np.exp(sigma * np.random.default_rng([SEED, seed]).standard_normal(rows))


def steady(rows=2000):
    return lognormal(2, 0.3, rows)


def _loss_scales(rows):
    scale = np.full(rows, 65536.0)
    for row in (300, 700, 1500):
        scale[row:] /= 2
    scale[1100:] *= 2
    return scale


def _losses(rows=2000):
    noise = np.random.default_rng([SEED, 1]).normal(0, 0.05, rows)
    return 1 + 3 * np.exp(-np.arange(rows) / 200) + noise


def make(name: str) -> Made:
    """The log of this name in verdicts.md."""
    return {
        "steady": lambda: Made(steady()),
        "heavy-tailed": lambda: Made(lognormal(1, 1, 5000)),
        "drifting": lambda: Made(lognormal(20, 0.3, 3000) * np.geomspace(1, 1 / 20, 3000)),
        "rising": lambda: Made(lognormal(1, 0.3, 3000) * np.geomspace(1, 8, 3000)),
        "warm-up spike": lambda: Made(
            lognormal(1, 0.3, 2000) * (1 + 50 * np.exp(-np.arange(2000) / 25))
        ),
        "warm-up of the rate": lambda: Made(
            steady(), {"learning_rate": np.minimum(1, (np.arange(2000) + 1) / 401) * 0.1}
        ),
        "loss scale": _loss_scale,
        "loss scale column": lambda: Made(
            lognormal(0.7, 0.3, 2000) * _loss_scales(2000), loss_scale=_loss_scales(2000)
        ),
        "unscaled with column": lambda: Made(steady(), loss_scale=_loss_scales(2000)),
        "NaN bursts": lambda: Made(
            _with(steady(), np.nan, [*range(400, 404), *range(900, 903), *range(1500, 1505)])
        ),
        "overflow": lambda: Made(_with(steady(), np.inf, [300, 700, 1100, 1111, 1700])),
        "post-clip": lambda: Made(np.minimum(1, steady())),
        "post-clip, few": lambda: Made(np.minimum(np.quantile(steady(), 0.95), steady())),
        "post-clip, printed": lambda: Made(np.round(np.minimum(1, lognormal(1, 0.3, 2000)), 2)),
        "rounded": lambda: Made(np.round(lognormal(0.5, 0.3, 2000), 1)),
        "sampled": lambda: Made(
            lognormal(2, 0.3, 20000)[::50], {"steps": np.arange(50, 20001, 50), "rows": "sampled"}
        ),
        "averaged": lambda: Made(
            lognormal(2, 0.3, 20000).reshape(400, 50).mean(axis=1),
            {"steps": np.arange(50, 20001, 50), "rows": "averaged"},
        ),
        "zero gradients": lambda: Made(_with(steady(), 0.0, range(0, 2000, 10))),
        "level change": lambda: Made(_two_levels(), {"loss": _losses()}),
        "loss reduction": lambda: Made(
            _two_levels(), {"loss": _losses() * np.repeat([4.0, 1.0], 1000)}
        ),
        "one tensor": _one_tensor,
        "diverged early": lambda: Made(np.array([*(5 * 3.0 ** np.arange(7)), np.nan, np.nan])),
        "diverged late": lambda: Made(
            np.concatenate([steady(1000), 2 * 1.5 ** np.arange(40), np.full(20, np.nan)])
        ),
        "stuck": lambda: Made(steady(), {"loss": _stuck()}),
        "0 rows": lambda: Made(np.empty(0)),
        "1 row": lambda: Made(np.array([2.0])),
        "5 rows": lambda: Made(np.array([2, 1.5, 1.8, 2.2, 1.9])),
        "60 rows": lambda: Made(steady(60)),
    }[name]()


def _with(norms, value, rows):
    norms[list(rows)] = value
    return norms


def _two_levels():
    return lognormal(1, 0.3, 2000) * np.repeat([4.0, 1.0], 1000)


def _loss_scale():
    return Made(_with(lognormal(0.7, 0.3, 2000) * _loss_scales(2000), np.inf, [300, 700, 1500]))


def _one_tensor():
    norms = steady(500)
    rest = norms * np.sqrt(0.05 / 3)
    return Made(
        norms,
        {
            "tensor_norms": {
                "embed": rest,
                "head": norms * np.sqrt(0.95),
                "body": rest,
                "bias": rest,
            }
        },
    )


def _stuck():
    loss = _losses()
    loss[1200:] += 4
    return loss
