"""The golden file's format (Tests/golden/README.md): one line per call, one
more per tensor. Numbers are hex floats, elements are hex bit patterns."""

from dataclasses import dataclass
from math import isinf, isnan
from typing import List, Tuple

from formats import Format
from patterns import expand


@dataclass
class Input:
    """One tensor of a case."""

    fmt: Format
    runs: List[Tuple[int, List[int]]]
    counted: bool = True
    offset: int = 0  # bytes past an aligned address


def hex_float(number):
    if isnan(number):
        return "nan"
    if isinf(number):
        return "inf" if number > 0 else "-inf"
    sign, rest = ("-", number.hex()[1:]) if number.hex()[0] == "-" else ("", number.hex())
    mantissa, exponent = rest.split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{sign}{mantissa}p{int(exponent)}"


def runs_text(runs):
    def one(times, group):
        bits = ",".join(f"{b:x}" for b in group)
        return bits if times == 1 else f"{times}*{bits}"

    return ";".join(one(times, group) for times, group in runs if times and group) or "."


def output_text(fmt, runs, output):
    """The elements afterwards, in the runs of the input; n for any NaN."""
    if output == expand(runs):
        return "="
    parts, position = [], 0
    for times, group in runs:
        if not times or not group:
            continue
        after = output[position : position + len(group)]
        # What becomes of an element depends on the element alone.
        assert output[position : position + times * len(group)] == after * times
        position += times * len(group)
        bits = ",".join("n" if fmt.is_nan(b) else f"{b:x}" for b in after)
        parts.append(bits if times == 1 else f"{times}*{bits}")
    return ";".join(parts)


def tensor_line(tensor, norm=0.0, norm_ulps=0, output=None):
    after = "-" if output is None else output_text(tensor.fmt, tensor.runs, output)
    flag = "c" if tensor.counted else "u"
    return (
        f"t {tensor.fmt.name} {flag} {tensor.offset} {hex_float(norm)} {norm_ulps} "
        f"{runs_text(tensor.runs)} {after}"
    )
