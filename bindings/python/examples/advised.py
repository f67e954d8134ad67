"""Is the adviser right? Fifteen tasks that it was not tuned on, with SGD and Adam(W).

    python advised.py --unclipped --logs build/advised     # finds the rates: no run clips
    python advised.py --logs build/advised                 # all the others; resumes
    python advised.py --anew data/advised.csv              # after the adviser has changed: what
                                                           # depends on it, the rest as in there
    python advised.py --table --logs build/advised         # the tables; trains nothing
    python advised.py --read data/advised.csv              # the same from the results kept

CRITERIA, written down before the first run that clips:

* A run's score is the mean of its last sixth of steps (advised_tasks.py says what is scored; lower
  is better); a run in which a norm or a loss is not finite ends there and has no score.
* Rates lie on a grid of factors of the root of 10. A run TRAINS if it keeps 95% of the progress of
  its seed's pilot, (start - score) / (start - pilot's score), or ends within 10% of the pilot's
  score. L is the smallest rate at which, judged by the pilots at L/10, at most 1 of 3 seeds trains
  without clipping. The pilots are the unclipped runs at L/10. (Added when two tasks had pilots
  that learnt nothing, before the adviser's runs: 2 of 3 pilots gain a tenth of their score.)
* A pair is a task with its optimizer at L, or at 10 L. A setting holds a pair if 2 of 3 seeds train.
* `advice` is what the adviser answers first, taken literally: Advice.max_norm, or the chooser that it
  names (neither: not clipped), at the learning rate that the answer is for, Advice.answer_lr, from the
  pilot's log, with the next rate and the optimizer's name; nothing by hand. Wanted: where a constant holds a pair, so
  does `advice`, in 85% of those pairs.
* `again` is what it answers first to the log of the `advice` run. Wanted: it loses no run that trained.
  `net` is its answer to the pilot's log where the rate stays. Wanted: it loses no pilot.
* Verdicts on the three pilots of a pair are equal in at least seven of eight tasks and optimizers.
* A run that does not train, stays finite and ends at less than half of the progress is LOST. Wanted: of
  them 90% are called lost with the pilot's log, 60% without; of those that train 1 in 50 at most.
* Regret: 0 for the best score of all that was run for the seed and pair, at any rate; 1 for no
  progress. It is cut off at 1. Cost: how many runs a setting needs, the pilot among them.

Opponents: no clipping at the rate, at a third of it (1/3.16) and with warm-up over a tenth of the
steps; constants from 0.01 to 30 (the best constant of a pair is found with hindsight); the pilot's p50,
p99 and p10; AutoClip(10) and ZClip; lr*p50/next_lr (rule), 3 and 10 times that; 3 times the rates'
ratio times the running median of the run's own norms, which needs no pilot (own); and 3 times the rule
with the pilot's running median up to the same step in the place of its median (by-step).
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Callable

import gradclip
import numpy as np

STEP = math.sqrt(10)
CONSTANTS = ("0.01", "0.03", "0.1", "0.3", "1", "3", "10", "30")
OPPONENTS = (
    *("none", "third", "warm-up"),
    *CONSTANTS,
    *("p10", "p50", "p99", "AutoClip", "ZClip", "rule", "3rule", "10rule", "own", "by-step"),
)
ADVISED = ("advice", "again")
SEEDS = (1, 2, 3)
TIMES = (10, 100)  # the pilot's rate: L, and 10 L


@dataclass(frozen=True)
class Log:
    norm: np.ndarray
    loss: np.ndarray
    score: np.ndarray
    coef: np.ndarray
    rate: np.ndarray
    max_norm: float

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.norm[-1]) and np.isfinite(self.loss[-1]))

    def final(self, steps: int) -> float:
        return float(np.mean(self.score[-(steps // 6) :])) if self.finite else math.nan


# ---------------------------------------------------------------------- runs --


def schedule(steps: int, scheduled: bool, warmed: bool) -> list[float]:
    """What the rate is multiplied by, step by step."""
    rise = [min(1.0, (at + 1) / (steps // 10)) if scheduled or warmed else 1.0 for at in range(steps)]
    if not scheduled:
        return rise
    return [r * (1 + math.cos(math.pi * at / steps)) / 2 for at, r in enumerate(rise)]


def train(task: Any, optimizer: str, seed: int, rate: float, limit: Any, warmed: bool) -> Log:
    """limit: a max_norm, or what says one for a norm (a chooser's feed)."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    parameters, step = task.make(seed)
    kinds: dict[str, Callable[..., Any]] = {
        "sgd": torch.optim.SGD,
        "momentum": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    optim = kinds[optimizer](parameters, lr=rate)
    rows = []
    for at, factor in enumerate(schedule(task.steps, task.scheduled, warmed)):
        optim.param_groups[0]["lr"] = rate * factor
        optim.zero_grad()
        loss, score = step(at)
        loss.backward()
        grads = [p.grad for p in parameters if p.grad is not None]
        norm = float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads))))
        coef = 1.0
        if math.isfinite(norm):
            coef = min(1.0, limit / (norm + 1e-6)) if isinstance(limit, float) else limit(norm)
        rows.append((norm, loss.item(), score, coef, rate * factor))
        if not (math.isfinite(norm) and math.isfinite(rows[-1][1])):
            break
        if coef < 1:
            torch._foreach_mul_(grads, coef)
        optim.step()
    columns = np.array(rows, dtype=np.float64).T
    norms, losses, scores, coefs, rates = columns
    max_norm = limit if isinstance(limit, float) else math.nan
    return Log(norms, losses, scores, coefs, rates, max_norm)


def own_median(times: float) -> Callable[[float], float]:
    """Clips to so many times the median of the run's norms so far, the first like any other."""
    seen: list[float] = []

    def coef(norm: float) -> float:
        seen.append(norm)
        return min(1.0, times * statistics.median(seen) / (norm + 1e-6))

    return coef


def by_step(pilot: Log, times: float) -> Callable[[float], float]:
    """Clips each step to so many times the running median of the pilot's norms up to that step."""
    limits = iter([times * statistics.median(pilot.norm[: at + 1].tolist()) for at in range(len(pilot.norm))])
    return lambda norm: min(1.0, next(limits) / (norm + 1e-6))


class MissingRun(Exception):
    """A run that the others depend on is not there, and none is to be made."""


@dataclass
class Runs:
    """The runs of a task with an optimizer, read where they are there, otherwise made."""

    task: Any
    optimizer: str
    folder: Path
    make: bool

    @property
    def name(self) -> str:
        return f"{self.task.name}-{self.optimizer}"

    def path(self, seed: int, place: int, setting: str) -> Path:
        return self.folder / f"{self.name}-seed{seed}-r{place}-{setting}.npz"

    def rate(self, place: int) -> float:
        return float(f"{self.task.lowest[self.optimizer] * STEP**place:.3g}")

    def run(
        self, seed: int, place: int, setting: str, limit: Any, rate: float | None = None
    ) -> Log | None:
        path = self.path(seed, place, setting)
        if not path.exists():
            if not self.make:
                return None
            rate = self.rate(place) if rate is None else rate
            log = train(self.task, self.optimizer, seed, rate, limit, setting == "warm-up")
            part = path.with_suffix(".part.npz")
            np.savez_compressed(part, **vars(log))
            part.rename(path)
        return _read(path)

    def pilot(self, seed: int) -> Log:
        log = self.run(seed, self.edge - 2, "none", math.inf)
        assert log is not None
        return log

    @cached_property
    def edge(self) -> int:
        """The place of L on the grid."""
        return self._find()

    def _find(self) -> int:
        for place in range(2, 14):
            trained = learnt = 0
            for seed in SEEDS:
                pilot = self.run(seed, place - 2, "none", math.inf)
                log = self.run(seed, place, "none", math.inf)
                if pilot is None or log is None:
                    raise MissingRun(f"{self.name}: not all unclipped runs are there")
                trained += trains(pilot, log, self.task.steps)
                learnt += learns(pilot, self.task.steps)
            if trained <= 1 and learnt >= 2:
                return place
        raise MissingRun(f"{self.name}: no rate at which it fails")


def learns(pilot: Log, steps: int) -> bool:
    """Whether a run gains a tenth: a pilot that does not judges nothing."""
    start = float(np.mean(pilot.score[:3]))
    return start - pilot.final(steps) >= 0.1 * abs(start)  # False for NaN


@lru_cache(maxsize=512)
def _read(path: Path) -> Log:
    with np.load(path) as file:
        norm, loss, score, coef, rate = (file[n] for n in ("norm", "loss", "score", "coef", "rate"))
        return Log(norm, loss, score, coef, rate, float(file["max_norm"]))


def progress(pilot: Log, log: Log, steps: int) -> float:
    """Of the pilot's, 1 is all; NaN where the run ended early."""
    start = float(np.mean(pilot.score[:3]))
    return (start - log.final(steps)) / max(start - pilot.final(steps), 1e-12)


def trains(pilot: Log, log: Log, steps: int) -> bool:
    if not (pilot.finite and log.finite) or len(log.norm) < steps:
        return False
    reached, wanted = log.final(steps), pilot.final(steps)
    if float(np.mean(pilot.score[:3])) <= wanted:
        return False  # a pilot that learns nothing judges nothing
    return progress(pilot, log, steps) >= 0.95 or reached <= wanted + 0.1 * abs(wanted)


# ------------------------------------------------------------------- setting --


def advise(runs: Runs, log: Log, next_lr: float | None) -> gradclip.Advice:
    """What the adviser answers to a log that holds what a trainer logs."""
    clipped: dict[str, Any] = {} if np.all(log.coef == 1) else {"clip_coef": log.coef}
    optimizer = "sgd" if runs.optimizer == "momentum" else runs.optimizer
    return gradclip.advise(
        log.norm, loss=log.loss, learning_rate=log.rate, next_lr=next_lr, optimizer=optimizer, **clipped
    )  # fmt: skip


def two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def limit_of(setting: str, pilot: Log, rate: float) -> Any:
    """The max_norm of an opponent, or a chooser."""
    if setting in ("none", "third", "warm-up"):
        return math.inf
    if setting.endswith("rule"):
        level = float(np.median(pilot.rate * pilot.norm)) / rate
        return two_digits(float(setting[:-4] or 1) * level)
    if setting[0] == "p":
        return two_digits(float(np.percentile(pilot.norm, float(setting[1:]))))
    if setting == "own":
        return own_median(3 * float(np.max(pilot.rate)) / rate)
    if setting == "by-step":
        return by_step(pilot, 3 * float(np.max(pilot.rate)) / rate)
    if setting in ("AutoClip", "ZClip"):
        chooser = gradclip.AutoClip(percentile=10) if setting == "AutoClip" else gradclip.ZClip()
        return lambda norm: chooser.feed(norm).clip_coef
    return float(setting)


def run_setting(runs: Runs, seed: int, times: int, setting: str) -> Log | None:
    place = runs.edge + (0 if times == 10 else 2)
    rate = runs.rate(place)
    pilot = runs.pilot(seed)
    if setting == "third":
        return runs.run(seed, place - 1, "none", math.inf)
    if setting == "net":
        limit = limit_by(advise(runs, pilot, None))
        return _fresh(runs, seed, runs.edge - 2, "net", limit, runs.rate(runs.edge - 2))
    if setting not in ADVISED:
        return runs.run(seed, place, setting, limit_of(setting, pilot, rate))
    if not runs.make:
        return runs.run(seed, place, setting, None)
    answer = advise(runs, pilot, rate)
    if setting == "again":
        before = run_setting(runs, seed, times, "advice")
        assert before is not None
        rate = answer.answer_lr or rate
        answer = advise(runs, before, None)
    return _fresh(runs, seed, place, setting, limit_by(answer), answer.answer_lr or rate)


def limit_by(advice: gradclip.Advice) -> Any:
    """The first answer: a max_norm, the chooser that it names, or no limit."""
    answer = advice.answer
    if answer is None or answer.chooser is None:
        return advice.max_norm or math.inf
    name, _, options = answer.chooser.rstrip(")").partition("(")
    chooser = getattr(gradclip, name)(**{k: float(v) for k, v in (one.split("=") for one in options.split(", "))})
    return lambda norm: chooser.feed(norm).clip_coef


def _fresh(
    runs: Runs, seed: int, place: int, setting: str, limit: Any, rate: float
) -> Log | None:
    """The run with this limit and rate; one that is there was made by an older adviser, if it
    has others, and is made again."""
    path = runs.path(seed, place, setting)
    if runs.make and path.exists():
        found, peak = _read(path), rate * max(schedule(runs.task.steps, runs.task.scheduled, False))
        same = math.isnan(found.max_norm) if callable(limit) else found.max_norm == limit
        if not same or not math.isclose(float(np.max(found.rate)), peak, rel_tol=1e-6):
            path.unlink()
            _read.cache_clear()
    return runs.run(seed, place, setting, limit, rate)


# --------------------------------------------------------------------- table --


@dataclass(frozen=True)
class Result:
    task: str
    optimizer: str
    seed: int
    times: int
    setting: str
    rate: float
    max_norm: float
    start: float
    pilot: float
    final: float
    steps: int
    trains: bool
    clipped: float


COLUMNS = tuple(Result.__dataclass_fields__)


def results_of(runs: Runs) -> list[Result]:
    out = []
    for seed in SEEDS:
        pilot = runs.pilot(seed)
        for times, setting in [(1, "pilot"), (1, "net"), *((t, s) for t in TIMES for s in (*OPPONENTS, *ADVISED))]:  # fmt: skip
            log = pilot if setting == "pilot" else run_setting(runs, seed, times, setting)
            if log is not None and learns(pilot, runs.task.steps):
                out.append(result_of(runs, seed, times, setting, pilot, log))
    return out


def result_of(runs: Runs, seed: int, times: int, setting: str, pilot: Log, log: Log) -> Result:
    steps = runs.task.steps
    start, reached = float(np.mean(pilot.score[:3])), pilot.final(steps)
    return Result(
        runs.task.name, runs.optimizer, seed, times, setting, float(np.max(log.rate)), log.max_norm, start, reached,
        log.final(steps), len(log.norm), trains(pilot, log, steps), float(np.mean(log.coef < 1)),
    )  # fmt: skip


def write_results(results: list[Result], path: Path) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in results:
            values = [getattr(one, name) for name in COLUMNS]
            writer.writerow([int(v) if isinstance(v, bool) else f"{v:.4g}" if isinstance(v, float) else v for v in values])  # fmt: skip


def read_results(path: Path) -> list[Result]:
    with open(path, newline="") as file:
        return [_result(row) for row in csv.DictReader(file)]


def _result(row: dict[str, str]) -> Result:
    cells: dict[str, Any] = {}
    for name in COLUMNS:
        if name in ("task", "optimizer", "setting"):
            cells[name] = row[name]
        elif name in ("seed", "times", "steps"):
            cells[name] = int(row[name])
        else:
            cells[name] = row[name] == "1" if name == "trains" else float(row[name])
    return Result(**cells)


def anew(known: list[Result], folder: Path, only: list[str] | None) -> list[Result]:
    """The results with the runs that follow the adviser made anew, and with opponents that are missing, of the
    tasks that are in `only`. L and the other opponents are as they were; a pilot that comes out otherwise
    than it did is told."""
    from advised_tasks import TASKS

    results = {(o.task, o.optimizer, o.seed, o.times, o.setting): o for o in known}
    wanted = [key for key in results if key[4] in ("pilot", "net", *ADVISED)]
    wanted += [(*key[:4], other) for key in results if key[4] == "none" for other in OPPONENTS
               if (*key[:4], other) not in results]  # fmt: skip
    made: dict[tuple[str, str], Runs] = {}
    for key in wanted:
        task, optimizer, seed, times, setting = key
        if only and task not in only:
            continue
        runs = made.get((task, optimizer))
        if runs is None:
            runs = made[task, optimizer] = Runs(TASKS[task], optimizer, folder, True)
            peak = max(schedule(runs.task.steps, runs.task.scheduled, False))
            lowest = next(o.rate for o in known if (o.task, o.optimizer, o.setting) == (task, optimizer, "pilot"))
            runs.edge = round(2 * math.log10(lowest / peak / runs.rate(0))) + 2
            print(f"{runs.name}: L = {runs.rate(runs.edge):.3g}", flush=True)
        pilot = runs.pilot(seed)
        log = pilot if setting == "pilot" else run_setting(runs, seed, times, setting)
        assert log is not None
        was = results.get(key)
        now = results[key] = result_of(runs, seed, times, setting, pilot, log)
        if was and setting == "pilot" and not math.isclose(now.final, was.final, rel_tol=1e-3):
            print(f"{runs.name}, seed {seed}: the pilot ends at {now.final:.4g}, not {was.final:.4g}")
    return list(results.values())


COST = {"none": 1, "third": 1, "warm-up": 1, "own": 1, "AutoClip": 1, "ZClip": 1, "again": 3}


class Tables:
    def __init__(self, results: list[Result]) -> None:
        self.results = results
        self.by_pair: dict[tuple[str, str, int], dict[str, list[Result]]] = {}
        for one in results:
            if one.times > 1:
                pair = self.by_pair.setdefault((one.task, one.optimizer, one.times), {})
                pair.setdefault(one.setting, []).append(one)
        # Of a pair that was not run with every constant nothing can be said.
        self.by_pair = {
            pair: by for pair, by in self.by_pair.items()
            if all(len(by.get(one, [])) == len(SEEDS) for one in ("none", *CONSTANTS, "3rule"))
        }  # fmt: skip

    def held(self, pair: tuple[str, str, int], setting: str) -> bool:
        return sum(one.trains for one in self.by_pair[pair].get(setting, [])) >= 2

    def could(self) -> list[tuple[str, str, int]]:
        """The pairs that a constant holds, of those on which the adviser was run."""
        return [p for p, by in self.by_pair.items()
                if len(by.get("advice", [])) == len(SEEDS) and any(self.held(p, one) for one in CONSTANTS)]  # fmt: skip

    def best_constant(self, pair: tuple[str, str, int]) -> str:
        def rank(setting: str) -> tuple[int, float]:
            found = self.by_pair[pair].get(setting, [])
            return sum(one.trains for one in found), -sum(self.regret(one) for one in found)

        return max(CONSTANTS, key=rank)

    def regret(self, one: Result) -> float:
        all_of = [r.final for r in self.results
                  if (r.task, r.optimizer, r.seed) == (one.task, one.optimizer, one.seed) and r.times in (1, one.times)
                  and math.isfinite(r.final)]  # fmt: skip
        if not math.isfinite(one.final):
            return 1.0
        best = min(all_of)
        return min(1.0, max(0.0, (one.final - best) / max(one.start - best, 1e-12)))

    def summary(self) -> str:
        lines = ["| setting | runs | SGD at L | regret | SGD at 10 L | regret | Adam at L | regret | Adam at 10 L | regret |",
                 "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for setting in (*OPPONENTS, "best constant", *ADVISED):
            cells = [setting, str(COST.get(setting, len(CONSTANTS) if setting == "best constant" else 1 if setting in CONSTANTS else 2))]  # fmt: skip
            for adam in (False, True):
                for times in TIMES:
                    found = [one for pair, by in self.by_pair.items()
                             if pair[1].startswith("adam") == adam and pair[2] == times
                             for one in by.get(self.best_constant(pair) if setting == "best constant" else setting, [])]  # fmt: skip
                    cells.append(f"{sum(one.trains for one in found)} of {len(found)}")
                    cells.append(f"{statistics.fmean(map(self.regret, found)):.2f}" if found else "")  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
        return "\n".join(lines)

    def pairs(self) -> str:
        """Every pair: how many seeds train, with the median max_norm of the answer."""
        lines = ["| task | optimizer | rate | none | third | warm-up | best constant | rule | 3rule | advice | again |",
                 "|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
        for pair, by in self.by_pair.items():
            best = self.best_constant(pair)
            count = {s: sum(one.trains for one in found) for s, found in by.items()}
            rate = by["none"][0].rate
            cells = [*(str(count.get(s, "")) for s in ("none", "third", "warm-up")), f"{count[best]} ({best})",
                     *(str(count.get(s, "")) for s in ("rule", "3rule", "advice", "again"))]  # fmt: skip
            place = "L" if pair[2] == 10 else "10 L"
            lines.append(f"| {pair[0]} | {pair[1]} | {place} = {rate:.3g} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def wanted(self) -> str:
        lines = []
        for who, adam in (("SGD", (False,)), ("Adam(W)", (True,)), ("all", (False, True))):
            could = [p for p in self.could() if p[1].startswith("adam") in adam]
            did = [p for p in could if self.held(p, "advice")]
            missed = ", ".join("/".join(map(str, p)) for p in could if p not in did)
            lines.append(f"{who}: the advice holds {len(did)} of the {len(could)} pairs that a constant holds"
                         + (f" (not {missed})" if missed else ""))  # fmt: skip
        trained = {(o.task, o.optimizer, o.seed, o.times) for o in self.results if o.setting == "advice" and o.trains}
        lost = [o for o in self.results if o.setting == "again" and not o.trains
                and (o.task, o.optimizer, o.seed, o.times) in trained]  # fmt: skip
        net = [o for o in self.results if o.setting == "net" and not o.trains]
        lines.append(f"advising again loses {len(lost)} of {len(trained)} runs that trained; "
                     f"the safety net loses {len(net)} of {sum(o.setting == 'net' for o in self.results)} pilots")  # fmt: skip
        return "\n".join(lines)


Key = tuple[str, int, int, str]  # task and optimizer, seed, times, setting
KEPT = ("none", "p99", "10rule", "1")


def logs_of(every: list[Runs]) -> dict[Key, Log]:
    """The pilots and the runs that adviser's verdicts are judged on."""
    out = {}
    for runs in every:
        for seed in SEEDS:
            out[runs.name, seed, 1, "pilot"] = runs.pilot(seed)
            for times, setting in ((t, s) for t in TIMES for s in KEPT):
                log = run_setting(runs, seed, times, setting)
                if log is not None:
                    out[runs.name, seed, times, setting] = log
    return out


def keep(logs: dict[Key, Log], path: Path) -> None:
    """Norms, scores, and losses where they are something else, to 10 bits of mantissa."""

    def short(*columns: np.ndarray) -> np.ndarray:
        bits = np.stack(columns).astype(np.float32).view(np.uint32)
        return (bits + np.uint32(0x1000) & np.uint32(0xFFFFE000)).view(np.float32)

    def columns(log: Log) -> list[np.ndarray]:
        same = np.array_equal(log.loss, log.score)
        return [log.norm, log.score] if same else [log.norm, log.score, log.loss]

    with np.errstate(over="ignore"):
        kept: dict[str, Any] = {" ".join(map(str, k)): short(*columns(log)) for k, log in logs.items()}
    np.savez_compressed(path, **kept)


def read_kept(path: Path) -> dict[Key, Log]:
    out = {}
    with np.load(path) as file:
        for name in file:
            pair, seed, times, setting = name.split(" ")
            norm, score, *other = file[name].astype(float)
            loss = other[0] if other else score
            ones = np.ones(len(norm))
            out[pair, int(seed), int(times), setting] = Log(norm, loss, score, ones, ones, math.nan)
    return out


@dataclass(frozen=True)
class Recognised:
    """Of runs that stay finite: how many are lost (or trained), how many of them are called lost
    beside their pilot, and alone. apart: where the pilots of the seeds get different verdicts."""

    lost: tuple[int, int, int]
    trained: tuple[int, int, int]
    pairs: int
    apart: list[str]
    missed: list[Key]


def recognition(logs: dict[Key, Log], steps: int = 300) -> Recognised:
    lost, trained, missed = [0, 0, 0], [0, 0, 0], []
    for (pair, seed, times, setting), log in logs.items():
        pilot = logs[pair, seed, 1, "pilot"]
        does = trains(pilot, log, steps)
        if not log.finite or (not does and progress(pilot, log, steps) >= 0.5):
            continue
        alone, beside = looks_lost(log, None), looks_lost(log, pilot)
        into = trained if does else lost
        into[0], into[1], into[2] = into[0] + 1, into[1] + beside, into[2] + alone
        if does in (alone, beside):
            missed.append((pair, seed, times, setting))
    verdicts: dict[str, set[str]] = {}
    for (pair, _, _, setting), log in logs.items():
        if setting == "pilot":
            verdicts.setdefault(pair, set()).add(gradclip.advise(log.norm, loss=log.loss).verdict)
    apart = [f"{pair}: {', '.join(sorted(found))}" for pair, found in verdicts.items() if len(found) > 1]
    return Recognised(tuple(lost), tuple(trained), len(verdicts), apart, missed)  # type: ignore[arg-type]


def looks_lost(log: Log, pilot: Log | None) -> bool:
    """By the score, which a trainer logs, too, where it is not the loss."""
    beside = None if pilot is None else {"norms": pilot.norm, "loss": pilot.score}
    return gradclip.advise(log.norm, loss=log.score, pilot=beside).lost


def words(found: Recognised) -> str:
    lost, trained = found.lost, found.trained
    return (
        f"verdicts on the pilots differ between seeds in {len(found.apart)} of {found.pairs} "
        f"({'; '.join(found.apart)})\n"
        f"lost and finite: {lost[0]}; called lost {lost[1]} with the pilot's log, {lost[2]} without\n"
        f"trained: {trained[0]}; called lost {trained[1]} with the pilot's log, {trained[2]} without"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--logs", type=Path, default=Path("build/advised"))
    parser.add_argument("--task", nargs="+", help="only these")
    parser.add_argument("--unclipped", action="store_true", help="only find the rates")
    parser.add_argument("--opponents", action="store_true", help="only what needs no advice")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--keep", type=Path, help="write the logs that verdicts are judged on, as npz")
    parser.add_argument("--kept", type=Path, help="judge the verdicts on the logs of such a file, and end")
    parser.add_argument("--anew", type=Path, help="of that CSV make anew what depends on the adviser")
    parser.add_argument("--results", type=Path, help="write all results there, as CSV")
    parser.add_argument("--read", type=Path, help="print the tables of that CSV, and end")
    arguments = parser.parse_args()
    if arguments.kept:
        print(words(recognition(read_kept(arguments.kept))))
        return
    if arguments.read:
        results = read_results(arguments.read)
    elif arguments.anew:
        arguments.logs.mkdir(parents=True, exist_ok=True)
        results = anew(read_results(arguments.anew), arguments.logs, arguments.task)
    else:
        from advised_tasks import TASKS

        arguments.logs.mkdir(parents=True, exist_ok=True)
        every = [
            Runs(task, optimizer, arguments.logs, not arguments.table)
            for name, task in TASKS.items()
            if not arguments.task or name in arguments.task
            for optimizer in task.lowest
        ]
        results = []
        for runs in list(every):
            try:
                print(f"{runs.name}: L = {runs.rate(runs.edge):.3g}", flush=True)
            except MissingRun as missing:
                print(missing)
                every.remove(runs)
                continue
            if arguments.unclipped:
                continue
            if arguments.opponents:
                for seed in SEEDS:
                    for times in TIMES:
                        for setting in OPPONENTS:
                            run_setting(runs, seed, times, setting)
                continue
            results += results_of(runs)
        if arguments.unclipped or arguments.opponents:
            return
        if arguments.keep:
            keep(logs_of(every), arguments.keep)
    if arguments.results:
        write_results(results, arguments.results)
    tables = Tables(results)
    print(tables.pairs(), tables.summary(), tables.wanted(), sep="\n\n")


if __name__ == "__main__":
    main()
