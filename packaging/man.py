#!/usr/bin/env python3
"""man.py HEADER YYYY-MM-DD: the manual page gradclip(3), in mdoc, from gradclip.h.

The header is the manual: its comments become the text, its declarations the
synopsis. Nothing about the functions is written down here, so the page cannot say
anything else than the header does.
"""

from __future__ import annotations

import datetime
import re
import sys
import textwrap
from pathlib import Path
from typing import Iterator, NamedTuple

WIDTH = 70  # escapes make lines longer


class Item(NamedTuple):
    """A comment and the declarations that follow it."""

    prose: str
    code: str


def items(text: str) -> Iterator[Item]:
    """Comments that begin a line, each with the code up to the next one."""
    pieces = re.split(r"^/\*(.*?)\*/\n", text, flags=re.M | re.S)
    for prose, code in zip(pieces[1::2], pieces[2::2]):
        lines = [re.sub(r"^ \*( |$)", "", line) for line in prose.rstrip().split("\n")]
        lines[0] = lines[0].strip()
        yield Item("\n".join(lines).strip("\n"), code.strip("\n"))


def functions(code: str) -> list[tuple[str, str, list[str]]]:
    """(return type, name, arguments) of each function that the code declares."""
    bare = re.sub(r"/\*.*?\*/|^\s*#.*?(?<!\\)$", "", code, flags=re.M | re.S)
    found = re.findall(r"([A-Za-z_][\w \t]*[\s*]+)(gradclip_\w+)\s*\(([^()]*)\)\s*;", bare)
    return [
        (" ".join(kind.split()), name, [" ".join(a.split()) for a in arguments.split(",")])
        for kind, name, arguments in found
    ]


# ------------------------------------------------------------------- mdoc --


def escape(line: str) -> str:
    line = line.replace("\\", "\\e").replace("^", "\\(ha").replace("~", "\\(ti").replace("'", "\\(aq")
    line = re.sub(r"(?<![A-Za-z0-9])-(?=[\w\[\\-])", r"\\-", line)
    return "\\&" + line if line.startswith((".", "\\(aq")) else line


def literal(lines: list[str]) -> Iterator[str]:
    yield ".Bd -literal -offset indent"
    for line in lines:
        yield escape(line.rstrip()) or "\\&"
    yield ".Ed"


def paragraph(text: str) -> Iterator[str]:
    """Running text, a line for each sentence."""
    for sentence in re.split(r"(?<=[.?!])\s+(?=[A-Z(])", " ".join(text.split())):
        # Functions are marked up, each on a line of its own.
        for part in re.split(r"(?<!\S)([a-z]\w*\(\)[.,;:]*)(?!\S)", sentence):
            function = re.fullmatch(r"([a-z]\w*)\(\)([.,;:]*)", part)
            if function:
                yield " ".join([".Fn", function[1], *function[2]])
            else:
                yield from map(escape, textwrap.wrap(part.strip(), WIDTH, break_long_words=False, break_on_hyphens=False))


def prose(text: str) -> Iterator[str]:
    """Paragraphs; what is indented keeps its lines; UPPER CASE lines are headings."""
    begun = False
    for block in re.split(r"\n\s*\n", text):
        lines = block.split("\n")
        if len(lines) == 1 and re.fullmatch(r"[A-Z][A-Z, -]+", lines[0]):
            yield ".Ss " + lines[0].capitalize()
            begun = False
        elif all(line.startswith("  ") for line in lines):
            yield from literal(textwrap.dedent(block).split("\n"))
            begun = True
        else:
            if begun:
                yield ".Pp"
            yield from paragraph(block)
            begun = True


def prototype(kind: str, name: str, arguments: list[str]) -> Iterator[str]:
    yield f".Ft {quote(kind)}"
    yield f".Fo {name}"
    for argument in arguments:
        yield f".Fa {quote(argument)}"
    yield ".Fc"


def quote(text: str) -> str:
    return f'"{text}"' if " " in text else text


def page(header: str, date: str) -> Iterator[str]:
    body = header[header.index("/*") :]
    first, *rest = items(body)
    title, _, introduction = first.prose.partition("\n")
    name, _, purpose = title.partition(" - ")
    # The example of the introduction gets a section of its own.
    blocks = re.split(r"\n\s*\n", introduction.strip("\n"))
    example = next(block for block in blocks if block.startswith("    "))
    blocks.remove(example)

    declared = [function for item in rest for function in functions(item.code)]
    yield f'.\\" Made from {name} by packaging/man.py.'
    yield f".Dd {date}"
    yield ".Dt GRADCLIP 3"
    yield ".Os"
    yield ".Sh NAME"
    yield ".Nm gradclip"
    yield f".Nd {purpose}"
    yield ".Sh LIBRARY"
    yield ".Pq libgradclip, \\-lgradclip"
    yield ".Sh SYNOPSIS"
    yield f".In {name}"
    for function in declared:
        yield from prototype(*function)
    yield ".Sh DESCRIPTION"
    yield from prose("\n\n".join(blocks))
    begins = True
    for text, code in rest:
        section = re.fullmatch(r"-+ (.*) -+", text)
        if section:
            yield ".Ss " + section[1].capitalize()
            begins = True
            continue
        names = [name for _, name, _ in functions(code)]
        if names:
            yield ".Bl -tag -width Ds"
            yield ".It Xo"
            for name in names:
                yield f".Fn {name}" + (" ," if name != names[-1] else "")
            yield ".Xc"
            yield from prose(text)
            yield ".El"
            begins = False
            continue
        if not begins:
            yield ".Pp"
        yield from prose(text)
        if code:
            yield from literal(code.split("\n"))
        begins = False
    yield ".Sh EXAMPLES"
    yield "Clip two gradients to a global norm of 1:"
    yield from literal(textwrap.dedent(example).split("\n"))


def main() -> None:
    header, date = sys.argv[1:]
    day = datetime.date.fromisoformat(date)
    print("\n".join(page(Path(header).read_text(encoding="utf-8"), f"{day:%B} {day.day}, {day.year}")))


if __name__ == "__main__":
    main()
