"""What inspect() returns: a report on every gradient, and the table of them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, overload

from .._norm import NonFinite

_MOST_NAMED = 10  # gradients in a line of names, and lines of what is not finite
_MOST_ROWS = 40  # of a table that is printed


class Report(NamedTuple):
    """What inspect() tells of one gradient.

    norm, max_abs and mean are of its finite elements, and of gradient / grad_scale.

    Attributes:
        tensor: its place in the list that was given.
        name: its name, if names are known.
        shape, dtype: of the array; None if None was given in a gradient's place, of
            which all numbers below are 0.
        length: how many elements it has.
        norm: its norm.
        share: of the total norm: norm^p / (sum of all norm^p), so that shares add
            up to 1; for norm_type infinity norm / (largest norm).
        max_abs: the largest magnitude.
        mean: the mean.
        nan_count, positive_infinity_count, negative_infinity_count: how many
            elements are not finite.
        zero_count: how many are 0 or -0.
        subnormal_count: how many are smaller than the smallest normal number of
            the dtype, and not 0: they have lost digits.
        first_nonfinite: the index of the first NaN or infinity, flattened in C
            order; None if there is none.
        index: the same as an n-dimensional index.
    """

    tensor: int
    name: str | None
    shape: tuple[int, ...] | None
    dtype: str | None
    length: int
    norm: float
    share: float
    max_abs: float
    mean: float
    nan_count: int
    positive_infinity_count: int
    negative_infinity_count: int
    zero_count: int
    subnormal_count: int
    first_nonfinite: int | None
    index: tuple[int, ...] | None  # type: ignore[assignment]  # not tuple.index

    def to_dict(self) -> dict[str, Any]:
        """The attributes by name, of plain numbers, strings and lists, for JSON. What is not
        finite is the string "NaN", "Infinity" or "-Infinity"."""
        from .._json import plain

        named: dict[str, Any] = plain(self._asdict())
        return named

    def __repr__(self) -> str:
        return f"<gradclip.Report of {self._label()}: norm {self.norm:.6g}, {self.share:.1%}>"

    @property
    def nonfinite_count(self) -> int:
        """How many elements are NaN or infinite."""
        return self.nan_count + self.positive_infinity_count + self.negative_infinity_count

    def _label(self) -> str:
        if self.name is None:
            return f"gradient {self.tensor}"
        return f"{self.name!r} (gradient {self.tensor})"


class Inspection(Sequence[Report]):
    """The reports on all gradients, in the order given. print() it to see what is wrong.

    Attributes:
        total_norm: the norm of all gradients, over finite elements.
        norm_type: the order of the norms.
        nonfinite: the NaNs and infinities of all gradients, a NonFinite.
    """

    def __init__(
        self,
        reports: Sequence[Report],
        total_norm: float,
        norm_type: float,
        nonfinite: NonFinite,
    ) -> None:
        self._reports = tuple(reports)
        self.total_norm = total_norm
        self.norm_type = norm_type
        self.nonfinite = nonfinite

    def __len__(self) -> int:
        return len(self._reports)

    @overload
    def __getitem__(self, place: int) -> Report: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Report]: ...

    def __getitem__(self, place: int | slice) -> Report | Sequence[Report]:
        return self._reports[place]

    def __repr__(self) -> str:
        return (
            f"<gradclip.Inspection of {_plural(len(self), 'gradient')}, "
            f"total_norm {self.total_norm!r}, {self.nonfinite.count} elements not finite>"
        )

    def __str__(self) -> str:
        return "\n".join([*self.problems, self.summary, self.table(_MOST_ROWS)])

    @property
    def problems(self) -> list[str]:
        """What is wrong, one thing a line, the worst first; empty if nothing stands out.

        Told are NaN and infinities, with their place; gradients that are all zero;
        one that makes up more than 90 % of the norm of three or more; and those
        whose elements are subnormal for the most part.
        """
        return [
            *self._not_finite(),
            *self._all_zero(),
            *self._dominating(),
            *self._subnormal(),
        ]

    @property
    def summary(self) -> str:
        """One line: the total norm, and of how many gradients and elements."""
        elements = sum(report.length for report in self._reports)
        none = sum(report.dtype is None for report in self._reports)
        missing = f", {none} of them None" if none else ""
        return (
            f"total_norm {self.total_norm:.6g}, norm_type {self.norm_type:g}, "
            f"{_plural(len(self), 'gradient')}{missing}, {_plural(elements, 'element')}"
        )

    def table(self, rows: int | None = None) -> str:
        """A table of the reports, the largest share of the norm first: all, or so many rows."""
        order = sorted(self._reports, key=lambda report: (-report.share, report.tensor))
        shown = order[:rows]
        columns = [column for column in _COLUMNS if column[2] or any(map(column[1], self._reports))]
        cells = [[heading for heading, _, _ in columns]]
        cells += [[_cell(value(report)) for _, value, _ in columns] for report in shown]
        widths = [max(map(len, column)) for column in zip(*cells)]
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths))
            ).rstrip()
            for row in cells
        ]
        if len(shown) < len(order):
            lines.append(f"... and {len(order) - len(shown)} more")
        return "\n".join(lines)

    # ---------------------------------------------------------------- problems --

    def _not_finite(self) -> list[str]:
        bad = [report for report in self._reports if report.nonfinite_count]
        lines = [_nonfinite_line(report) for report in bad[:_MOST_NAMED]]
        if len(bad) > len(lines):
            lines.append(f"... and {len(bad) - len(lines)} more gradients are not finite")
        return lines

    def _all_zero(self) -> list[str]:
        filled = [report for report in self._reports if report.length]
        zero = [report for report in filled if report.zero_count == report.length]
        if not zero:
            return []
        if len(zero) == len(filled) and len(zero) > 1:
            return [f"all {len(zero)} gradients are zero"]
        return [f"{_labels(zero)} {'is' if len(zero) == 1 else 'are'} all zero"]

    def _dominating(self) -> list[str]:
        order = sorted(
            (report for report in self._reports if report.length),
            key=lambda report: report.share,
            reverse=True,
        )
        if len(order) < 3 or order[0].share <= 0.9 or order[1].share >= 0.1:
            return []
        return [f"{order[0]._label()} makes up {order[0].share:.1%} of the norm"]

    def _subnormal(self) -> list[str]:
        few_digits = [
            report
            for report in self._reports
            if report.subnormal_count > (report.length - report.zero_count) / 2
        ]
        if not few_digits:
            return []
        verb = "has" if len(few_digits) == 1 else "have"
        return [f"{_labels(few_digits)} {verb} mostly subnormal elements: digits are lost"]


# Heading, value, and whether it is shown even if it is 0 everywhere.
_COLUMNS: list[tuple[str, Any, bool]] = [
    ("gradient", lambda r: str(r.tensor) if r.name is None else r.name, True),
    ("shape", lambda r: "None" if r.shape is None else str(r.shape), True),
    ("dtype", lambda r: r.dtype or "", True),
    ("share", lambda r: f"{100 * r.share:.3g}%", True),
    ("norm", lambda r: r.norm, True),
    ("max_abs", lambda r: r.max_abs, True),
    ("mean", lambda r: r.mean, True),
    ("zeros", lambda r: r.zero_count, False),
    ("subnormal", lambda r: r.subnormal_count, False),
    ("NaN", lambda r: r.nan_count, False),
    ("+inf", lambda r: r.positive_infinity_count, False),
    ("-inf", lambda r: r.negative_infinity_count, False),
]


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _nonfinite_line(report: Report) -> str:
    counts = [
        f"{count} {what}"
        for count, what in (
            (report.nan_count, "NaN"),
            (report.positive_infinity_count, "+inf"),
            (report.negative_infinity_count, "-inf"),
        )
        if count
    ]
    return (
        f"{report._label()} is not finite: {', '.join(counts)}; "
        f"the first is element {report.first_nonfinite}, index {report.index}"
    )


def _labels(reports: list[Report]) -> str:
    labels = [report._label() for report in reports[:_MOST_NAMED]]
    more = len(reports) - len(labels)
    return ", ".join(labels) + (f" and {more} more" if more else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
