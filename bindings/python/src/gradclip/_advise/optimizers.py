"""The optimizers that people use, by what clipping does to their steps."""

from __future__ import annotations

import re

from .._native.errors import InvalidArgumentError

# A name belongs to the first family of which it holds a word: "adamw_torch_fused",
# "DeepSpeedCPUAdam", "paged_lion_8bit".
_WORDS = {
    "muon": ("muon",),
    "lion": ("lion", "signsgd", "signum", "tiger"),
    "adam": (
        "adam", "adafactor", "adagrad", "adadelta", "adan", "adabelief", "rmsprop", "lamb", "lars",
        "sophia", "shampoo", "soap", "adema", "ranger", "grokfast", "came", "prodigy", "novograd",
    ),
    "sgd": ("sgd", "momentum", "nesterov"),
}  # fmt: skip
# As they are called in the report.
CALLED = {"sgd": "SGD", "adam": "Adam and its relatives", "lion": "Lion", "muon": "Muon"}


def family_of(name: str | None) -> str | None:
    """ "sgd", "adam", "lion" or "muon"; None for None.

    Raises:
        InvalidArgumentError: a name that is not known.
    """
    if name is None:
        return None
    plain = re.sub(r"[^a-z]", "", name.lower()) if isinstance(name, str) else ""
    for family, words in _WORDS.items():
        if any(word in plain for word in words):
            return family
    raise InvalidArgumentError(
        f"optimizer must be the name of an optimizer: SGD, AdamW, Lion, Muon, ... (got {name!r})"
    )


def steps_grow_with_norms(family: str | None) -> bool:
    """Whether a step is as long as its gradient: SGD's. The others divide by the gradients'
    own size or take their signs."""
    return family in (None, "sgd")
