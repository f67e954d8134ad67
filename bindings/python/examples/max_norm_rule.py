"""Puts a rule for max_norm to the test: does it keep a larger learning rate trainable?

    python max_norm_rule.py --task mlp cnn transformer --seeds 1 2 3 4
    python max_norm_rule.py --task char_rnn --char-rnn build/char_rnn/char_rnn
    python max_norm_rule.py --task fcos --seeds 1 2          # one to two minutes a run

For SGD what must stay bounded is the length of a step, learning_rate * norm. A pilot
run at a small rate has steps of about rate * p50 (p50: the median of its norms), and so
the rule for a larger rate is

    max_norm = pilot's rate * p50 / larger rate

For each task and seed there is a pilot without clipping, and then runs at 5, 20 and 100
times its rate: without clipping, with the rule, with 3 and 10 times what it says, with the
pilot's p50 and p99, and with constants that are in use. A run "trains" if it gets as far
as the pilot: the mean loss of its last sixth of steps is at most 1.15 times the pilot's.
A run ends early when a gradient is not finite.

Every run leaves its log in --logs, and is not done again while that is there. --table
prints the tables of what is there, and trains nothing; --results FILE writes all results
as CSV, and --read FILE prints the tables of such a file.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from max_norm_tasks import Task, tasks

TIMES = (5, 20, 100)  # the pilot's rate
CONSTANTS = (0.1, 1.0, 10.0, 35.0)
SETTINGS = ("none", "rule", "3rule", "10rule", "p50", "p99", *map("{:g}".format, CONSTANTS))
AS_FAR = 1.15


# ---------------------------------------------------------------------- runs --


@dataclass(frozen=True)
class Log:
    """What a log says: finite norms, the losses, and whether the run ended early."""

    norms: list[float]
    losses: list[float]
    coefs: list[float]
    nonfinite_step: int | None

    @classmethod
    def read(cls, path: Path) -> Log:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
        norm = "grad_norm" if "grad_norm" in rows[0] else "total_norm"  # that is char_rnn's
        norms = [float(row[norm]) for row in rows]
        wrong = [i + 1 for i, value in enumerate(norms) if not math.isfinite(value)]
        return cls(
            [value for value in norms if math.isfinite(value)],
            [float(row["loss"]) for row in rows],
            [float(row["clip_coef"]) for row in rows],
            wrong[0] if wrong else None,
        )

    def percentile(self, p: float) -> float:
        """Interpolated as numpy.percentile does."""
        ordered = sorted(self.norms)
        at = p / 100 * (len(ordered) - 1)
        low = math.floor(at)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (at - low) * (ordered[high] - ordered[low])

    def final_loss(self, steps: int) -> float:
        """The mean of the last sixth of the steps; NaN if the run ended before."""
        if self.nonfinite_step is not None:
            return math.nan
        return statistics.fmean(self.losses[-(steps // 6) :])


def two_digits(value: float) -> float:
    """As one would write it on a command line."""
    return float(f"{value:.2g}")


def max_norm_of(setting: str, pilot: Log, pilot_rate: float, rate: float) -> float:
    if setting == "none":
        return math.inf
    if setting.endswith("rule"):
        times = float(setting[: -len("rule")] or 1)
        return two_digits(times * pilot_rate * pilot.percentile(50) / rate)
    if setting in ("p50", "p99"):
        return two_digits(pilot.percentile(float(setting[1:])))
    return float(setting)


def log_of(logs: Path, task: Task, seed: int, times: int, setting: str) -> Path:
    return logs / f"{task.name}-seed{seed}-x{times}-{setting}.csv"


def train_all(task: Task, seed: int, all_times: list[int], settings: list[str], logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    pilot_log = log_of(logs, task, seed, 1, "none")
    train(task, seed, task.pilot_rate, math.inf, pilot_log)
    pilot = Log.read(pilot_log)
    for times in all_times:
        for setting in settings:
            rate = times * task.pilot_rate
            max_norm = max_norm_of(setting, pilot, task.pilot_rate, rate)
            train(task, seed, rate, max_norm, log_of(logs, task, seed, times, setting))


def train(task: Task, seed: int, rate: float, max_norm: float, log: Path) -> None:
    if log.exists():
        return
    part = log.with_suffix(".part.csv")
    part.unlink(missing_ok=True)
    task.train(seed, rate, max_norm, task.steps, part)
    part.rename(log)
    read = Log.read(log)
    ended = f"not finite at step {read.nonfinite_step}" if read.nonfinite_step else "done"
    print(
        f"{log.stem}: max_norm {max_norm:g}, {ended}, {read.final_loss(task.steps):.3f}", flush=True
    )


# --------------------------------------------------------------------- table --


@dataclass(frozen=True)
class Result:
    task: str
    seed: int
    times: int
    learning_rate: float
    setting: str
    max_norm: float
    pilot_loss: float
    final_loss: float
    nonfinite_step: int | None
    clipped: float

    @property
    def trains(self) -> bool:
        return self.final_loss <= AS_FAR * self.pilot_loss  # False for NaN


COLUMNS = tuple(Result.__dataclass_fields__)


def results_of(task: Task, seed: int, logs: Path) -> list[Result]:
    pilot_log = log_of(logs, task, seed, 1, "none")
    if not pilot_log.exists():
        return []
    pilot = Log.read(pilot_log)
    results = []
    for times, setting in [(1, "none"), *((t, s) for t in TIMES for s in SETTINGS)]:
        path = log_of(logs, task, seed, times, setting)
        if not path.exists():
            continue
        log = Log.read(path)
        rate = times * task.pilot_rate
        results.append(
            Result(
                task.name,
                seed,
                times,
                rate,
                setting,
                max_norm_of(setting, pilot, task.pilot_rate, rate),
                float(f"{pilot.final_loss(task.steps):.6g}"),
                float(f"{log.final_loss(task.steps):.6g}"),
                log.nonfinite_step,
                round(sum(coef < 1 for coef in log.coefs) / len(log.coefs), 4),
            )
        )
    return results


def write_results(results: list[Result], path: Path) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for result in results:
            values = [getattr(result, name) for name in COLUMNS]
            writer.writerow(
                ["" if v is None else f"{v:g}" if isinstance(v, float) else v for v in values]
            )


def read_results(path: Path) -> list[Result]:
    with open(path, newline="") as file:
        return [
            Result(
                row["task"],
                int(row["seed"]),
                int(row["times"]),
                float(row["learning_rate"]),
                row["setting"],
                float(row["max_norm"]),
                float(row["pilot_loss"]),
                float(row["final_loss"]),
                int(row["nonfinite_step"]) if row["nonfinite_step"] else None,
                float(row["clipped"]),
            )
            for row in csv.DictReader(file)
        ]


def summary(results: list[Result]) -> str:
    """How many runs train, by task, rate and setting, as Markdown. The last line counts
    those runs only that are lost without clipping."""

    def line(name: str, rate: str, runs: list[Result]) -> str:
        cells = []
        for setting in SETTINGS:
            found = [run for run in runs if run.setting == setting]
            cells.append(f"{sum(run.trains for run in found)} of {len(found)}" if found else "")
        return f"| {name} | {rate} | {' | '.join(cells)} |"

    def same(run: Result) -> tuple[str, int, int]:
        return run.task, run.seed, run.times

    larger = [run for run in results if run.times > 1]
    lost = {same(run) for run in larger if run.setting == "none" and not run.trains}
    lines = [
        f"| task | rate | {' | '.join(SETTINGS)} |",
        f"|---|---|{'---|' * len(SETTINGS)}",
    ]
    for task in dict.fromkeys(run.task for run in larger):
        for times in TIMES:
            runs = [run for run in larger if (run.task, run.times) == (task, times)]
            if runs:
                lines.append(line(task, f"{times} times", runs))
    lines.append(line("**all**", "", larger))
    lines.append(line("**lost unclipped**", "", [run for run in larger if same(run) in lost]))
    return "\n".join(lines)


def details(results: list[Result], task: str) -> str:
    """Every run of a task, as Markdown: final losses, in bold those of runs that train."""
    of_task = [result for result in results if result.task == task]
    larger = {result.setting for result in of_task if result.times > 1}
    settings = [setting for setting in SETTINGS if setting in larger]
    lines = [
        f"| seed | rate | {' | '.join(settings)} | pilot |",
        f"|---|---|{'---|' * len(settings)}---|",
    ]
    for seed in sorted({result.seed for result in of_task}):
        for times in TIMES:
            found = {r.setting: r for r in of_task if (r.seed, r.times) == (seed, times)}
            if not found:
                continue
            cells = [_cell(found.get(setting)) for setting in settings]
            pilot = next(iter(found.values())).pilot_loss
            rate = next(iter(found.values())).learning_rate
            lines.append(f"| {seed} | {rate:g} | {' | '.join(cells)} | {pilot:.2f} |")
    return "\n".join(lines)


def print_tables(results: list[Result]) -> None:
    for task in dict.fromkeys(result.task for result in results):
        print(f"{task}: final loss (max_norm); bold: at most {AS_FAR} times the pilot's\n")
        print(details(results, task), end="\n\n")
    print(f"Runs that train:\n\n{summary(results)}")


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    if result.nonfinite_step is not None:
        return f"NaN at {result.nonfinite_step}"
    loss = f"{result.final_loss:.3g}" if result.final_loss >= 100 else f"{result.final_loss:.2f}"
    loss = f"**{loss}**" if result.trains else loss
    if result.setting == "none":
        return loss
    limit = f" ({result.max_norm:g})" if not result.setting.replace(".", "").isdigit() else ""
    return loss + limit


def main() -> None:
    known = tasks("char_rnn")
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", nargs="+", choices=known, default=list(known))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--times", nargs="+", type=int, choices=TIMES, default=TIMES)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--logs", type=Path, default=Path("build/max_norm"))
    parser.add_argument("--char-rnn", default="build/char_rnn/char_rnn", help="the program")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--results", type=Path, help="write all results there, as CSV")
    parser.add_argument("--read", type=Path, help="print the tables of that CSV, and end")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    if arguments.read:
        print_tables(read_results(arguments.read))
        return
    chosen = [task for name, task in tasks(arguments.char_rnn).items() if name in arguments.task]
    results = []
    for task in chosen:
        for seed in arguments.seeds:
            if not arguments.table:
                train_all(task, seed, arguments.times, arguments.settings, arguments.logs)
            results += results_of(task, seed, arguments.logs)
    if arguments.results:
        write_results(results, arguments.results)
    print_tables(results)


if __name__ == "__main__":
    main()
