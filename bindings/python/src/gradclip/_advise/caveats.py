"""What the reader is warned of."""

from __future__ import annotations

from collections import Counter

import numpy as np

from .advice import Warned
from .asked import Asked
from .findings import Findings
from .levels import Jump
from .long import stride_of, taken


def warnings_of(found: Findings, asked: Asked) -> list[Warned]:
    """The warnings, the gravest first."""
    return [
        *_after_clipping(found),
        *_diverged(found),
        *_nonfinite(found),
        *_overflow(found),
        *_loss_scale(found),
        *_level(found),
        *_batch_size(found),
        *_zero(found),
        *_dominating(found),
        *_rows(found),
        *_short(found),
        *_short_pilot(found, asked),
        *_large(found),
        *_no_progress(found),
    ]


def _after_clipping(found: Findings) -> list[Warned]:
    if found.log.after_clipping:
        what = "by its name the column holds norms from after clipping"
    elif found.pile:
        what = f"{found.pile.share:.1%} of the norms pile up at {found.pile.at:.4g}, the largest"
    else:
        return []
    return [
        Warned(
            "after-clipping",
            f"{what}: log what clip_grad_norm_ returns, the norm from before clipping",
        )
    ]


def _diverged(found: Findings) -> list[Warned]:
    if found.divergence is None:
        return []
    return [Warned("diverged", found.divergence.words)]


def _nonfinite(found: Findings) -> list[Warned]:
    log = found.log
    bad = int(np.sum(~np.isfinite(log.norm)))
    if not bad and log.marked:
        text = f"{log.marked} mark(s) in the log say that a step was not finite"
        return [Warned("nonfinite", f"{text}: clipping cannot repair NaN, skip the step")]
    if not bad:
        return []
    text = f"{bad} norm(s) are not finite: clipping cannot repair NaN, skip the step"
    if log.skipped is not None and np.all(log.skipped[~np.isfinite(log.norm)] == 1):
        text = f"{bad} norm(s) are not finite: the steps were skipped"
    names = Counter(name for row, name in log.culprits.items() if not np.isfinite(log.norm[row]))
    if not names and log.tensors is not None:
        places = log.tensors.largest[~np.isfinite(log.norm)]
        names = Counter(log.tensors.names[int(i)] for i in places if i >= 0)
    if names:
        listed = ", ".join(f"{name!r} ({count} times)" for name, count in names.most_common(3))
        text += f"; it began in {listed}"
    return [Warned("nonfinite", text)]


def _overflow(found: Findings) -> list[Warned]:
    count = int(np.sum(np.isinf(found.log.norm)))
    if not count:
        return []
    return [
        Warned(
            "overflow",
            f"{count} norm(s) are infinite: gradients overflowed, or their norm did on its way "
            "(float16, or squares summed in float32)",
        )
    ]


def _loss_scale(found: Findings) -> list[Warned]:
    if found.scaling.scaled is None:
        return []
    return [
        Warned(
            "loss-scale",
            f"{found.scaling.scaled}: the norms are still multiplied by a loss scale. Unscale "
            "before clipping (scaler.unscale_, or grad_scale=), and log again",
        )
    ]


def _level(found: Findings) -> list[Warned]:
    jumps = found.scaling.jumps
    if not jumps or len(jumps) > 5:
        return []
    top = max(jumps, key=lambda jump: max(jump.factor, 1 / jump.factor))
    step = found.log.step_of(top.row)
    change = f"{top.factor:.2g} times" if top.factor > 1 else f"1/{1 / top.factor:.2g} of"
    text = f"at step {step} the level of the norm changes at once to {change} what it was"
    if _explained(found, top):
        return []
    loss = _loss_change(found, top)
    if loss is None:
        text += ": has the batch size or the loss's reduction changed?"
    elif abs(np.log(loss / top.factor)) < 0.35:
        text += f", and the loss to {loss:.2g} times: its reduction or weight has changed"
    else:
        text += ", but the loss does not: has the batch size changed?"
    return [Warned("level-change", text + " Ask for advice on each part by itself")]


def _explained(found: Findings, jump: Jump) -> bool:
    """Whether the learning rate, or a batch size that the log has, changes there too."""
    log = found.log
    around = slice(max(0, jump.row - 20), jump.row + 20)
    for column in (log.learning_rate, log.batch_size):
        if column is None:
            continue
        near = column[around][np.isfinite(column[around])]
        if len(near) and float(np.max(near)) > 1.2 * float(np.min(near)):
            return True
    return False


def _loss_change(found: Findings, jump: Jump) -> float | None:
    loss = found.log.loss
    if loss is None:
        return None
    before, after = loss[max(0, jump.row - 50) : jump.row], loss[jump.row : jump.row + 50]
    before, after = before[before > 0], after[after > 0]
    if len(before) < 5 or len(after) < 5:
        return None
    return float(np.median(after) / np.median(before))


def _batch_size(found: Findings) -> list[Warned]:
    size = found.log.batch_size
    if size is None:
        return []
    known = np.flatnonzero(np.isfinite(size))
    changes = known[1:][np.diff(size[known]) != 0]
    if not len(changes):
        return []
    first = int(changes[0])
    return [
        Warned(
            "batch-size",
            f"the batch size changes {len(changes)} time(s), first to {size[first]:g} at step "
            f"{found.log.step_of(first)}, and the level of the norm with it",
        )
    ]


def _zero(found: Findings) -> list[Warned]:
    if not found.zero:
        return []
    return [
        Warned(
            "zero",
            f"{found.zero} norm(s) are 0: no gradient has arrived (a detached loss, a masked "
            "batch, underflow in float16); left out of the percentiles",
        )
    ]


def _dominating(found: Findings) -> list[Warned]:
    tensors = found.log.tensors
    if tensors is None or len(tensors.names) < 3 or not len(found.settled):
        return []
    largest, share = taken(tensors.largest, found.settled), taken(tensors.share, found.settled)
    places, counts = np.unique(largest[(share > 0.9) & (largest >= 0)], return_counts=True)
    if not len(places) or np.max(counts) <= len(found.settled) / 2:
        return []
    name = tensors.names[int(places[np.argmax(counts)])]
    part = float(np.max(counts)) / len(found.settled)
    return [
        Warned(
            "dominating",
            f"{name!r} makes up over 90% of the norm in {part:.0%} of the rows: max_norm is about "
            "this one tensor, and scales the others down with it. Clip it by itself",
        )
    ]


def _rows(found: Findings) -> list[Warned]:
    kind = found.sampling.rows
    if kind == "every":
        return []
    if kind == "unknown":
        return [
            Warned(
                "rows-unknown",
                "the log does not say whether each step has its row: no p99.9, no first NaN, no "
                "choosers. If it has: --rows every",
            )
        ]
    cause = "averaged" if kind == "averaged" else "sampled"
    if kind == "averaged":
        text = "a mean hides single steps: they reach higher than its percentiles say"
    else:
        text = "most steps are not in the log, nor are most of the spikes"
    return [
        Warned(
            cause,
            f"the rows are {found.sampling.words}: {text}. No p99.9, no first NaN, no choosers. "
            "Log every step (gradclip.Monitor does)",
        )
    ]


def _short(found: Findings) -> list[Warned]:
    count = len(found.settled)
    if count >= 100 or not len(found.log) or found.divergence is not None:
        return []
    return [
        Warned(
            "too-short", f"{count} finite rows after the warm-up: p99 needs 100, p99.9 needs 1000"
        )
    ]


def _short_pilot(found: Findings, asked: Asked) -> list[Warned]:
    """Norms mostly fall, so that those of a run's beginning are too high for the rest of it."""
    log = found.log
    if asked.next_steps is None or not len(log):
        return []
    steps = log.step_of(len(log) - 1) - log.step_of(0) + 1
    if 3 * steps > asked.next_steps:
        return []
    return [
        Warned(
            "short-pilot",
            f"the log has {steps} steps, a third of the {asked.next_steps} to come at most: norms mostly "
            "fall, and then what is advised here is too high. A pilot should be as long as the run",
        )
    ]


def _large(found: Findings) -> list[Warned]:
    level = found.percentiles.get("p50", 0.0)
    if level < 1e4 or found.scaling.scaled:
        return []
    return [
        Warned(
            "large",
            f"norms around {level:.3g} are unusual: still multiplied by a loss scale, or a loss "
            "that is summed rather than averaged?",
        )
    ]


def _no_progress(found: Findings) -> list[Warned]:
    """The loss ends no lower than it began."""
    loss = found.log.loss
    if loss is None or found.divergence is not None:
        return []
    known = loss[:: stride_of(len(loss))]
    known = known[np.isfinite(known)]
    if len(known) < 100:
        return []
    size = max(10, len(known) // 20)
    begin, end = known[:size], known[-size:]
    # The standard error of a median is 1.25 times that of a mean.
    spread = [1.4826 * float(np.median(np.abs(part - np.median(part)))) for part in (begin, end)]
    error = 1.2533 * float(np.hypot(spread[0], spread[1])) / np.sqrt(size)
    if float(np.median(end)) < float(np.median(begin)) - 2 * error:
        return []
    return [
        Warned(
            "no-progress",
            f"the loss ends at {float(np.median(end)):.3g}, having begun at "
            f"{float(np.median(begin)):.3g}: norms of a run that learns nothing say little",
        )
    ]
