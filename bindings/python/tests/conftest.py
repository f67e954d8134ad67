"""What the tests share. They run against the gradclip that Python finds: the installed one."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from peer_report import compared, finding, pytest_sessionfinish

__all__ = ["compared", "finding", "pytest_sessionfinish"]  # for pytest to find here

# The checkout, or the part of it that an sdist carries.
_PROJECT = Path(__file__).resolve().parents[1]
CHECKOUT = _PROJECT / "library" if (_PROJECT / "library").is_dir() else _PROJECT.parents[1]
sys.path.insert(0, str(CHECKOUT / "Tests" / "oracle"))

SEED = 20251103

# A gate tries the same examples everywhere, so that a commit has one outcome; who asks for a long run
# (GRADCLIP_EXAMPLES) looks for new ones.
try:
    import hypothesis
except ImportError:
    pass  # the comparisons with torch and others draw none
else:
    hypothesis.settings.register_profile("gate", derandomize=True, database=None)
    if "GRADCLIP_EXAMPLES" not in os.environ:
        hypothesis.settings.load_profile("gate")


def pytest_report_header():
    import gradclip
    from gradclip._native import ffi

    return [
        f"gradclip {gradclip.__version__} from {Path(gradclip.__file__).parent}",
        f"libgradclip {ffi.gradclip_version_string().decode()} from {ffi.library_path}",
        f"random seed {SEED}",
    ]


@pytest.fixture
def rng():
    return random.Random(SEED)


@pytest.fixture
def log(tmp_path):
    """Writes text to a file, and reads it as `gradclip advise` does."""
    from gradclip._advise.readers import read

    def reads(text, name="run.log", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(str(path), **options)

    return reads


@pytest.fixture
def python(monkeypatch):
    """Runs code in a fresh Python that finds the same package and library; returns the process."""
    import gradclip
    from gradclip._native import ffi

    monkeypatch.setenv("GRADCLIP_LIBRARY", str(Path(ffi.library_path).resolve()))
    monkeypatch.setenv("PYTHONPATH", str(Path(gradclip.__file__).parents[1]))

    def run(*arguments, check=True):
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, timeout=120
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run
