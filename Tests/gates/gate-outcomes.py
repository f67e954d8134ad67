#!/usr/bin/env python3
"""gate-outcomes.py: every program in the pages, in the headers' comments and among the examples looks at what its calls
came to: refused, not finite, done.

In C no status is dropped, and where a call measures gradients the program asks both for a refusal and for what is not
finite. (What the compiler refuses elsewhere is refused by it: C++ results are [[nodiscard]], Swift's throw, Rust's are
#[must_use].) In Go no error is dropped or overwritten unread; Swift has no try? and try!, Rust no unwrap() of a call that
clips, but after what the program itself made wrong; in Python no optimizer steps after a norm that nobody looked at.
"""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from header_examples import blocks, is_program  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
HEADER = (ROOT / "include/gradclip.h").read_text()
STATUS = set(re.findall(r"gradclip_status (gradclip_\w+)\(", HEADER)) | set(
    re.findall(r"(?:inline )?gradclip_status (gradclip_\w+)\(", (ROOT / "include/gradclip_mpi.h").read_text())
)
# With the addresses that a program has, these are never refused.
SURE = re.compile(r"gradclip_(\w+_init|\w+_reset|accumulator_set_next_tensor)$")
# These tell of gradients that are not finite (or of a step to skip) by their status.
OUTCOME = re.compile(
    r"gradclip_(clip_(grad_norm|grads_with_norm|by_)|get_total_norm|defer_clip|adaptive_clip|accumulator_(finish|clip)"
    r"|chooser_(feed|clip)|mpi_)"
)


def pages():
    listed = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        if name and name not in ("CHANGELOG.md", "CONTRIBUTING.md") and (ROOT / name).exists():
            yield name, (ROOT / name).read_text(encoding="utf-8")


def fenced(text, language):
    """(line, code) of each block of the language."""
    for found in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S):
        yield text.count("\n", 0, found.start()) + 1, found[1]


def without_comments(code):
    code = re.sub(r'"(\\.|[^"\\\n])*"', '""', code)
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", code, flags=re.S)


def functions(code):
    """The bodies of a C file's functions; a block without a function is one."""
    bodies = re.findall(r"^(?!for|while|if|else|switch)\w[^\n;]*\)\s*\n?\{\n(.*?)^\}", code, re.M | re.S)
    return bodies or [code]


def in_c(code):
    code = without_comments(code)
    for body in functions(code):
        called = [(found[1], found.start()) for found in re.finditer(r"\b(gradclip_\w+)\s*\(", body) if found[1] in STATUS]
        for name, start in called:
            before = re.sub(r"\(void\)\s*$", "", body[:start].rstrip()).rstrip()
            dropped = not before or before[-1] in ";{}" or before.endswith("else")
            if before.endswith(")"):  # what follows the parentheses of an if or a for is a statement
                depth = 0
                for place in range(len(before) - 1, -1, -1):
                    depth += {")": 1, "(": -1}.get(before[place], 0)
                    if depth == 0:
                        break
                dropped = re.search(r"\b(if|for|while)\s*$", before[:place]) is not None
            if dropped and not SURE.match(name):
                yield f"what {name}() came to is dropped"
        measures = [name for name, _ in called if OUTCOME.match(name)]
        # (A status that is handed on is another function's to look at.)
        if measures and not re.search(r"\w\([^()]*,\s*status\b", body):
            if not re.search(r"<\s*(0|GRADCLIP_OK)\b|refused\(|check\(|must\(", body):
                yield f"{measures[0]}() may be refused, and nothing asks"
            asks = re.search(r"GRADCLIP_(NON_FINITE|OK|SKIP_STEP)|return \w*status", body)
            if not asks and "GRADCLIP_NONFINITE_ZERO" not in code:  # which replaces it
                yield f"{measures[0]}() may find what is not finite, and nothing asks"


def in_go(code):
    lines = without_comments(code).splitlines()
    for number, line in enumerate(lines):
        if re.search(r"_ :?= (gradclip|chooser|norm|monitor)\.", line) and not line.strip().startswith("_, err"):
            yield f"an error is dropped: {line.strip()}"
        if re.search(r"\berr :?=", line) and not re.search(r";.*\berr\b", line):
            after = "\n".join(lines[number + 1 :])
            until = re.split(r"\berr :?=", after)[0]
            if not re.search(r"\berr\b", until):
                yield f"an error is not looked at: {line.strip()}"


def in_swift(code):
    for found in re.finditer(r"\btry[?!].*", without_comments(code)):
        yield f"an error is dropped: {found[0].strip()}"
    if "import CGradClip" in code:  # the C functions from Swift
        yield from in_c(code)


def in_python(code):
    if re.search(r"\bclip_|\.finish\(", code) and re.search(r"(optimizer|optim)\.step\(\)", code):
        if not re.search(r"isfinite\(|\.skip\b|nonfinite|scaler\.step|clip_and_step|patch\(\)", code):
            yield "the optimizer steps whether or not the norm is finite"


def main():
    looked, wrong = 0, []

    def look(check, code, where):
        nonlocal looked
        looked += 1
        wrong.extend(f"{where}: {word}" for word in check(code))

    for name, text in pages():
        for language, check in {"c": in_c, "go": in_go, "swift": in_swift, "python": in_python}.items():
            for line, code in fenced(text, language):
                look(check, code, f"{name}:{line}")
    for header in ("gradclip.h", "gradclip_mpi.h"):
        for block in blocks((ROOT / "include" / header).read_text()):
            if is_program(block):
                look(in_c, block, f"{header}: {block.splitlines()[0].strip()}")
    for path in sorted((ROOT / "bindings").glob("*/examples/**/*")):
        check = {".c": in_c, ".h": in_c, ".swift": in_swift, ".py": in_python}.get(path.suffix)
        if check:
            look(check, path.read_text(encoding="utf-8"), path.relative_to(ROOT))
    for word in wrong:
        print(f"gate-outcomes: {word}", file=sys.stderr)
    if looked < 40:
        sys.exit(f"gate-outcomes: only {looked} programs were found")
    if not wrong:
        print(f"ok: {looked} programs in pages, headers and examples look at what their calls came to")
    return bool(wrong)


sys.exit(main())
