"""The Python examples of the pages in docs/ run; those of other packages where these are installed."""

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

from gradclip.torch import _jobs  # noqa: E402

DOCS = Path(__file__).resolve().parents[4] / "docs"
# How many examples there are at least: a parser that finds none must not pass.
PAGES = {"python.md": 16, "choosing-max-norm.md": 5, "zh-CN.md": 4}
DOCUMENTS = {
    name: sybil.Sybil([PythonCodeBlockParser(), SkipParser()]).parse(DOCS / name) for name in PAGES
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
    text = (DOCS / name).read_text(encoding="utf-8")
    fences = text.count("```python\n")
    skips = text.count("<!--- skip: next")
    assert len(list(DOCUMENTS[name].examples())) == fences + skips and fences >= PAGES[name]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_links_to_is_there(name):
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (DOCS / name).read_text(encoding="utf-8"))
    for target in targets:
        assert (DOCS / target).exists(), target


# What a library's example contains that clips through the patch.
CLIPS = ("gradient_clip_val", "accelerator.clip_grad_norm_", "max_grad_norm", "wrapper.update")


@pytest.mark.parametrize("example", EXAMPLES)
def test_example(example, monkeypatch):
    """In order, with the names of those before."""
    calls = []
    clip = _jobs.clip_grad_norm_
    monkeypatch.setattr(_jobs, "clip_grad_norm_", lambda *a: calls.append(a[1]) or clip(*a))
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # other packages warn of each other
        try:
            example.evaluate()
        except SkipTest as skip:
            (pytest.fail if "GRADCLIP_ALL_EXAMPLES" in os.environ else pytest.skip)(str(skip))
    if any(text in str(example.parsed) for text in CLIPS):
        assert calls and all(gradients.tensors for gradients in calls)
