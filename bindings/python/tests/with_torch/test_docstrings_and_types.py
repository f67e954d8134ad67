"""The examples in the docstrings, and the type hints, which need torch to be checked in full."""

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import gradclip.torch as gt  # noqa: E402

PROJECT = Path(__file__).parents[2]

PROGRAM = """
import torch
import gradclip.torch as gt

model = torch.nn.Linear(2, 2)
reveal_type(gt.clip_grad_norm_(model.parameters(), 1.0, eps=0, nonfinite="zero"))
gt.clip_grads_with_norm_(model.weight, 1.0, gt.get_total_norm([torch.ones(2)]), True)
with gt.patch() as patch:
    reveal_type(patch.missed)
reveal_type(gt.clip_and_step(torch.optim.SGD(model.parameters()), 1.0))
gt.Plan(model.parameters()).clip_grad_value_(1)
gt.clip_grad_norm_([1.0], 1.0)
gt.Plan(model.parameters()).clip_grad_norm_(1.0, nonfinite="ignore")
"""


@pytest.mark.parametrize("name", gt.__all__)
def test_docstring(name):
    value = getattr(gt, name)
    assert value.__doc__
    if name == "Patch":
        return
    (test,) = doctest.DocTestFinder(recurse=False).find(
        value, name, globs={**vars(gt), "torch": torch}
    )
    report = []
    failed, attempted = doctest.DocTestRunner().run(test, out=report.append)
    assert not failed, "".join(report)
    assert attempted >= 1


def mypy(directory, *arguments):
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", ".mypy_cache"]
    package = Path(gt.__file__).parents[2]
    environment = {**os.environ}
    if package.name != "site-packages":  # where mypy looks by itself
        environment["MYPYPATH"] = str(package)
    return subprocess.run(
        [*command, *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_package_and_examples_pass_strict_mypy_with_torchs_own_types(tmp_path):
    pytest.importorskip("mypy")
    sources = [str(PROJECT / name) for name in ("src/gradclip", "examples")]
    done = mypy(tmp_path, "--config-file", str(PROJECT / "pyproject.toml"), *sources)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_users_program_is_understood(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(PROGRAM)
    lines = mypy(tmp_path, "--strict", "program.py").stdout.splitlines()
    notes = [line for line in lines if "Revealed type" in line]
    for note, expected in zip(notes, ("Tensor", "str", "Tensor")):
        assert expected in note
    errors = [line for line in lines if "error:" in line]
    assert len(notes) == 3 and len(errors) == 2, lines
    assert "float" in errors[0] and '"nonfinite"' in errors[1]
