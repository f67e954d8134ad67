"""The tables: times, and ratios beside what they are to reach. Drawn with rich where it
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


def _verdict(value: float | None, least: float | None) -> str:
    if value is None:
        return NOTHING
    if least is None:
        return f"{value:.3g}"
    return f"{value:.3g} ({'met' if value >= least else 'MISSED'}: {least:g})"


def _kept(row: dict[str, Any]) -> str:
    return f"{row['rounds kept']}/{row['rounds made']}"


def times(rows: list[dict[str, Any]], names: list[str]) -> tuple[list[str], list[list[str]]]:
    header = ["time per call", *names, "roof", "rounds kept"]
    body = [
        [row["case"], *(duration(row["seconds"].get(n)) for n in names), duration(roof_seconds(row)), _kept(row)]
        for row in rows
        if row["passes"] or row["to reach against torch"]
    ]
    return header, body


def ratios(rows: list[dict[str, Any]], peers: list[str]) -> tuple[list[str], list[list[str]]]:
    """How many times as long the others take as gradclip called from C, what torch takes
    against gradclip called from Python, and what part of the roof gradclip reaches."""
    header = ["ratio (to reach)", *(f"{p} / gradclip" for p in peers)]
    has_torch = "torch" in peers
    if has_torch:
        header += ["torch / Plan", "torch / Python"]
    header += ["of the roof", "GB/s"]
    body = []
    for row in rows:
        if not (row["passes"] or row["to reach against torch"]):
            continue
        least = row["to reach against torch"]
        line = [row["case"]]
        for peer in peers:
            line.append(_verdict(ratio(row, peer, "gradclip"), least.get("gradclip") if peer == "torch" else None))
        if has_torch:
            for name in ("gradclip Plan", "gradclip Python"):
                line.append(_verdict(ratio(row, "torch", name), least.get(name)))
        line.append(_verdict(of_roof(row), row["to reach of the roof"]))
        line.append(_bandwidth(row))
        body.append(line)
    return header, body


def _bandwidth(row: dict[str, Any]) -> str:
    own = row["seconds"].get("gradclip")
    if not own or not row["passes"]:
        return NOTHING
    moved = row["bytes"] * sum(2 if kind == "read-write" else 1 for kind in row["passes"])
    return f"{moved / own / 1e9:.1f}"


def itself(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """gradclip against itself and against a plain loop."""
    header = ["against itself", "default", "other", "time", "speed of the slower", "rounds kept"]
    body = []
    for row in rows:
        for other, kind in (("exact_f64", "exact"), ("plain float64 loop", "plain")):
            if other not in row["seconds"]:
                continue
            speed = ratio(row, "gradclip", other) if kind == "exact" else ratio(row, other, "gradclip")
            times = [duration(row["seconds"]["gradclip"]), other, duration(row["seconds"][other])]
            body.append([row["case"], *times, f"{speed:.3g}", _kept(row)])
    return header, body


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
