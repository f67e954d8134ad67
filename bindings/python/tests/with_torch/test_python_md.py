"""The Python examples of docs/python.md run; those of other packages where these are installed."""

import importlib.util
import warnings
from pathlib import Path
from unittest import SkipTest

import pytest

pytest.importorskip("torch")
sybil = pytest.importorskip("sybil")

from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser  # noqa: E402

from gradclip.torch import _jobs  # noqa: E402

PAGE = Path(__file__).resolve().parents[4] / "docs" / "python.md"
DOCUMENT = sybil.Sybil([PythonCodeBlockParser(), SkipParser()]).parse(PAGE)
EXAMPLES = list(DOCUMENT.examples())


@pytest.fixture(scope="module", autouse=True)
def names():
    DOCUMENT.namespace["installed"] = lambda package: importlib.util.find_spec(package) is not None


def test_all_examples_are_found():
    fences = PAGE.read_text().count("```python\n")
    skips = PAGE.read_text().count("<!--- skip: next")
    assert len(EXAMPLES) == fences + skips and fences >= 16


# What a library's example contains that clips through the patch.
CLIPS = ("gradient_clip_val", "accelerator.clip_grad_norm_", "max_grad_norm", "wrapper.update")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line {example.line}")
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
            pytest.skip(str(skip))
    if any(text in str(example.parsed) for text in CLIPS):
        assert calls and all(gradients.tensors for gradients in calls)
