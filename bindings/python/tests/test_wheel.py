"""The wheel: what is in it, how it is tagged, and that what it carries is used."""

import email
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import CHECKOUT

from gradclip._native import ffi

PROJECT = Path(__file__).parents[1]
LIBRARY = Path(ffi.library_path).resolve()


def build(directory, prebuilt):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    environment = {"GRADCLIP_PREBUILT": str(prebuilt)}
    return subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dist")
    done = build(directory, LIBRARY)
    assert done.returncode == 0, done.stderr
    (built,) = directory.iterdir()
    return built


def test_carries_the_library_under_its_soname(wheel):
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("gradclip/libgradclip.so.1") == LIBRARY.read_bytes()
        names = archive.namelist()
    assert "gradclip/py.typed" in names and "gradclip/_cli/article.py" in names
    assert "gradclip/torch/__init__.py" in names
    assert not [name for name in names if name.startswith("tests") or "hatch_build" in name]


def test_carries_the_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(name) == (PROJECT / "LICENSE").read_bytes()


def test_the_licence_is_that_of_the_whole_project():
    """A copy, because a link would point out of the sdist."""
    whole = CHECKOUT / "LICENSE"
    if not whole.exists():
        pytest.skip("this is an sdist: it has one licence only")
    assert (PROJECT / "LICENSE").read_bytes() == whole.read_bytes()
    assert not (PROJECT / "LICENSE").is_symlink()


def test_is_tagged_for_any_python_on_this_platform(wheel):
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    assert wheel.name.endswith(f"-py3-none-{platform}.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/WHEEL")]
        tags = email.message_from_bytes(archive.read(name))
    assert tags["Root-Is-Purelib"] == "false"
    assert tags["Tag"] == f"py3-none-{platform}"


def test_the_unpacked_wheel_finds_its_own_library(wheel, tmp_path, monkeypatch):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    monkeypatch.delenv("GRADCLIP_LIBRARY", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code = "import gradclip; from gradclip._native import ffi; print(ffi.library_path)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(tmp_path / "gradclip" / "libgradclip.so.1")


@pytest.mark.parametrize(
    ("prebuilt", "message"),
    [
        ("/nowhere/libgradclip.so", "GRADCLIP_PREBUILT names no file: /nowhere/libgradclip.so"),
        ("build/lib/x.so", "GRADCLIP_PREBUILT must be an absolute path (got build/lib/x.so)"),
    ],
)
def test_a_prebuilt_library_that_is_not_there_is_an_error(tmp_path, prebuilt, message):
    done = build(tmp_path, prebuilt)
    assert done.returncode != 0
    assert message in done.stderr
