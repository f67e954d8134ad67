#!/usr/bin/env python3
"""gate-links.py: every link in a Markdown file of this repository leads to a file that is there, and to a
heading of it; docs/README.md, the map, names every page of docs."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")


def without_code(text):
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda code: "x" * len(code[0]), text)


def anchors(path):
    """Of the headings, as GitHub makes them: lower case, spaces are hyphens, most signs are gone."""
    found, seen = set(), {}
    for heading in re.findall(r"^#+ +(.*?) *$", re.sub(r"^(```).*?^\1", "", path.read_text(), flags=re.M | re.S), flags=re.M):
        heading = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = seen.get(name, 0)
        seen[name] = count + 1
        found.add(f"{name}-{count}" if count else name)
    return found


def main():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    pages = [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).exists()]
    wrong, count = [], 0
    for page in pages:
        for target in LINK.findall(without_code(page.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", target):
                continue  # another site, or DocC's own
            count += 1
            name, _, anchor = target.partition("#")
            path = (page.parent / name).resolve() if name else page
            if not path.exists():
                wrong.append(f"{page.relative_to(ROOT)}: {target} is not there")
            elif anchor and path.suffix == ".md" and anchor not in anchors(path):
                wrong.append(f"{page.relative_to(ROOT)}: {target}: there is no such heading")
    the_map = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        if page.name != "README.md" and f"({page.name})" not in the_map:
            wrong.append(f"docs/README.md does not name {page.name}")
    for line in wrong:
        print(f"gate-links: {line}", file=sys.stderr)
    if not count:
        sys.exit("gate-links: no link was found")
    if not wrong:
        print(f"ok: {count} links in {len(pages)} pages lead somewhere; docs/README.md names every page")
    return bool(wrong)


sys.exit(main())
