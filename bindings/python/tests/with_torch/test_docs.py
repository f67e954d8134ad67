"""The Python examples of README.md and of the pages in docs/ run; those of other packages where
these are installed."""

import importlib.util
import os
import re
import warnings
from pathlib import Path
from unittest import SkipTest

import pytest

pytest.importorskip("torch")
sybil = pytest.importorskip("sybil")

from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser  # noqa: E402

from gradclip.torch import _clip  # noqa: E402

ROOT = Path(__file__).resolve().parents[4]
# How many examples there are at least: a parser that finds none must not pass.
PAGES = {
    "README.md": 2,
    "bindings/python/README.md": 5,
    "docs/arrays.md": 7,
    "docs/methods.md": 3,
    "docs/choosers.md": 4,
    "docs/coming-from.md": 2,
    "docs/offload.md": 2,
    "docs/python.md": 13,
    "docs/choosing-max-norm.md": 4,
    "docs/zh-CN.md": 4,
}
DOCUMENTS = {
    name: sybil.Sybil([PythonCodeBlockParser(), SkipParser()]).parse(ROOT / name) for name in PAGES
}
EXAMPLES = [
    pytest.param(example, id=f"{name} line {example.line}")
    for name, document in DOCUMENTS.items()
    for example in document.examples()
]


@pytest.fixture(scope="module", autouse=True)
def names():
    for document in DOCUMENTS.values():
        document.namespace["installed"] = lambda package: (
            importlib.util.find_spec(package) is not None
        )


@pytest.mark.parametrize("name", PAGES)
def test_all_examples_are_found(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    fences = text.count("```python\n")
    skips = text.count("<!--- skip: next")
    # Of a fence with prompts every prompt is an example.
    prompts = text.count("\n>>> ") - text.count("```python\n>>> ")
    found = len(list(DOCUMENTS[name].examples()))
    assert found == fences + prompts + skips and fences >= PAGES[name]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_is_there(name):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / name).read_text(encoding="utf-8"))
    for target in targets:
        assert (ROOT / name).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("name", ["README.md", "bindings/python/README.md"])
def test_the_first_example_is_torch(name):
    first = next(iter(DOCUMENTS[name].examples()))
    assert "from gradclip.torch import clip_grad_norm_" in str(first.parsed)


def test_readme_prints_what_it_says(capsys):
    """The comments behind and under its print()s."""
    for example in DOCUMENTS["README.md"].examples():
        example.evaluate()
        said = re.findall(r"^(?:print\(.*\)  )?# (.*)", str(example.parsed), re.MULTILINE)
        assert said and capsys.readouterr().out.splitlines() == said


# What a library's example contains that clips through the patch.
CLIPS = ("gradient_clip_val", "accelerator.clip_grad_norm_", "max_grad_norm", "wrapper.update")


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example, monkeypatch):
    """In order, with the names of those before."""
    calls = []
    clip = _clip.clip_whole
    monkeypatch.setattr(_clip, "clip_whole", lambda *a: calls.append(a[1]) or clip(*a))
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # other packages warn of each other
        try:
            example.evaluate()
        except SkipTest as skip:
            (pytest.fail if "GRADCLIP_ALL_EXAMPLES" in os.environ else pytest.skip)(str(skip))
    if any(text in str(example.parsed) for text in CLIPS):
        assert calls and all(gradients.arrays for gradients in calls)
