"""What trainers print: how to find the norm, the step and the rest in a line of theirs."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..log import Rows
from .columns import PART
from .numbers import NUMBER, REPR

# Runs of blanks and of anything are bounded everywhere: a line may have 4 MiB, and what could
# begin at each of its places and reach to its end would take hours to look for.
_S = r"\s{0,9}"
_ANY = r".{0,500}"


def field(names: str) -> re.Pattern[str]:
    """`name: 1.5`, `name=1.5`, `name 1.5`, `| name | 1.5`, `'name': '1.5'`: the number is group 1."""
    return re.compile(
        rf"(?<![\w.]){names}['\"]?(?:{_S}[:=]?|\s{{0,40}}\|){_S}['\"]?(?:{REPR})?({NUMBER})",
        re.IGNORECASE,
    )


_CLIP = r"clip(?:ping|ped)?"
_WHEN = rf"(?:before|after|pre|post)[ _-]?{_CLIP}|unclipped|clipped|raw"
# What stands before it may be part of the name (actor_grad_norm, pre-clip grad norm), but not
# of the name of a setting (max_grad_norm, clip_grad_norm).
_GRAD_NORM = (
    rf"(?<!max )(?<!maximum )(?<!clip )(?!max_|min_|clip_)(?:(?:{_WHEN})[ _-]|[a-z]\w{{0,30}}_)?"
    r"(?:(?:total|global)[ _-])?"
    r"(?:grad(?:ient)?s?[ _-]?(?:(?:\d(?:\.\d)?|l2|total|global)[ _-])?norm(?:[ _-]total)?|gnorm)"
    rf"(?:_{PART}(?!\w))?(?:[ _-]?\(?(?:{_WHEN})\)?)?"
)
NORM = field(_GRAD_NORM)
# A norm that is named and given, whether or not what is given can be read.
NAMED = re.compile(rf"(?<![\w.]){_GRAD_NORM}['\"]?{_S}[:=]{_S}[^\s{{\[][^\s|]{{0,40}}", re.I)
# What a program says in words where a step went wrong.
SENTENCE = re.compile(
    rf"{_GRAD_NORM}{_S} (?:is|was|became){_S} (?:not finite|non-?finite|nan|inf(?:inite|inity)?)\b",
    re.I,
)
# Behind the value an average, or a mark, that is not finite.
MARK = re.compile(r"\s{0,3}\((?:nan|[-+]?inf)\)", re.I)
EPOCH = field(r"epoch")
# The process that writes the line, where several write into one log.
RANK = re.compile(
    r"(?<!\w)(?:\[?rank[ _:=]{0,2}|\[default|\[\d{1,9},(?=\d{1,5}\]<std)|\((?=\d{1,4}/\d{1,4}\) ))"
    r"(\d{1,5})(?![\w.])",
    re.I,
)
LABEL = re.compile(r"^\s{0,5}(\d{1,5}): ")  # of srun --label: a rank, or any other number
# Lines that sum up an epoch among those of steps.
SUMMARY = re.compile(
    r"\|\s{0,9}(?:train|valid)\s{0,9}\|\s{0,9}(?:epoch\s|\{)|averaged stats"
    r"|epoch (?:average|mean|summary|results)",
    re.I,
)
TOTAL_NORM = field(r"(?:total|global)[ _-]norm")
PLAIN_NORM = field(r"(?<!grad )(?<!gradient )(?<!param )(?<!params )(?<!weight )(?<!layer )norm")
RATE = field(r"(?:base_)?(?:lr|learning[ _]rate)")
LOSS = field(r"(?:train[ _]|lm[ _]|training[ _]|total[ _])?loss")
SCALE = field(r"loss[ _]scale")
BATCH = field(r"global batch size")
NO_STEP = re.compile(r"(?!)")  # matches nothing
# i/N of a bar of progress: 5/300 [00:10<09:50, 1.2it/s, ...
BAR = re.compile(rf"(?<![\w/.])(\d+)/(?P<of>\d+){_S}\[\d+:\d\d")

# [e/E][i/N], [e][i/N], e [i/N (4%)], with epochs that count from 0.
_BRACKETS = re.compile(
    rf"(?:\[{_S}(?P<epoch0>\d+)(?:/\d+)?\]|\bTrain:{_S}(?P<epoch1>\d+)){_S}"
    rf"\[{_S}(?P<iter>\d+)/(?P<length>\d+)(?:{_S}\({_S}\d+%\))?\]"
)
# 1epoch:train:51-100batch: the last of them.
_BATCHES = re.compile(r"(?<!\d)\d{1,9}-(\d{1,9})batch")

# The number of a step in free text. Of several in a line the first of these is taken.
STEPS = (
    field(r"(?:(?:trainer/)?global[ _](?:step|iter(?:ation)?)|num_updates|total_timesteps)"),
    field(r"step"),
    field(r"(?:iteration|iter|update)"),
    _BRACKETS,
    BAR,
    _BATCHES,
    field(r"(?:batch(?:[ _]idx)?|it)"),
    re.compile(rf"\[{_S}(\d+)/\d+(?:{_S}\({_S}\d+%\))?\]"),
    re.compile(r"\] \[(\d+)\] "),  # of clu: logging_writer.py:48] [5] grad_norm=1.5
)


class Dialect(NamedTuple):
    """How one kind of program prints its lines.

    known: found in its lines, and in nobody else's. steps: its step number (group 1), or the
    iteration, epoch and epoch's length as groups; the first of them that a line has.
    """

    name: str
    known: re.Pattern[str]
    norm: re.Pattern[str]
    steps: tuple[re.Pattern[str], ...]
    hint: Rows | None  # what its rows are where they are not of every step
    above: bool = False  # whether the step stands in a line above the norm's
    epoch: re.Pattern[str] = NO_STEP  # where steps begin anew with each
    epoch_above: re.Pattern[str] = NO_STEP  # the same, in a line above


_EPOCH_AND_ITER = re.compile(
    rf"(?:Epoch{_S}(?:\(train\))?{_S}\[{_S}(?P<epoch>\d+)\]|Iter{_S}(?:\(train\))?{_S})"
    rf"\[{_S}(?P<iter>\d+)/{_S}(?P<length>\d+)\]"
)

# Keras 3 draws its bar of lines, Keras 2 of "=>.": 5/40 [===>....] - ETA: 1s - loss: 2.5
_KERAS_BAR = re.compile(rf"^[\b\s]{{0,200}}(\d+)/\d+ (?:\u2501{{1,99}}|\[[=>.]{{1,99}}\]) {_ANY} - ")

DIALECTS = (
    Dialect(
        "OLMo",
        re.compile(r"optim/total[ _]grad[ _]norm="),
        NORM,
        (re.compile(r"\[step=([\d,]+)[/,\]]"),),
        None,
        above=True,
    ),
    Dialect("Swin", re.compile(r"Train: \[\d+/\d+\]\[\d+/\d+\]"), NORM, (_BRACKETS,), "sampled"),
    Dialect(
        "MAE",
        re.compile(rf"Epoch:{_S}\[\d+\]{_S}\[{_S}\d+/\d+\]"),
        NORM,
        (_BRACKETS,),
        "averaged",
    ),
    Dialect(
        "mmengine",
        re.compile(r"(?:Epoch|Iter)\(train\)\s*\["),
        NORM,
        (_EPOCH_AND_ITER,),
        "averaged",
    ),
    Dialect(
        "mmdetection", re.compile(r"(?:Epoch|Iter) \[\s*\d+[]/]"), NORM, (_EPOCH_AND_ITER,), "averaged"
    ),
    Dialect(
        "Megatron",
        re.compile(rf"iteration\s{_S}\d+/{_S}\d+ \|{_ANY}grad norm:", re.I),
        NORM,
        (re.compile(r"iteration\s+(\d+)/"),),
        "sampled",
    ),
    Dialect(
        "fairseq",
        re.compile(rf"train_inner|num_updates{_ANY}gnorm['\"]?[=: ]"),
        field("gnorm"),
        (field(r"num_updates"),),
        "averaged",
    ),
    Dialect(
        "llm.c",
        re.compile(rf"step\s{_S}\d+/\d+ \| (?:train )?loss {_ANY}\| norm "),
        PLAIN_NORM,
        (re.compile(r"step\s+(\d+)/"),),
        "every",
    ),
    Dialect(
        "torchtitan",
        re.compile(r"step:\s*\d+\s+loss:\s*\S+\s+grad_norm:"),
        NORM,
        (re.compile(r"step:\s*(\d+)"),),
        "sampled",
    ),
    Dialect(
        "Hugging Face Trainer",
        re.compile(rf"\{{'loss': {_ANY}'grad_norm': "),
        NORM,
        (re.compile(r"'(?:global_step/max_steps|iteration)': '(\d{1,15})/"),),  # of ms-swift
        "sampled",
    ),
    Dialect(
        "Composer",
        re.compile(r"l2_norm/grad/global: "),
        field("l2_norm/grad/global"),
        (
            re.compile(
                r"(?:\[epoch=(?P<epoch>\d+)\])?\[batch=(?P<iter>\d+)/(?P<length>\d+)\]"
            ),
            re.compile(r"\[iteration=(\d+)/\d+\]"),
            re.compile(r"\[epoch=\d+\]\[batch=(\d+)\]"),
        ),
        "sampled",
        above=True,
    ),
    Dialect(
        "NeMo",
        re.compile(r"Training epoch \d+, iteration \d+/\d+ \|"),
        NORM,
        (field(r"global_step"), re.compile(r", iteration (\d+)/")),
        "averaged",
        epoch=EPOCH,
    ),
    Dialect(
        "Keras",
        _KERAS_BAR,
        NORM,
        (_KERAS_BAR,),
        "averaged",
        epoch_above=re.compile(r"^Epoch (\d+)/\d+$"),
    ),
    Dialect(
        "icefall's optimizer",
        re.compile(r"grad-norm quartiles "),
        re.compile(rf"grad-norm quartiles (?:\S{{1,30}} ){{2}}({NUMBER})", re.I),
        (),
        "averaged",
    ),
    Dialect(
        "ESPnet",
        re.compile(r"\depoch:\w+:\d+-\d+batch:"),
        NORM,
        (_BATCHES,),
        "averaged",
        epoch=re.compile(r"(?<!\d)(\d{1,9})epoch:"),
    ),
    Dialect(
        "Stable-Baselines",
        re.compile(r"^\|\s{1,40}\w{0,40}grad_norm\s{1,40}\|"),
        NORM,
        (field(r"total_timesteps"),),
        "averaged",
        above=True,
    ),
    Dialect("text", NORM, NORM, STEPS, None, epoch=EPOCH),
    Dialect("text", TOTAL_NORM, TOTAL_NORM, STEPS, None, epoch=EPOCH),
    Dialect(
        "text",
        PLAIN_NORM,
        PLAIN_NORM,
        STEPS,
        None,
        epoch=EPOCH,
    ),
)
