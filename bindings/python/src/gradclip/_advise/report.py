"""The report: one screen of text, at most 80 columns wide, that needs no colour."""

from __future__ import annotations

import textwrap

from .advice import Advice, Recommendation, Replayed, WhatIf
from .regimes import IN_WORDS, SCALED

WIDTH, HEIGHT = 80, 40
_LABEL = 11  # columns for what a line is about
_MUCH = 0.01  # of the rows: so many unread ones are told at once


def screen(advice: Advice) -> str:
    """The report as lines of text."""
    return "\n".join(lines(advice))


def lines(advice: Advice) -> list[str]:
    """The report, line by line. To fit on a screen it shows fewer rows of the what-if table,
    and then fewer warnings, which are counted."""
    for rows, warnings in (
        (11, 4),
        (10, 4),
        (9, 4),
        (8, 4),
        (7, 4),
        (7, 3),
        (6, 3),
        (6, 2),
        (6, 1),
    ):
        out = _lines(advice, rows, warnings)
        if len(out) <= HEIGHT:
            break
    return out


def _lines(advice: Advice, rows: int, warnings: int) -> list[str]:
    """With so many rows of the what-if table, and so many warnings."""
    out = _answer(advice)
    about = f"{advice.source}: {advice.format}, {_count(advice.rows, 'norm')}{_span(advice)}"
    out += [
        *labelled("Verdict", f"{advice.verdict.upper()}: {advice.because}"),
        *labelled("Log", about),
        *_limited(labelled("Taken", "; ".join(advice.taken) or "nothing"), 2),
        *labelled("Rows", advice.rows_are),
        *_limited(labelled("Note", "; ".join(advice.notes)) if advice.notes else [], 2),
    ]
    if advice.in_force is not None and advice.clipped is not None:
        out += labelled("Clipped", _in_force(advice.in_force, advice.clipped))
    if advice.skipped:
        steps = "step" if advice.skipped == 1 else "steps"
        out += labelled("Skipped", f"{advice.skipped} {steps}, by the chooser that was in force")
    if advice.compared_words and advice.compared != "lost":
        out += labelled("Compared", advice.compared_words)
    if advice.verdict not in ("empty", "after clipping"):
        out += _statistics(advice)
        out += _what_if(advice, rows)
        out += _choosers(advice.choosers)
        out += _recommended(advice)
    out += _warnings(advice, warnings)
    out += labelled("Next", advice.next)
    return out


def _answer(advice: Advice) -> list[str]:
    """The first lines: the value, what it does, what to do if it fails."""
    one = advice.answer
    if one is None:
        out = _limited(labelled("Answer", f"none from this log: {advice.next}"), 3)
        return [*out, *_unread(advice)]
    out = [*labelled("Answer", value_of(one)), *_unread(advice)]
    out += _limited(labelled("It does", one.reason), 2)
    if one.if_it_fails:
        out += _limited(labelled("If lost", one.if_it_fails), 2)
    return out


def _unread(advice: Advice) -> list[str]:
    """What could not be read, from one row in a hundred on."""
    if not advice.unread or advice.unread < _MUCH * (advice.unread + advice.rows):
        return []
    rows = _count(advice.unread + advice.rows, "row")
    text = f"{advice.unread} of {rows} could not be read: what follows is of the others (see Note)"
    return _limited(labelled("Unread", text), 2)


def value_of(one: Recommendation) -> str:
    """What to do, in a few words."""
    value = one.chooser or "do not clip"
    if one.max_norm is not None:
        value = f"max_norm {_short(one.max_norm)}"
    return value if one.learning_rate is None else f"{value}, learning rate {one.learning_rate:.4g}"


def _in_force(max_norm: float, clipped: float) -> str:
    if not clipped:
        return "no step of this run"
    return f"{_percent(clipped)} of the steps, max_norm {_short(max_norm)} was in force"


def labelled(label: str, text: str) -> list[str]:
    """Text that is about something, wrapped, with the lines after the first set in."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label.ljust(_LABEL),
        subsequent_indent=" " * _LABEL,
        break_long_words=True,
        break_on_hyphens=False,
    )


def _limited(given: list[str], most: int) -> list[str]:
    if len(given) <= most:
        return given
    return [*given[: most - 1], given[most - 1][: WIDTH - 4] + " ..."]


def _span(advice: Advice) -> str:
    if advice.first_step is None or advice.rows < 2:
        return ""
    return f", {_unit(advice)}s {advice.first_step} to {advice.last_step}"


def _unit(advice: Advice) -> str:
    """What first_step and its like count."""
    return "step" if advice.numbered or advice.every else "row"


def _statistics(advice: Advice) -> list[str]:
    out = labelled("Warm-up", advice.warmup_words)
    if advice.nan or advice.inf:
        first = ""
        if advice.first_nonfinite is not None:
            first = f"; the first at step {advice.first_nonfinite}"
        text = f"{advice.nan} NaN, {advice.inf} infinite{first}"
    else:
        text = "no row"
    if advice.marked:
        text += f"; {_count(advice.marked, 'mark')} beside the rows (see Note)"
    elif not (advice.nan or advice.inf):
        text = "none"
    out += labelled("Not finite", text)
    if advice.percentiles:
        out += _percentiles(advice.percentiles)
    spikes = "none"
    if advice.spikes:
        spikes = f"{advice.spikes} over 5 times the level around them, the largest "
        spikes += f"{_short(advice.spike_norm or 0.0)} at {_unit(advice)} {advice.spike_step}"
        if advice.spike_tensors:
            spikes += "; by " + ", ".join(
                f"{name} ({count})" for name, count in advice.spike_tensors[:3]
            )
    out += labelled("Drift", f"{advice.drift}. Spikes: {spikes}")
    return out


def _percentiles(values: dict[str, float]) -> list[str]:
    cells = [(name, _short(value)) for name, value in values.items()]
    widths = [max(map(len, cell)) for cell in cells]
    between = 2 if _LABEL + sum(widths) + 2 * (len(cells) - 1) <= WIDTH else 1
    rows = (
        (" " * between).join(cell[row].rjust(width) for cell, width in zip(cells, widths))
        for row in (0, 1)
    )
    return [label.ljust(_LABEL) + row for label, row in zip(("Norm", ""), rows)]


def _what_if(advice: Advice, most: int) -> list[str]:
    if not advice.what_if:
        return []
    rows = _most_telling(advice.what_if, most)
    out = ["What if    (on the same trajectory; a run that is clipped takes another)"]
    out.append("     max_norm            clipped  mean coef    worst  regime")
    for one in rows:
        name = "" if one.name == "constant" else one.name
        words = one.regime if one.regime != "normalised step" else "normalised step *"
        out.append(
            f"     {_short(one.max_norm):<9} {name:<9} {_percent(one.clipped):>7}  "
            f"{one.mean_coef:>9.3f}  {one.worst_coef:>7.2g}  {words}"
        )
    if any(one.regime == "normalised step" for one in rows):
        own_size = advice.optimizer not in (None, "sgd")
        out.append("     * " + (SCALED if own_size else IN_WORDS["normalised step"]))
    return out


def _most_telling(rows: list[WhatIf], most: int) -> list[WhatIf]:
    """Without the constants that say the least: first those far below what the run does,
    then those above all norms, then the others, and then the inner percentiles."""
    rows = list(rows)
    while len(rows) > most:
        constants = [i for i, one in enumerate(rows) if one.name == "constant"]
        deep = [i for i in constants if rows[i].clipped > 0.99 and _like_a_neighbour(rows, i)]
        idle = [i for i in constants if not rows[i].clipped and _like_a_neighbour(rows, i)]
        inner = [i for i, one in enumerate(rows) if one.name in ("p90", "p10", "p99.9")]
        if not (constants or inner):
            break
        rows.pop(deep[0] if deep else idle[-1] if idle else (constants or inner)[-1])
    return rows


def _like_a_neighbour(rows: list[WhatIf], place: int) -> bool:
    """Whether the row beside this one has its regime."""
    return any(
        rows[other].regime == rows[place].regime
        for other in (place - 1, place + 1)
        if 0 <= other < len(rows)
    )


def _choosers(replayed: list[Replayed]) -> list[str]:
    if not replayed:
        return []
    out = ["Choosers   replayed            clipped  mean coef    worst  skipped"]
    for one in replayed:
        out.append(
            f"     {one.name:<24} {_percent(one.clipped):>8}  {one.mean_coef:>9.3f}"
            f"  {one.worst_coef:>7.2g}  {_percent(one.skipped):>7}"
        )
    return out


def _recommended(advice: Advice) -> list[str]:
    if not advice.recommendations:
        return []
    rate = "unknown (--lr)"
    if advice.learning_rate is not None:
        rate = f"{advice.learning_rate:.4g} ({advice.learning_rate_words})"
    out = labelled("Advice", f"percentiles answer only for the log's own learning rate: {rate}")
    for one in advice.recommendations[1:]:
        out += textwrap.wrap(
            f"{one.intent}: {value_of(one)}; {one.reason}",
            WIDTH,
            initial_indent="  -> ",
            subsequent_indent="     ",
            break_on_hyphens=False,
        )
    return out


def _warnings(advice: Advice, most: int) -> list[str]:
    out = []
    for one in advice.warnings[:most]:
        out += textwrap.wrap(
            one.text,
            WIDTH,
            initial_indent="  !  ",
            subsequent_indent="     ",
            break_on_hyphens=False,
        )
    more = advice.warnings[most:]
    if more:
        causes = ", ".join(one.cause for one in more)
        out.append(f"  !  and {len(more)} more (--json): {causes}"[:WIDTH])
    return out


def _percent(part: float) -> str:
    """Of 1, so that neither what is not 0 nor what is not all looks so."""
    if part in (0.0, 1.0):
        return f"{part:.0%}"
    if part < 0.0001:
        return "<0.01%"
    if part > 0.999:
        return ">99.9%"
    return f"{part:.2%}" if part < 0.01 else f"{part:.1%}"


def _short(value: float) -> str:
    """To 3 digits, without an exponent where that is not longer."""
    if 1e3 <= value < 1e6:
        return f"{float(f'{value:.3g}'):.0f}"
    return f"{value:.3g}"


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
