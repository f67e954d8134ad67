"""Numbers as programs write them: 1.5, 1e-3, 12,345, 12.3K, nan, np.float64(1.5), 5/2000."""

from __future__ import annotations

import re
from typing import Any

_SUFFIXES = {"K": 1e3, "k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}

# What a repr puts before its number: np.float64(, tensor([, Array(.
REPR = (
    r"(?:(?:np|numpy|torch|jnp|jnp\.numpy|tf)\.)?"
    r"(?:float\d{0,3}|bfloat16|tensor|array|DeviceArray|Parameter)\(\[{0,2}"
)

# A number in a line. A comma, a letter or another full stop behind it means that it was not
# understood whole; it is then not read at all: 12,3456 is not 12. A full stop may end a sentence.
NUMBER = (
    r"[-+]?(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"
    r"|\d+(?:\.\d*)?(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?|nan|inf(?:inity)?)"
    r"(?-i:[KkMGBT])?(?!\w|\.[\w]|,\d|[-+]\d)"
)

_CELL = re.compile(
    rf"\s*['\"]?(?:{REPR})?({NUMBER})"
    r"(?:\]{0,2}(?:,[\w=.:<>'\"() ]{0,80})?\))?\.?['\"]?\s*",
    re.I,
)
_OF = re.compile(r"\s*(\d+)\s*/\s*\d+\s*")
_DECIMAL_COMMA = re.compile(r"\s*([-+]?)(\d{1,3}(?:\.\d{3})+|\d+),(\d+(?:e[-+]?\d+)?)\s*", re.I)
_BLANK = ("", "na", "n/a", "none", "null", "-", "--")


def plain(text: str) -> float:
    """The value of what NUMBER matched."""
    scale = _SUFFIXES.get(text[-1:])
    if scale is None:
        return float(text.replace(",", ""))
    return float(text[:-1].replace(",", "")) * scale


def number(value: Any) -> float | None:
    """A cell or a JSON value as a number; None if it is none (blank, null, words, true)."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        found = _CELL.fullmatch(value) if isinstance(value, str) and len(value) < 400 else None
        return None if found is None else plain(found[1])


def step_number(value: Any) -> float | None:
    """The number of a step, which may be written 5/2000."""
    found = _OF.fullmatch(value) if isinstance(value, str) and len(value) < 80 else None
    return number(value) if found is None else float(found[1])


def decimal_comma(cell: str) -> float | None:
    """A cell of a table that writes 1.234,5 for 1234.5."""
    found = _DECIMAL_COMMA.fullmatch(cell) if len(cell) < 80 else None
    if found is None:
        return number(cell)
    return float(f"{found[1]}{found[2].replace('.', '')}.{found[3]}")


def has_decimal_commas(cells: list[str]) -> bool:
    """Whether the cells of a table, whose delimiter is no comma, have decimal commas: one that
    can be nothing else, or commas in all numbers that have a mark at all."""
    marked = [cell for cell in cells if _DECIMAL_COMMA.fullmatch(cell)]
    sure = any(re.fullmatch(r"\s*[-+]?(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))\s*", c) for c in marked)
    return bool(marked) and (
        sure or not any("." in cell and number(cell) is not None for cell in cells)
    )


def is_blank(value: Any) -> bool:
    """Whether a cell says that there is no number, rather than one that cannot be read."""
    return value is None or (isinstance(value, str) and value.strip().lower() in _BLANK)
