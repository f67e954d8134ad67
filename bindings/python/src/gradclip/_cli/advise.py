"""Reads a log of gradient norms and says what it tells about max_norm: what the log is,
how the norms are distributed, what each max_norm would have done, what is recommended for
the run to come, and what to look at. Needs NumPy, and
matplotlib for --plot; where rich is installed, a terminal gets colours.

  gradclip advise trainer_state.json
  gradclip advise run.csv --lr 0.002 --next-lr 0.2 --optimizer sgd --plot advice.png
  cut -d, -f3 run.csv | gradclip advise -
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from .._advise.extra import require

HELP = "which max_norm? what a training log says"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "log",
        metavar="LOG",
        help="CSV, JSON lines, trainer_state.json, text, a TensorBoard event file or its "
        "directory; - for standard input",
    )
    reading = parser.add_argument_group("reading")
    reading.add_argument("--column", metavar="NAME", help="the norm's column, key or tag")
    reading.add_argument(
        "--pattern",
        metavar="REGEX",
        help="for text: group 1 (or 'norm') is the norm; groups step, lr and loss are taken too",
    )
    reading.add_argument(
        "--rows",
        choices=("every", "sampled", "averaged"),
        help="what a row stands for, if the log does not tell",
    )
    reading.add_argument(
        "--loss",
        metavar="NAME",
        help="the loss's column, key or tag; none: do not judge by the loss, it says nothing",
    )
    reading.add_argument(
        "--better", choices=("lower", "higher"), default="lower", help="which losses are better"
    )
    reading.add_argument("--warmup", type=int, metavar="STEPS", help="leave out so many steps")
    asking = parser.add_argument_group("what is asked")
    asking.add_argument("--lr", type=float, metavar="X", help="the log's learning rate")
    asking.add_argument("--next-lr", type=float, metavar="X", help="that of the run to come")
    asking.add_argument(
        "--optimizer", metavar="NAME", help="SGD, AdamW, adamw_torch, Lion, Muon, ..."
    )
    asking.add_argument(
        "--was",
        type=float,
        metavar="MAX_NORM",
        help="what the run that wrote the log was clipped with",
    )
    asking.add_argument(
        "--pilot", metavar="PILOT_LOG", help="the log of a run that trained: is this one lost?"
    )
    asking.add_argument(
        "--max-norm",
        type=float,
        action="append",
        default=[],
        metavar="X",
        help="another candidate for the what-if table; may be given several times",
    )
    asking.add_argument(
        "--next-steps", type=int, metavar="N", help="how many steps the run to come has"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="everything as one JSON object")
    output.add_argument("--plot", metavar="FILE", help="draw it (.png, .svg, .pdf)")


def run(arguments: argparse.Namespace) -> int:
    require("numpy", "gradclip advise")
    if arguments.plot:
        require("matplotlib", "--plot")
    from .._advise import advise_log
    from .._advise.readers import read

    with _progress(arguments.log) as progress:
        loss = None if arguments.loss == "none" else arguments.loss
        log = read(arguments.log, arguments.column, arguments.pattern, progress, loss)
        pilot = None if arguments.pilot is None else read(arguments.pilot, loss=loss)
    if arguments.loss == "none":
        log.loss = None
    advice = advise_log(
        log,
        learning_rate=arguments.lr,
        next_lr=arguments.next_lr,
        next_steps=arguments.next_steps,
        optimizer=arguments.optimizer,
        better=arguments.better,
        was=arguments.was,
        pilot=pilot,
        rows=arguments.rows,
        warmup=arguments.warmup,
        max_norms=arguments.max_norm,
    )
    if arguments.plot:
        from .._advise.plot import draw

        draw(log, advice, arguments.plot)
    if arguments.json:
        print(json.dumps(advice.to_dict(), indent=2, allow_nan=False))
    else:
        _show(str(advice))
    return 0 if advice.rows else 1


def _has_rich() -> bool:
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def _show(text: str) -> None:
    """Prints the report; on a terminal, where rich is installed and NO_COLOR is not set, with
    the labels in bold."""
    if not (sys.stdout.isatty() and _has_rich()):
        print(text)
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in text.split("\n"):
        shown = Text(line)
        shown.highlight_regex(r"^(?:[A-Z][a-z-]+(?: [a-z]+)?)(?=  )", "bold")
        shown.highlight_regex(r"^  !  .*", "yellow")
        shown.highlight_regex(r"(?<=^  -> )[^;]*", "bold green")
        shown.highlight_regex(r"^Verdict +[A-Z -]+:", "bold")
        console.print(shown)


@contextlib.contextmanager
def _progress(path: str) -> Iterator[Any]:
    """A bar on standard error while a large log is read, if that is a terminal and rich is there."""
    if not (sys.stderr.isatty() and _has_rich()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    total = None
    if os.path.isfile(path):
        total = os.path.getsize(path)
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda done: bar.update(task, completed=done)
