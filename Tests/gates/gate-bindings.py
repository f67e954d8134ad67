#!/usr/bin/env python3
"""gate-bindings.py BUILD_DIR: everything that gradclip.h declares is there in each binding, or
bindings/names.txt says why not. With --write it makes docs/bindings.md of that table."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LANGUAGES = ["C++", "Rust", "Go", "Swift", "Python"]
SWIFT = ROOT / "Sources/GradClip"


def text_of(paths):
    return "\n".join(path.read_text() for path in sorted(paths))


SOURCES = {
    "C++": text_of([ROOT / "include/gradclip.hpp", *(ROOT / "include/gradclip").glob("*.hpp")]),
    "Rust": text_of(p for p in (ROOT / "bindings/rust/src").glob("*.rs") if p.name != "raw.rs"),
    "Go": text_of(p for p in (ROOT / "bindings/go").glob("*.go") if not p.name.endswith("_test.go")),
    "Swift": text_of(SWIFT.rglob("*.swift")),
    "Python": text_of((ROOT / "bindings/python/src").rglob("*.py")),
}
# How a language declares a function, a member or a type of a name.
DECLARED = {
    "C++": r"\b(?:class|struct|enum class|using) (?:\[\[nodiscard\]\] )?{0}\b|\b{0}\(",
    "Rust": r"\b(?:fn|struct|enum) {0}\b",
    "Go": r"\bfunc (?:\([^)]*\) )?{0}\b|\btype {0}\b",
    "Swift": r"\b(?:func|struct|class|enum|var|let|case) {0}\b|\b{0}\(",
    "Python": r"\b(?:def|class|typedef struct) {0}\b|^{0} =",
}


def header():
    source = (ROOT / "include/gradclip.h").read_text()
    source = re.sub(r"/\*.*?\*/", " ", source, flags=re.S)
    source = re.sub(r"^#.*(?:\\\n.*)*$", "", source, flags=re.M)
    structs = {
        name: re.findall(r"(\w+)\s*;", body)
        for body, name in re.findall(r"typedef struct gradclip_\w+ \{(.*?)\} gradclip_(\w+);", source, flags=re.S)
    }
    source = re.sub(r"\{[^{}]*\}", " ", source.replace('extern "C" {', ""))
    source = re.sub(r"typedef[^;]*;", " ", source)
    return re.findall(r"\bgradclip_(\w+)\s*\(", source), structs


def table():
    functions, files, fields, reasons = {}, {}, {}, {}
    for line in (HERE / "bindings/names.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("!"):
            word, reason = line.split("=", 1)
            reasons[word.strip()] = reason.strip()
            continue
        name, *cells = [cell.strip() for cell in line.split("|")]
        if "." in name:
            fields[name] = cells
        elif any("/" in cell for cell in cells):
            files[name] = cells
        else:
            functions[name] = cells
    return functions, files, fields, reasons


def spelt(field, language):
    words = field.split("_")
    if language == "Go":
        return "".join(word.capitalize() for word in words)
    if language == "Swift":
        return words[0] + "".join(word.capitalize() for word in words[1:])
    return field


def plain(name):
    """The row of a function: those for one type of element are in that of all types."""
    return re.sub(r"_f(32|64)$", "", name)


def main():
    declared, structs = header()
    functions, files, fields, reasons = table()
    wrong = []
    ffi = next((ROOT / "bindings/python/src/gradclip").rglob("*ffi.py")).read_text()
    for name in declared:
        if not re.search(rf"\bgradclip_{name}\b", ffi) and plain(name) == name:
            wrong.append(f"Python's declarations lack gradclip_{name}")
        if plain(name) not in functions:
            wrong.append(f"names.txt has no line for gradclip_{name}")
    for name, cells in functions.items():
        if name not in declared:
            wrong.append(f"names.txt names {name}, which gradclip.h does not declare")
        if len(cells) != len(LANGUAGES):
            wrong.append(f"names.txt, {name}: {len(cells)} names for {len(LANGUAGES)} languages")
        for language, cell in zip(LANGUAGES, cells):
            if cell.startswith("!"):
                if cell not in reasons:
                    wrong.append(f"names.txt, {name}: no reason {cell}")
                continue
            for part in cell.split("."):
                if not re.search(DECLARED[language].format(re.escape(part)), SOURCES[language], flags=re.M):
                    wrong.append(f"{language} declares no {part} (for gradclip_{name})")
    rows = []
    for struct, names in structs.items():
        if struct not in files:
            wrong.append(f"names.txt names no files for gradclip_{struct}")
            continue
        for field in names:
            given = fields.get(f"{struct}.{field}") or fields.get(f"*.{field}") or fields.get(f"{struct}.*") or [""] * 4
            cells = [cell or spelt(field, language) for cell, language in zip(given, LANGUAGES)]
            rows.append((f"{struct}.{field}", cells))
            if not re.search(rf"\b{field};", ffi):
                wrong.append(f"Python's declarations lack gradclip_{struct}.{field}")
            for language, cell, path in zip(LANGUAGES, cells, files[struct]):
                if cell.startswith("!"):
                    continue
                path = SWIFT / path if language == "Swift" else ROOT / path
                if language == "Swift" and not path.exists():  # whatever folder the file is in
                    path = next(SWIFT.rglob(path.name))
                if not re.search(rf"\b{re.escape(cell)}\b", path.read_text()):
                    wrong.append(f"{path.relative_to(ROOT)} has no {cell} (for gradclip_{struct}.{field})")
    page = written(functions, rows, reasons)
    target = ROOT / "docs/bindings.md"
    if "--write" in sys.argv:
        target.write_text(page)
    elif not target.exists() or target.read_text() != page:
        wrong.append("docs/bindings.md is not what names.txt makes: run Tests/gates/gate-bindings.py --write")
    for line in wrong:
        print(f"gate-bindings: {line}", file=sys.stderr)
    if not wrong:
        print(f"ok: {len(declared)} functions and {len(rows)} fields are there in {', '.join(LANGUAGES)}, or a reason is")
    return bool(wrong)


def written(functions, rows, reasons):
    notes = {}

    def shown(cell):
        if not cell.startswith("!"):
            return f"`{cell}`"
        number = notes.setdefault(cell, len(notes) + 1)
        return f"– ({number})"

    def line(name, cells):
        return f"| `{name}` | " + " | ".join(shown(cell) for cell in cells) + " |"

    lines = [
        "# The names in every language",
        "",
        "What `gradclip.h` has, and what it is called in each binding. `Tests/gates/gate-bindings.py --write` makes this page of",
        "`Tests/gates/bindings/names.txt`; the gate fails when a function or a field of the header is missing from a binding.",
        "",
        "## Functions",
        "",
        "(without `gradclip_`; those for one type, `…_f32` and `…_f64`, are in the row of all types)",
        "",
        "| C | " + " | ".join(LANGUAGES) + " |",
        "|---" * 6 + "|",
        *(line(name, cells) for name, cells in functions.items()),
        "",
        "## Fields",
        "",
        "Python's declarations (`gradclip.h` in ctypes) have them by the same names.",
        "",
        "| C | " + " | ".join(LANGUAGES[:4]) + " |",
        "|---" * 5 + "|",
        *(line(name, cells) for name, cells in rows),
        "",
        "## Why there is none",
        "",
    ]
    lines += [f"{number}. {reasons.get(word, '')}" for word, number in notes.items()]
    return "\n".join(lines) + "\n"


sys.exit(main())
