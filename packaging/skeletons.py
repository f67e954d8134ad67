#!/usr/bin/env python3
"""skeletons.py gradclip_NAME: after gradclip.h has declared a new function, writes what every binding needs
for it, so that nothing is forgotten and the types are right. What is mechanical is whole: Rust's raw.rs,
Python's ctypes declaration, the row of the table of names. The rest is a function to be filled in: in the ABI, in
C++, Rust, Go, Swift and Python, and a C test that fails. `git diff` shows all of it.

How a C type is spelt in a language is read from the functions that are there.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
import man  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
FFI = next((ROOT / "bindings/python/src/gradclip").rglob("*ffi.py"))
# What a function of an object belongs to in C++, Rust, Go, Swift, Python, and the files that have it.
OBJECTS = {
    "accumulator": ("accumulator", "Accumulator", "Accumulator", "NormAccumulator", "Accumulator"),
    "chooser": ("chooser", "Chooser", "Chooser", "MaxNormChooser", "Chooser"),
}
SWIFT_FILES = {"accumulator": "NormAccumulator", "chooser": "MaxNormChooser", "clip": "ClipFunctions"}


class Argument(NamedTuple):
    type: str  # "const double *"
    name: str


def argument(text: str) -> Argument:
    found = re.fullmatch(r"(.*?)(\w+)", text)
    assert found, text
    return Argument(re.sub(r"\s*\*\s*", " *", found[1]).strip(), found[2])


class Function(NamedTuple):
    name: str  # without gradclip_
    returns: str
    arguments: list[Argument]
    prose: str
    before: str  # the function that the header declares before it, with gradclip_
    declaration: str


def read_header() -> list[Function]:
    text = (ROOT / "include/gradclip.h").read_text(encoding="utf-8")
    _, *rest = man.items(text[text.index("/*") :])
    found: list[Function] = []
    for item in rest:
        for returns, name, arguments in man.functions(item.code):
            before = "gradclip_" + found[-1].name if found else ""
            parsed = [argument(one) for one in arguments if one != "void"]
            declaration = f"{returns} {name}({', '.join(arguments)});"
            found.append(Function(name.removeprefix("gradclip_"), returns, parsed, item.prose, before, declaration))
    return found


def sentence(function: Function) -> str:
    text = man.purpose(function.prose).strip()
    return text[0].upper() + text[1:] + "."


def camel(name: str, *, upper: bool) -> str:
    first, *rest = name.split("_")
    return (first.capitalize() if upper else first) + "".join(word.capitalize() for word in rest)


# ---------------------------------------------------- how types are spelt --


def learn(functions: list[Function], declared: dict[str, list[str]]) -> dict[str, str]:
    """C type -> the type that a language's declarations have in its place."""
    spelt: dict[str, str] = {}
    for function in functions:
        types = declared.get("gradclip_" + function.name, [])
        if len(types) == len(function.arguments):
            spelt.update({one.type: type for one, type in zip(function.arguments, types)})
    return spelt


def split(text: str) -> list[str]:
    return [one.strip() for one in re.split(r",(?![^<(]*[>)])", text) if one.strip()]


def rust_declarations() -> dict[str, list[str]]:
    text = (ROOT / "bindings/rust/src/raw.rs").read_text()
    found = re.findall(r"pub fn (gradclip_\w+)\((.*?)\)(?: -> [^;]*)?;", text, flags=re.S)
    return {name: [one.split(": ", 1)[1] for one in split(arguments)] for name, arguments in found}


def swift_declarations() -> dict[str, list[str]]:
    found = {}
    for path in (ROOT / "Sources/GradClipABI").glob("*.swift"):
        for name, arguments in re.findall(r"public func (gradclip_\w+)\((.*?)\)(?: -> \w+!?)? \{", path.read_text(), flags=re.S):
            found[name] = re.findall(r"(?:^|, *|\s)_ \w+: (.*?)(?=,\s*_ |\s*$)", arguments, flags=re.S)
    return found


def type_of(spelt: dict[str, str], one: Argument, language: str) -> str:
    if one.type not in spelt:
        sys.exit(f"skeletons: no function of {language} takes {one.type!r} yet ({one.name}): declare one by hand first")
    return spelt[one.type]


# ------------------------------------------------------------- insertions --

touched: list[str] = []


def change(path: Path, pattern: str, text: str, *, after: bool = True) -> None:
    """Puts the text behind (or before) what the pattern matches last."""
    old = path.read_text(encoding="utf-8")
    found = list(re.finditer(pattern, old, flags=re.M | re.S))
    if not found:
        sys.exit(f"skeletons: {path.relative_to(ROOT)} has no place for it: nothing is like {pattern!r}")
    at = found[-1].end() if after else found[-1].start()
    path.write_text(old[:at] + text + old[at:], encoding="utf-8")
    touched.append(str(path.relative_to(ROOT)))


def parts(function: Function) -> list[tuple[str, Argument]]:
    """What the arguments are for: self, list (with its count), number, options, result, other."""
    kinds: list[tuple[str, Argument]] = []
    counted = False
    for one in function.arguments:
        opaque = re.fullmatch(r"(?:const )?gradclip_(accumulator|chooser) \*", one.type)
        if opaque and not kinds:
            kinds.append(("self", one))
        elif one.type == "const gradclip_tensor *":
            kinds.append(("list", one))
            counted = True
        elif one.type == "size_t" and one.name == "count" and counted:
            kinds.append(("count", one))
        elif "*" not in one.type:
            kinds.append(("number", one))
        elif one.type == "const gradclip_options *":
            kinds.append(("options", one))
        elif one.type == "gradclip_result *":
            kinds.append(("result", one))
        else:
            kinds.append(("other", one))
    return kinds


def has(function: Function, kind: str) -> bool:
    return any(one == kind for one, _ in parts(function))


def lists(function: Function) -> list[str]:
    return [one.name for kind, one in parts(function) if kind == "list"]


def owner(function: Function) -> str:
    """accumulator, chooser, or "" for a function of its own."""
    word = function.name.split("_")[0]
    return word if word in OBJECTS and has(function, "self") else ""


def member(function: Function) -> str:
    return function.name.removeprefix(owner(function) + "_") if owner(function) else function.name


# -------------------------------------------------------------- languages --


def write_mechanical(function: Function, functions: list[Function]) -> None:
    name = "gradclip_" + function.name
    rust = learn(functions, rust_declarations())
    arguments = ", ".join(f"{one.name}: {type_of(rust, one, 'Rust')}" for one in function.arguments)
    returns = {"void": "", "gradclip_status": " -> gradclip_status"}.get(function.returns)
    if returns is None:
        sys.exit(f"skeletons: {name} returns {function.returns}, neither gradclip_status nor void")
    change(ROOT / "bindings/rust/src/raw.rs", rf"^    pub fn {function.before}\(.*?;\n", f"    pub fn {name}({arguments}){returns};\n")
    # Lines end behind a comma.
    whole = re.sub(r"(?<!,) ", "\xa0", function.declaration)
    declaration = textwrap.fill(whole, 98, subsequent_indent="    ").replace("\xa0", " ")
    change(FFI, rf"^[\w *]*\b{function.before}\([^;]*;\n", f"{declaration}\n")


def names(function: Function) -> list[str]:
    own = member(function)
    each = [own, own, camel(own, upper=True), camel(own, upper=False), own]
    prefixes = OBJECTS.get(owner(function), ("",) * 5)
    return [f"{prefix}.{name}" if prefix else name for prefix, name in zip(prefixes, each)]


def write_names(function: Function) -> None:
    before = re.sub(r"_f(32|64)$", "", function.before.removeprefix("gradclip_"))
    change(ROOT / "Tests/gates/bindings/names.txt", rf"^{before} *\|.*?\n", " | ".join([f"{function.name:23}", *names(function)]) + "\n")


def write_abi(function: Function, functions: list[Function]) -> None:
    declared = swift_declarations()
    spelt = learn(functions, declared)
    file = next(p for p in (ROOT / "Sources/GradClipABI").glob("*.swift") if f'@_cdecl("{function.before}")' in p.read_text())
    arguments = ", ".join(f"_ {one.name}: {type_of(spelt, one, 'Swift')}" for one in function.arguments)
    lines = textwrap.fill(arguments, 112, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    returns = " -> gradclip_status" if function.returns != "void" else ""
    change(
        file,
        r"\Z",
        f'\n@_cdecl("gradclip_{function.name}") @implementation\npublic func gradclip_{function.name}(\n{lines}\n){returns} {{\n'
        f"    // Check every argument, then call the engine: the functions above show how.\n"
        f'    fatalError("gradclip_{function.name} is not written yet")\n}}\n',
    )


CPP_NUMBERS = {"size_t": "std::size_t", "uint32_t": "std::uint32_t", "uint64_t": "std::uint64_t", "int64_t": "std::int64_t"}


def write_cpp(function: Function) -> None:
    outcome = "result" if has(function, "result") else "void"
    taken, given = [], []
    for kind, one in parts(function):
        if kind == "self":
            given.append("handle_.get()")
        elif kind == "list":
            taken.append(f"const tensor_list &{one.name}")
            given.append(f"{one.name}.c_tensors()")
        elif kind == "count":
            given.append(f"{lists(function)[0]}.size()")
        elif kind == "options":
            taken.append("const options &given = {}")
            given.append("&passed")
        elif kind == "result":
            given.append("&found")
        else:
            taken.append(f"{CPP_NUMBERS.get(one.type, one.type)} {one.name}".replace("* ", "*"))
            given.append(one.name)
    body = [f"if (!{one}.is_matched()) return calls::fail<{outcome}>(calls::mismatched_list(\"{one}\"));" for one in lists(function)]
    if has(function, "options"):
        body.append("const gradclip_options passed = detail::c_options(given);")
    if has(function, "result"):
        body.append("gradclip_result found = detail::c_result();")
    body.append(f"const gradclip_status code = gradclip_{function.name}({', '.join(given)});")
    policy = "given.error_if_nonfinite" if has(function, "options") else "true"
    body.append(f"return calls::done(code, found, {policy});" if outcome == "result" else "return calls::done(code);")
    # An argument with a default comes last.
    taken.sort(key=lambda one: "= {}" in one)
    indent = "    " if owner(function) else ""
    lines = [
        f"/* {sentence(function)} (gradclip_{function.name}) */",
        f"{'' if indent else 'inline '}outcome<{outcome}> {member(function)}({', '.join(taken)}) {{",
        *("    " + line for line in body),
        "}",
    ]
    text = "\n".join(indent + line for line in lines) + "\n\n"
    file, place = (f"{owner(function)}.hpp", r"^    gradclip_\w+ \*c_\w+\(\)") if indent else ("clip.hpp", r"^\} // inline namespace")
    change(ROOT / "include/gradclip" / file, place, text, after=False)


RUST_NUMBERS = {"double": "f64", "size_t": "usize", "uint32_t": "u32", "uint64_t": "u64", "int64_t": "i64"}


def write_rust(function: Function, functions: list[Function]) -> None:
    spelt = learn(functions, rust_declarations())
    taken, given = [], []
    for kind, one in parts(function):
        if kind == "self":
            taken.append("&mut self")
            given.append("self.handle.as_ptr()")
        elif kind == "list":
            taken.append(f"{one.name}: &mut [Grad<'_>]")
            given.append(f"list({one.name})")
        elif kind == "count":
            given.append(f"{lists(function)[0]}.len()")
        elif kind == "options":
            taken.append("options: &Options")
            given.append("&options.raw()")
        elif kind == "result":
            given.append("&mut result")
        elif kind == "number":
            taken.append(f"{one.name}: {RUST_NUMBERS.get(one.type, one.type)}")
            given.append(one.name)
        else:  # to become a slice, an Option ...
            pointer = re.sub(r"\b(gradclip_\w+)", r"raw::\1", type_of(spelt, one, "Rust"))
            taken.append(f"{one.name}: {pointer}")
            given.append(one.name)
    call = f"unsafe {{ raw::gradclip_{function.name}({', '.join(given)}) }}"
    body = ["let mut result = new_result();", f"let status = {call};", "outcome(status, &result)"] if has(function, "result") else [f"check({call})"]
    returns = "Result<Clip>" if has(function, "result") else "Result<()>"
    indent = "    " if owner(function) else ""
    lines = [
        f"/// {sentence(function)}",
        f"pub fn {member(function)}({', '.join(taken)}) -> {returns} {{",
        *("    " + line for line in body),
        "}",
    ]
    text = "\n" + "\n".join(indent + line for line in lines) + "\n"
    if indent:
        change(ROOT / f"bindings/rust/src/{owner(function)}.rs", r"\}\n\nimpl Drop for", text, after=False)
    else:
        change(ROOT / "bindings/rust/src/clip.rs", r"\Z", text)
        change(ROOT / "bindings/rust/src/lib.rs", r"^pub use clip::\{\n", f"    {function.name},\n")


def write_go(function: Function) -> None:
    taken = []
    for kind, one in parts(function):
        name = camel(one.name, upper=False)
        if kind == "list":
            taken.append(f"{name} []Grad")
        elif kind == "number":
            taken.append(f"{name} {'float64' if one.type == 'double' else 'int'}")
        elif kind == "options":
            taken.append("options ...Option")
    own = camel(member(function), upper=True)
    receiver = OBJECTS[owner(function)][2] if owner(function) else ""
    returns = "(Result, error)" if has(function, "result") else "error"
    text = (
        f"\n// {own}: {sentence(function)}\n"
        f"func {f'({receiver[0].lower()} *{receiver}) ' if receiver else ''}{own}({', '.join(taken)}) {returns} {{\n"
        f"\t// cgo hands C one gradient at a time: ClipGradNorm and ClipByNorm show how.\n"
        f'\tpanic("{own} is not written yet")\n}}\n'
    )
    change(ROOT / f"bindings/go/{owner(function) or 'clip'}.go", r"\Z", text)


SWIFT_NUMBERS = {"double": "Double", "size_t": "Int", "uint32_t": "Int", "uint64_t": "Int", "int64_t": "Int64"}


def write_swift(function: Function) -> None:
    taken = []
    for kind, one in parts(function):
        name = camel(one.name, upper=False)
        if kind == "list":
            taken.append(f"{'_ ' if not taken else ''}{name}: [Gradient]")
        elif kind == "number":
            taken.append(f"{name}: {SWIFT_NUMBERS[one.type]}")
        elif kind == "options":
            taken.append("options: ClipOptions = ClipOptions()")
    own = camel(member(function), upper=False)
    returns = " -> ClipResult" if has(function, "result") else ""
    indent = "    " if owner(function) else ""
    lines = [
        f"/// {sentence(function)}",
        f"public func {own}({', '.join(taken)}) throws{returns} {{",
        "    // withList(_:writes:_:) and the engine: the functions above show how.",
        f'    fatalError("{own} is not written yet")',
        "}",
    ]
    text = "\n" + "\n".join(indent + line for line in lines) + "\n"
    path = next((ROOT / "Sources/GradClip").rglob(SWIFT_FILES[owner(function) or "clip"] + ".swift"))
    change(path, r"^\}\n#endif" if indent else r"^#endif", text, after=False)


def write_python(function: Function) -> str:
    """A function beside clip_grad_norm_; what is left to do."""
    own = member(function)
    if owner(function):
        return f"Python: a method {own}() of {OBJECTS[owner(function)][4]}, and its name in Tests/gates/bindings/names.txt"
    paths = (ROOT / "bindings/python/src/gradclip").rglob("*.py")
    path = next(p for p in paths if re.search(r"^def clip_grad_norm_\(", p.read_text(), flags=re.M) and "torch" not in p.parts)
    numbers = "".join(f", {one.name}: float" for kind, one in parts(function) if kind == "number")
    change(
        path,
        r"\Z",
        f"\n\ndef {own}(grads: Any{numbers}) -> Any:\n"
        f'    """{sentence(function)}"""\n    raise NotImplementedError("{own} is not written yet")\n',
    )
    return f"Python: {own} among the names of gradclip/__init__.py"


def write_test(function: Function) -> None:
    path = ROOT / f"Tests/c/{function.name}.c"
    path.write_text(
        f"/* {sentence(function)} */\n"
        f'#include "check.h"\n\nint main(void)\n{{\n'
        f'    CHECK(0, "a check for each promise of gradclip_{function.name}, named for it");\n'
        f'    return checks_summary("{function.name}");\n}}\n'
    )
    touched.append(str(path.relative_to(ROOT)))
    change(ROOT / "Tests/c/run.sh", r"^for test in semantics [a-z_ ]*", f" {function.name}")


def main() -> None:
    if len(sys.argv) != 2 or not sys.argv[1].startswith("gradclip_"):
        sys.exit("usage: make skeletons FUNCTION=gradclip_NAME")
    functions = read_header()
    name = sys.argv[1].removeprefix("gradclip_")
    function = next((one for one in functions if one.name == name), None)
    if not function:
        sys.exit(f"skeletons: include/gradclip.h does not declare gradclip_{name}: it, and its prose, come first")
    if f"gradclip_{name}" in rust_declarations():
        sys.exit(f"skeletons: gradclip_{name} is in bindings/rust/src/raw.rs already")
    write_mechanical(function, functions)
    write_names(function)
    write_abi(function, functions)
    write_cpp(function)
    write_rust(function, functions)
    write_go(function)
    write_swift(function)
    left = write_python(function)
    write_test(function)
    print("written, to be filled in:", *sorted(set(touched)), sep="\n    ")
    print("left:", left, "a call in Tests/c/traps.c, which calls all", "a fuzz target that calls it (Tests/fuzz)", "CHANGELOG.md, and the page that it belongs to", sep="\n    ")
    print("then: Tests/gates/gate-bindings.py --write && make test-c gates test-cpp test-rust test-go test-swift test-python")


if __name__ == "__main__":
    main()
