"""The wheel: what is in it, how it is tagged, and that what it carries is used."""

import email
import os
import re
import runpy
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from conftest import CHECKOUT
from other_machines import of_linux, of_macos, of_windows

import gradclip
from gradclip._native import ffi

PROJECT = Path(__file__).parents[1]
LIBRARY = Path(ffi.library_path).resolve()


def build(directory, prebuilt, **environment):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    environment["GRADCLIP_PREBUILT"] = str(prebuilt)
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
    assert "gradclip/py.typed" in names and "gradclip/_cli/inspect.py" in names
    assert "gradclip/torch/__init__.py" in names
    assert not [name for name in names if name.startswith("tests") or "hatch_build" in name]


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


def test_no_link_leads_nowhere_from_an_index(wheel):
    """The project has no public address: what its pages are called stands in the place of links,
    and no address is made up. With one, [project.urls] of pyproject.toml, they lead there."""
    metadata = metadata_of(wheel)
    assert metadata["Description-Content-Type"] == "text/markdown"
    text, urls = metadata.get_payload(), dict(
        line.split(", ") for line in metadata.get_all("Project-URL", [])
    )
    assert "example." not in str(urls) + text
    links = re.findall(r"\[[^]]*\]\(([^)]*)\)", (PROJECT / "README.md").read_text())
    paths = [os.path.normpath(f"bindings/python/{link.partition('#')[0]}") for link in links]
    assert len(paths) >= 5
    if (CHECKOUT / "docs").exists():
        assert all((CHECKOUT / path).exists() for path in paths)
    if "Source" in urls:
        assert all(url.startswith(urls["Source"]) for url in urls.values())
        assert all(f"]({urls['Source']}/blob/main/{path}" in text for path in paths)
    else:
        assert not urls and "](" not in text and all(f"`{path}`" in text for path in paths)


def test_links_lead_to_the_source_once_it_has_an_address():
    build_hooks = runpy.run_path(str(PROJECT / "hatch_build.py"))
    text = "see [a page](../../docs/x.md#part), [that](https://other.net/a), [here](#below)"
    there = build_hooks["for_an_index"](text, "https://host/gradclip")
    assert there == text.replace("../../docs", "https://host/gradclip/blob/main/docs")
    nowhere = build_hooks["for_an_index"](text, None)
    assert nowhere == "see `docs/x.md`, [that](https://other.net/a), [here](#below)"


def test_says_how_far_it_is_and_where_it_runs(wheel):
    metadata = metadata_of(wheel)
    classifiers = metadata.get_all("Classifier")
    assert metadata["Version"] == gradclip.__version__
    stable = [c for c in classifiers if c.startswith("Development Status")]
    assert stable == ["Development Status :: 5 - Production/Stable"]
    for minor in range(11, 15):
        assert f"Programming Language :: Python :: 3.{minor}" in classifiers
    assert any(c.startswith("Programming Language :: Python :: Free Threading") for c in classifiers)
    assert metadata.get_all("Requires-Dist") and all("extra ==" in r for r in metadata.get_all("Requires-Dist"))


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


@pytest.mark.parametrize(
    ("platform", "code", "name"),
    [
        ("manylinux2014_x86_64", of_linux("x86_64", "glibc"), "libgradclip.so.1"),
        ("manylinux_2_17_aarch64", of_linux("aarch64", "glibc"), "libgradclip.so.1"),
        ("musllinux_1_2_x86_64", of_linux("x86_64", "musl"), "libgradclip.so.1"),
        ("musllinux_1_2_aarch64", of_linux("aarch64", "musl"), "libgradclip.so.1"),
        ("macosx_11_0_arm64", of_macos("arm64"), "libgradclip.1.dylib"),
        ("win_amd64", of_windows("x86_64"), "gradclip.dll"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wheel_for_another_system(tmp_path, platform, code, name):
    library = tmp_path / "prebuilt"
    library.write_bytes(code)
    done = build(tmp_path / "dist", library, GRADCLIP_WHEEL_PLATFORM=platform)
    assert done.returncode == 0, done.stderr
    (built,) = (tmp_path / "dist").iterdir()
    assert built.name.endswith(f"-py3-none-{platform}.whl")
    with zipfile.ZipFile(built) as archive:
        libraries = [n for n in archive.namelist() if n.endswith((".so.1", ".dylib", ".dll"))]
        assert libraries == [f"gradclip/{name}"]
        assert archive.read(libraries[0]) == code


@pytest.mark.parametrize(
    ("platform", "code", "message"),
    [
        ("win_amd64", of_windows("arm64"), "is for Windows arm64, and a wheel for win_amd64"),
        ("macosx_11_0_arm64", of_macos("x86_64"), "needs one for macOS arm64"),
        ("musllinux_1_2_x86_64", of_linux("x86_64", "glibc"), "needs one for Linux x86_64 musl"),
        ("manylinux2014_x86_64", of_linux("aarch64", "glibc"), "is for Linux aarch64 glibc"),
        ("manylinux2014_x86_64", b"text", "is no shared library of Linux, macOS or Windows"),
        ("beos_x86", of_windows("x86_64"), "no platform tag that is known (got beos_x86)"),
        ("", of_windows("x86_64"), "is for Windows x86_64, and a wheel for linux_"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_library_of_another_machine_is_refused(tmp_path, platform, code, message):
    library = tmp_path / "prebuilt"
    library.write_bytes(code)
    done = build(tmp_path / "dist", library, GRADCLIP_WHEEL_PLATFORM=platform)
    assert done.returncode != 0
    assert message in done.stderr
    assert not list(tmp_path.glob("dist/*.whl"))
