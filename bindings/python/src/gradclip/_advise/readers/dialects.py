"""What trainers print: how to find the norm, the step and the rest in a line of theirs."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..log import Rows

# Runs of blanks and of anything are bounded everywhere: a line may have 4 MiB, and what could
# begin at each of its places and reach to its end would take hours to look for.
_S = r"\s{0,9}"
_ANY = r".{0,500}"

NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?)(?![\w.])"


def field(names: str) -> re.Pattern[str]:
    """`name: 1.5`, `name=1.5`, `name 1.5`, `'name': '1.5'`: the number is group 1."""
    return re.compile(
        rf"(?<![\w.]){names}['\"]?{_S}[:=]?{_S}['\"]?(?:tensor\()?({NUMBER})", re.IGNORECASE
    )


NORM = field(
    r"(?:(?:total|global)[ _-])?"
    r"(?:grad(?:ient)?s?[ _-]?(?:(?:\d(?:\.\d)?|l2|total|global)[ _-])?norm(?:[ _-]total)?|gnorm)"
)
TOTAL_NORM = field(r"(?:total|global)[ _-]norm")
PLAIN_NORM = field(r"norm")
RATE = field(r"(?:base_)?(?:lr|learning[ _]rate)")
LOSS = field(r"(?:train[ _]|lm[ _]|training[ _]|total[ _])?loss")
SCALE = field(r"loss[ _]scale")
BATCH = field(r"global batch size")
STEP = field(r"(?:global[ _])?(?:step|iteration|iter|num_updates)")
NO_STEP = re.compile(r"(?!)")  # matches nothing


class Dialect(NamedTuple):
    """How one kind of program prints its lines.

    known: found in its lines, and in nobody else's. step: its step number (group 1), or
    the iteration, epoch and epoch's length as groups "iter", "epoch" and "length".
    """

    name: str
    known: re.Pattern[str]
    norm: re.Pattern[str]
    step: re.Pattern[str]
    hint: Rows | None  # what its rows are where they are not of every step


_EPOCH_AND_ITER = re.compile(
    rf"(?:Epoch{_S}(?:\(train\))?{_S}\[{_S}(?P<epoch>\d+)\]|Iter{_S}(?:\(train\))?{_S})"
    rf"\[{_S}(?P<iter>\d+)/{_S}(?P<length>\d+)\]"
)

DIALECTS = (
    Dialect(
        "mmengine",
        re.compile(r"(?:Epoch|Iter)\(train\)\s*\["),
        NORM,
        _EPOCH_AND_ITER,
        "averaged",
    ),
    Dialect(
        "mmdetection", re.compile(r"(?:Epoch|Iter) \[\s*\d+[]/]"), NORM, _EPOCH_AND_ITER, "averaged"
    ),
    Dialect(
        "Megatron",
        re.compile(rf"iteration\s{_S}\d+/{_S}\d+ \|{_ANY}grad norm:", re.I),
        NORM,
        re.compile(r"iteration\s+(\d+)/"),
        "sampled",
    ),
    Dialect(
        "fairseq",
        re.compile(r"gnorm['\"]?[=: ]"),
        field("gnorm"),
        field(r"num_updates"),
        "averaged",
    ),
    Dialect(
        "llm.c",
        re.compile(rf"step\s{_S}\d+/\d+ \| (?:train )?loss {_ANY}\| norm "),
        PLAIN_NORM,
        re.compile(r"step\s+(\d+)/"),
        "every",
    ),
    Dialect(
        "torchtitan",
        re.compile(r"step:\s*\d+\s+loss:\s*\S+\s+grad_norm:"),
        NORM,
        re.compile(r"step:\s*(\d+)"),
        "sampled",
    ),
    Dialect(
        "Hugging Face Trainer",
        re.compile(rf"\{{'loss': {_ANY}'grad_norm': "),
        NORM,
        NO_STEP,
        "sampled",
    ),
    Dialect("text", NORM, NORM, STEP, None),
    Dialect("text", TOTAL_NORM, TOTAL_NORM, STEP, None),
    Dialect(
        "text",
        re.compile(rf"\bnorm['\"]?{_S}[:= ]{_S}{NUMBER}", re.I),
        PLAIN_NORM,
        STEP,
        None,
    ),
)
