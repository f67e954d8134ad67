"""How this package writes JSON: every value as plain JSON has it.

JSON has no NaN and no infinities. Here a number that is not finite is the string "NaN",
"Infinity" or "-Infinity", everywhere: in what the commands print with --json, in the Monitor's
log, in state_dicts and what to_dict() returns. float() of Python, Number() of JavaScript and
strtod() of C read them back. null says that there is no number. Bytes are text in base64.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from math import isfinite, isnan
from typing import Any

_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def plain(value: Any) -> Any:
    """The value of dictionaries, lists, strings, finite numbers, booleans and None. Numbers of
    other libraries become Python's."""
    if hasattr(value, "item"):  # a number of numpy's, or a tensor of one element
        value = value.item()
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    number = float(value)
    if isfinite(number):
        return number
    return "NaN" if isnan(number) else "Infinity" if number > 0 else "-Infinity"


def number(value: Any) -> Any:
    """What plain() made of a number, as that number; anything else as it is."""
    return _NUMBERS.get(value, value) if isinstance(value, str) else value


def text_of(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def bytes_of(text: str) -> bytes:
    """What text_of() made a text of; ValueError for any other."""
    return binascii.a2b_base64(text, strict_mode=True)
