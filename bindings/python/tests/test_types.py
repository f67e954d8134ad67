"""The type hints: complete, and right for a user's program."""

import subprocess
import sys
from pathlib import Path

import gradclip

PROJECT = Path(__file__).parents[1]
PACKAGE = Path(gradclip.__file__).parent

PROGRAM = """
import array
import gradclip
import numpy as np

weight = np.zeros(3, np.float32)
norm = gradclip.clip_grad_norm_([weight], 1.0)
gradclip.clip_grad_norm_({"a": weight, "b": [weight, None]}, max_norm=1)
gradclip.clip_grad_norm_((g for g in [weight]), 1.0, nonfinite="zero", names=["w"])
gradclip.clip_grad_value_([array.array("f", [1.0]), memoryview(bytearray(8)).cast("f")], 1.0)
clipped, norm = gradclip.clip_grad_norm({"a": weight}, 1.0)
reveal_type(clipped["a"])
reveal_type(norm.nonfinite.index)
with gradclip.Plan([weight]) as plan:
    reveal_type(plan.get_total_norm())
accumulator = gradclip.Accumulator(exact_f64=True)
accumulator.add({"a": weight, "b": None})
accumulator.merge(accumulator.to_bytes())
reveal_type(accumulator.finish(1.0))
reports = gradclip.inspect([weight], names=["w"])
reveal_type(reports[0].index)
reveal_type(gradclip.defer_clip([weight], 1.0).factor)
gradclip.clip_grad_norm_([1.0], 1.0)
gradclip.clip_grad_norm_([weight], 1.0, nonfinite="ignore")
"""


def mypy(*arguments):
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", ".mypy_cache"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)


def test_package_and_examples_pass_strict_mypy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = str(PROJECT / "pyproject.toml")
    done = mypy("--config-file", config, *(str(PROJECT / n) for n in ("src/gradclip", "examples")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (PACKAGE / "py.typed").exists()


def test_a_users_program_is_understood(tmp_path, monkeypatch):
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    if PACKAGE.parent.name != "site-packages":  # where mypy looks by itself
        monkeypatch.setenv("MYPYPATH", str(PACKAGE.parent))
    lines = mypy("--strict", "program.py").stdout.splitlines()
    notes = [line for line in lines if "Revealed type" in line]
    assert "ndarray" in notes[0] and "float" in notes[0]
    assert "int, ...]" in notes[1] and "None" in notes[1]
    assert "Norm" in notes[2]
    assert "Norm" in notes[3]
    assert "int, ...]" in notes[4] and "None" in notes[4]
    assert "float" in notes[5]
    errors = [line for line in lines if ": error:" in line]
    assert len(errors) == 2, lines
    assert 'incompatible type "float"' in errors[0]
    assert '"nonfinite"' in errors[1]
