#!/usr/bin/env python3
"""man.py HEADER YYYY-MM-DD FOLDER: the manual pages, in mdoc, from gradclip.h.

gradclip.3 is the whole header. Each function has a page of its own besides; functions that
one comment describes share it, and the others' names lead there.

The header is the manual: its comments become the text, its declarations the
synopsis. Nothing about the functions is written down here, so the pages cannot say
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
SECTION = re.compile(r"-+ (.*) -+")
Function = tuple[str, str, list[str]]  # return type, name, arguments


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


def functions(code: str) -> list[Function]:
    """Each function that the code declares."""
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


def preamble(name: str, title: str, date: str) -> Iterator[str]:
    yield f'.\\" Made from {name} by packaging/man.py.'
    yield f".Dd {date}"
    yield f".Dt {title.upper()} 3"
    yield ".Os"
    yield ".Sh NAME"


def synopsis(name: str, declared: list[Function]) -> Iterator[str]:
    yield ".Sh LIBRARY"
    yield ".Pq libgradclip, \\-lgradclip"
    yield ".Sh SYNOPSIS"
    yield f".In {name}"
    for function in declared:
        yield from prototype(*function)


def see_also(names: list[str]) -> Iterator[str]:
    yield ".Sh SEE ALSO"
    for name in names:
        yield f".Xr {name} 3" + (" ," if name != names[-1] else "")


def whole(name: str, first: Item, rest: list[Item], date: str) -> Iterator[str]:
    """gradclip(3)."""
    title, _, introduction = first.prose.partition("\n")
    _, _, purpose = title.partition(" - ")
    # The example of the introduction gets a section of its own.
    blocks = re.split(r"\n\s*\n", introduction.strip("\n"))
    example = next(block for block in blocks if block.startswith("    "))
    blocks.remove(example)

    yield from preamble(name, "gradclip", date)
    yield ".Nm gradclip"
    yield f".Nd {purpose}"
    yield from synopsis(name, [function for item in rest for function in functions(item.code)])
    yield ".Sh DESCRIPTION"
    yield from prose("\n\n".join(blocks))
    begins = True
    for text, code in rest:
        section = SECTION.fullmatch(text)
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
    yield from see_also(sorted(page.name() for page in pages(rest)))


# ----------------------------------------------------- a page for each function --


class Page(NamedTuple):
    """Functions that are described together."""

    section: str
    items: list[Item]

    def declared(self) -> list[Function]:
        return [function for item in self.items for function in functions(item.code)]

    def name(self) -> str:
        """Of the function for all types, where there is one."""
        names = [name for _, name, _ in self.declared()]
        return next((name for name in names if name + "_f32" in names), names[0])


def pages(rest: list[Item]) -> list[Page]:
    """What begins with "The same" cannot be read without the comment before."""
    found: list[Page] = []
    section = ""
    for item in rest:
        heading = SECTION.fullmatch(item.prose)
        if heading:
            section = heading[1]
        elif functions(item.code):
            if found and found[-1].section == section and item.prose.startswith("The same"):
                found[-1].items.append(item)
            else:
                found.append(Page(section, [item]))
    return found


def purpose(prose: str) -> str:
    """The first sentence, without what stands in parentheses and after a colon."""
    text = re.sub(r" ?\([^()]*\)(?!\()", "", " ".join(prose.split())).replace("`", "")
    text = re.sub(r"^For [^:]*: ", "", text)
    sentence = re.split(r"[.:;](?:\s|$)", text)[0]
    return sentence[0].lower() + sentence[1:]


def types(rest: list[Item], declared: list[Function]) -> list[tuple[str, Item]]:
    """The structs that the functions take, and what they make, as the header describes them."""
    arguments = " ".join(argument for _, _, arguments in declared for argument in arguments)
    taken, made = re.findall(r"gradclip_\w+", arguments), re.findall(r"(gradclip_\w+) \*\*", arguments)
    found = []
    for item in rest:
        found += [(name, item) for name in re.findall(r"^\} (gradclip_\w+);", item.code, flags=re.M) if name in taken]
        found += [(name, item) for name in re.findall(r"^typedef struct (\w+) \1;", item.code, flags=re.M) if name in made]
    return found


def own(header: str, page: Page, others: list[Page], rest: list[Item], date: str) -> Iterator[str]:
    declared = page.declared()
    yield from preamble(header, page.name(), date)
    names = [name for _, name, _ in declared]
    for name in names:
        yield f".Nm {name}" + (" ," if name != names[-1] else "")
    yield ".Nd " + escape(purpose(page.items[0].prose))
    yield from synopsis(header, declared)
    yield ".Sh DESCRIPTION"
    for number, item in enumerate(page.items):
        if number:
            yield ".Pp"
            for _, name, _ in functions(item.code):
                yield f".Fn {name}" + (" ," if name != functions(item.code)[-1][1] else " :")
        yield from prose(item.prose)
    for name, item in types(rest, declared):
        yield f".Ss The struct {name}"
        yield from prose(item.prose)
        yield from literal(item.code.split("\n"))
    related = (other.name() for other in others if other.section == page.section and other is not page)
    yield from see_also(["gradclip", *sorted(related)])


def main() -> None:
    path, day, folder = Path(sys.argv[1]), datetime.date.fromisoformat(sys.argv[2]), Path(sys.argv[3])
    date = f"{day:%B} {day.day}, {day.year}"
    header = path.read_text(encoding="utf-8")
    first, *rest = items(header[header.index("/*") :])
    name = first.prose.partition(" - ")[0]

    def write(page: str, lines: Iterator[str]) -> None:
        (folder / f"{page}.3").write_text("\n".join(lines) + "\n", encoding="utf-8")

    write("gradclip", whole(name, first, rest, date))
    every = pages(rest)
    for page in every:
        write(page.name(), own(name, page, every, rest, date))
        for _, function, _ in page.declared():
            if function != page.name():
                write(function, iter([f".so man3/{page.name()}.3"]))


if __name__ == "__main__":
    main()
