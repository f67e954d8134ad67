"""The tables: times, and what was asked beside what was measured. Drawn with rich where it
is installed, and in plain columns otherwise."""

from __future__ import annotations

from typing import Any

NOTHING = "-"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    for unit, factor in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def roof_seconds(row: dict[str, Any]) -> float | None:
    """The passes that cannot be avoided, one after the other."""
    parts = [row["seconds"].get(f"roof: {kind}") for kind in row["passes"]]
    return sum(parts) if parts and None not in parts else None


def ratio(row: dict[str, Any], slower: str, faster: str) -> float | None:
    seconds = row["seconds"]
    return seconds[slower] / seconds[faster] if slower in seconds and faster in seconds else None


def of_roof(row: dict[str, Any]) -> float | None:
    roof, own = roof_seconds(row), row["seconds"].get("gradclip")
    return roof / own if roof and own else None


def _kept(row: dict[str, Any]) -> str:
    return f"{row['rounds kept']}/{row['rounds made']}"


def times(rows: list[dict[str, Any]], names: list[str]) -> tuple[list[str], list[list[str]]]:
    """Rows with peers."""
    header = ["time per call", *names, "roof", "torch / gradclip", "of the roof", "GB/s", "rounds"]
    body = [
        [
            row["case"],
            *(duration(row["seconds"].get(n)) for n in names),
            duration(roof_seconds(row)),
            _figure(ratio(row, "torch", "gradclip")),
            _figure(of_roof(row)),
            _bandwidth(row),
            _kept(row),
        ]
        for row in rows
        if not _is_own(row)
    ]
    return header, body


def _is_own(row: dict[str, Any]) -> bool:
    return "not measured" not in row or any(name in row["seconds"] for name in ("exact_f64", "plain float64 loop"))


def own(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """All others: gradclip against itself, a plain loop, and torch on the same values."""
    header = ["row", "who", "time per call", "ns an element", "least", "rounds"]
    body = []
    for row in filter(_is_own, rows):
        for name, seconds in row["seconds"].items():
            each, least = (s / row["elements"] * 1e9 for s in (seconds, row["least"][name]))
            body.append([row["case"], name, duration(seconds), f"{each:.3f}", f"{least:.3f}", _kept(row)])
    return header, body


def asked(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """What was asked, and what came of it."""
    header = ["row", "what", "asked", "measured", "met", "rounds"]
    body = []
    for row in rows:
        for one in row["asked"]:
            met = NOTHING if one["met"] is None else "yes" if one["met"] else "MISSED"
            body.append([row["case"], one["what"], one["asked"], _figure(one["measured"]), met, _kept(row)])
    return header, body


def _figure(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def _bandwidth(row: dict[str, Any]) -> str:
    own = row["seconds"].get("gradclip")
    if not own or not row["passes"]:
        return NOTHING
    moved = row["bytes"] * sum(2 if kind == "read-write" else 1 for kind in row["passes"])
    return f"{moved / own / 1e9:.1f}"


def draw(header: list[str], body: list[list[str]]) -> None:
    if not body:
        return
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
        for line in [header, ["-" * w for w in widths], *body]:
            print("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip())
        print()
        return
    table = Table()
    for i, title in enumerate(header):
        table.add_column(title, justify="right" if i else "left")
    for line in body:
        table.add_row(*(f"[red]{c}[/red]" if "MISSED" in c else c for c in line))
    console = Console()
    # A table that is squeezed into a narrow terminal, or into a file, is not readable.
    Console(width=max(console.width, 250)).print(table)


def markdown(header: list[str], body: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
