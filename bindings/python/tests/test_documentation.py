"""The examples in README.md, docs/arrays.md and the docstrings run and print what they say."""

import doctest
import re
from pathlib import Path

import gradclip
import pytest
from conftest import CHECKOUT

README = Path(__file__).parents[1] / "README.md"


def examples(text, name):
    # A fence ends an example, as an empty line does.
    lines = ["" if line.startswith("```") else line for line in text.splitlines()]
    return doctest.DocTestParser().get_doctest("\n".join(lines), {}, name, name, 0)


def run(test):
    report = []
    runner = doctest.DocTestRunner()
    failed, attempted = runner.run(test, out=report.append)
    assert not failed, "".join(report)
    return attempted


@pytest.mark.parametrize("page", [README, CHECKOUT / "docs" / "arrays.md"], ids=lambda p: p.name)
def test_pages(page):
    if not page.exists():
        pytest.skip("an sdist has no docs")
    text = page.read_text()
    assert run(examples(text, page.name)) == text.count("\n>>> ") > 10


@pytest.mark.parametrize(
    "function",
    [
        gradclip.clip_grad_norm_,
        gradclip.clip_grad_norm,
        gradclip.defer_clip,
        gradclip.get_total_norm,
        gradclip.clip_grads_with_norm_,
        gradclip.clip_grad_value_,
        gradclip.Plan,
        gradclip.Accumulator,
        gradclip.Accumulator.from_bytes,
        gradclip.inspect,
        gradclip.Monitor,
        gradclip.AutoClip,
        gradclip.ZClip,
        gradclip.AdaGC,
        gradclip.SkipStep,
    ],
)
def test_docstrings(function):
    (test,) = doctest.DocTestFinder(recurse=False).find(
        function,
        function.__name__,
        globs={name: getattr(gradclip, name) for name in gradclip.__all__},
    )
    assert run(test) >= 2


def test_choosers_page(capsys):
    page = CHECKOUT / "docs" / "choosers.md"
    if not page.exists():
        pytest.skip("an sdist has no docs")
    page = page.read_text()
    # (One without "prints" needs torch: with_torch/test_docs.py runs it.)
    text = r"((?:(?!```).)*)"
    blocks = re.findall(rf"```python\n{text}```(?:(?!```).)*?prints `(.*?)`", page, re.S)
    assert len(blocks) == 3
    for code, printed in blocks:
        exec(compile(code, "docs/choosers.md", "exec"), {})
        assert capsys.readouterr().out.strip() == printed
