"""The command line, whatever command it is."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradclip._cli import main


def test_version_names_package_and_library(capsys):
    import gradclip
    from gradclip._native import ffi

    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    package, library = capsys.readouterr().out.splitlines()
    assert package == f"gradclip {gradclip.__version__}"
    assert library.endswith(f"from {ffi.library_path}")


def test_no_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "required: COMMAND" in capsys.readouterr().err


def test_runs_as_a_module_and_without_numpy(python, tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('blocked by the test')\n")
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[1:] = ['--version'];"
        "runpy.run_module('gradclip', run_name='__main__')"
    )
    assert "libgradclip" in python("-c", code).stdout
    assert "libgradclip" in python("-m", "gradclip", "--version").stdout


def test_a_closed_pipe_is_no_traceback(python, tmp_path):
    np.savez(tmp_path / "grads.npz", weight=np.ones(3, "f4"))
    command = [sys.executable, "-u", "-m", "gradclip", "inspect", str(tmp_path / "grads.npz")]
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(write)
    assert done.returncode == 1
    assert done.stderr == ""


def test_script_is_declared():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert 'gradclip = "gradclip._cli:main"' in text
