"""How the library is found, and which are refused."""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from conftest import CHECKOUT
from other_machines import OTHER_MACHINES, of_macos, of_windows

import gradclip
from gradclip._native import binary, ffi

IMPORT = "import gradclip; from gradclip._native import ffi; print(ffi.library_path)"
PACKAGE = Path(gradclip.__file__).parent


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package without a library, away from any checkout."""
    away = tmp_path / "a" / "b" / "c" / "d" / "site"
    shutil.copytree(
        PACKAGE, away / "gradclip", ignore=shutil.ignore_patterns("*.so*", "__pycache__")
    )
    return away


@pytest.fixture
def run(python, package, monkeypatch):
    def run(check=True):
        monkeypatch.setenv("PYTHONPATH", str(package))
        return python("-c", IMPORT, check=check)

    return run


def fake(directory, version, name="libgradclip.so.1"):
    """A shared library that only tells a version."""
    source = directory / "fake.c"
    source.write_text(f"unsigned gradclip_version(void) {{ return {version}; }}\n")
    library = directory / name
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library


def test_a_missing_library_prints_the_order_that_was_tried(run, monkeypatch, tmp_path):
    monkeypatch.delenv("GRADCLIP_LIBRARY")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    done = run(check=False)
    assert done.returncode != 0
    message = done.stderr[done.stderr.rindex("ImportError: ") :].splitlines()
    assert message[0] == (
        "ImportError: libgradclip.so.1 could not be loaded. Tried, in this order:"
    )
    places = [line.split(":")[0].strip() for line in message[1:]]
    assert places == ["GRADCLIP_LIBRARY", "inside the package", "the system's loader"]


def test_the_override_alone_is_tried(run, monkeypatch, package):
    shutil.copy(ffi.library_path, package / "gradclip" / "libgradclip.so.1")
    monkeypatch.setenv("GRADCLIP_LIBRARY", "/nowhere/libgradclip.so")
    done = run(check=False)
    assert "GRADCLIP_LIBRARY: /nowhere/libgradclip.so: cannot open" in done.stderr
    assert "inside the package" not in done.stderr


def test_the_override_wins(run, monkeypatch, package, tmp_path):
    fake(package / "gradclip", 99999)
    elsewhere = tmp_path / "renamed.so"
    shutil.copy(ffi.library_path, elsewhere)
    monkeypatch.setenv("GRADCLIP_LIBRARY", str(elsewhere))
    assert run().stdout.strip() == str(elsewhere)


def test_the_packages_own_comes_before_the_checkouts_and_the_systems(
    run, monkeypatch, package, tmp_path
):
    monkeypatch.delenv("GRADCLIP_LIBRARY")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    system = tmp_path / "libgradclip.so.1"
    shutil.copy(ffi.library_path, system)
    assert run().stdout.strip() == "libgradclip.so.1"
    # site/gradclip lies four levels below a directory that looks like a checkout
    checkout = package.parents[2]
    (checkout / "include").mkdir()
    (checkout / "include" / "gradclip.h").touch()
    (checkout / "build" / "lib").mkdir(parents=True)
    built = checkout / "build" / "lib" / "libgradclip.so.1"
    shutil.copy(ffi.library_path, built)
    assert run().stdout.strip() == str(built)
    own = package / "gradclip" / "libgradclip.so.1"
    shutil.copy(ffi.library_path, own)
    assert run().stdout.strip() == str(own)


def test_a_file_that_does_not_load_is_told_and_the_next_is_tried(
    run, monkeypatch, package, tmp_path
):
    monkeypatch.delenv("GRADCLIP_LIBRARY")
    (package / "gradclip" / "libgradclip.so.1").write_text("not a library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert "libgradclip.so.1: file too short" in run(check=False).stderr
    shutil.copy(ffi.library_path, tmp_path / "libgradclip.so.1")
    assert run().stdout.strip() == "libgradclip.so.1"


# ------------------------------------------------------- of another machine --


@pytest.mark.parametrize("said", OTHER_MACHINES)
def test_a_library_of_another_machine_is_refused_by_name(run, monkeypatch, tmp_path, said):
    library = tmp_path / "libgradclip.so"
    library.write_bytes(OTHER_MACHINES[said])
    assert binary.machine(str(library)) == said
    monkeypatch.setenv("GRADCLIP_LIBRARY", str(library))
    done = run(check=False)
    own = binary.machine(str(Path(ffi.library_path).resolve()))
    assert f"GRADCLIP_LIBRARY: {library} is for {said}, and this Python needs {own}" in done.stderr


def test_a_library_of_another_machine_is_passed_over_where_there_is_another(
    run, monkeypatch, package, tmp_path
):
    monkeypatch.delenv("GRADCLIP_LIBRARY")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    (package / "gradclip" / "libgradclip.so.1").write_bytes(of_windows("x86_64"))
    shutil.copy(ffi.library_path, tmp_path / "libgradclip.so.1")
    assert run().stdout.strip() == "libgradclip.so.1"


@pytest.mark.parametrize("size", [0, 3, 19, 62, 64, 100, 500, 3000])
def test_a_part_of_a_file_says_nothing_or_the_truth(tmp_path, size):
    whole = binary.machine(str(Path(ffi.library_path).resolve()))
    own = Path(ffi.library_path).read_bytes()
    for said, code in [(whole, own), *OTHER_MACHINES.items()]:
        part = tmp_path / "part"
        part.write_bytes(code[:size])
        assert binary.machine(str(part)) in (None, said, " ".join(said.split()[:2]))
    assert binary.machine(str(tmp_path / "none")) is None


def test_the_segments_of_a_file_may_be_in_any_order(tmp_path):
    """patchelf puts the one with the names last."""
    code = bytearray(Path(ffi.library_path).resolve().read_bytes())
    first = struct.unpack_from("<Q", code, 32)[0]
    size, count = struct.unpack_from("<HH", code, 54)
    headers = [code[first + size * i : first + size * (i + 1)] for i in range(count)]
    code[first : first + size * count] = b"".join(reversed(headers))
    library = tmp_path / "library"
    library.write_bytes(code)
    assert binary.machine(str(library)) == binary.machine(str(Path(ffi.library_path).resolve()))
    assert len(binary.machine(str(library)).split()) == 3
    # Names that lie nowhere.
    library.write_bytes(code[: first + size] + b"\0" * len(code))
    assert len(binary.machine(str(library)).split()) == 2


# A stand-in for Python on another system: what it says of itself, and its loader, which loads the
# library of this system for every path and tells which it was.
STAND_IN = """
import ctypes, os, sys, types
sys.platform, sys.executable, real = sys.argv[1:4]
if sys.platform == "darwin":
    os.uname = lambda: types.SimpleNamespace(machine="arm64")
dlopen = ctypes.CDLL
def loader(path):
    if not os.path.isfile(path):
        raise OSError(path + ": cannot open")
    return dlopen(real)
ctypes.CDLL = loader
from gradclip._native import load
print(load.load()[1])
"""


@pytest.mark.parametrize(
    ("platform", "name", "right", "wrong"),
    [
        ("darwin", "libgradclip.1.dylib", of_macos("arm64"), of_macos("x86_64")),
        ("win32", "gradclip.dll", of_windows("x86_64"), of_windows("arm64")),
        ("linux", "libgradclip.so.1", None, of_windows("x86_64")),
    ],
    ids=["macos", "windows", "linux"],
)
def test_each_systems_layout(monkeypatch, python, package, tmp_path, platform, name, right, wrong):
    monkeypatch.setenv("PYTHONPATH", str(package))
    # Only what loads, of which nothing else of the package is needed.
    (package / "gradclip" / "__init__.py").write_text("")
    (package / "gradclip" / "_native" / "__init__.py").write_text("")
    executable = tmp_path / "python.exe"
    executable.write_bytes(of_windows("x86_64"))
    real = str(Path(ffi.library_path).resolve())
    monkeypatch.delenv("GRADCLIP_LIBRARY")

    def stand_in(check=True):
        return python("-c", STAND_IN, platform, str(executable), real, check=check)

    message = stand_in(check=False).stderr
    assert f"ImportError: {name} could not be loaded. Tried, in this order:" in message
    # The checkout's, and before that the package's own.
    checkout = package.parents[2]
    (checkout / "include").mkdir()
    (checkout / "include" / "gradclip.h").touch()
    (checkout / "build" / "lib").mkdir(parents=True)
    for place in (checkout / "build" / "lib" / name, package / "gradclip" / name):
        place.write_bytes(right or Path(real).read_bytes())
        assert stand_in().stdout.strip() == str(place)
    (package / "gradclip" / name).write_bytes(wrong)
    (checkout / "build" / "lib" / name).unlink()
    assert f"inside the package: {package / 'gradclip' / name} is for " in stand_in(False).stderr


MAJOR, MINOR, PATCH = (int(part) for part in gradclip.__version__.split("."))
OWN = MAJOR * 10000 + MINOR * 100 + PATCH


def test_the_package_has_the_version_of_the_header():
    header = (CHECKOUT / "include" / "gradclip.h").read_text()
    assert f'GRADCLIP_VERSION_STRING "{gradclip.__version__}"' in header
    assert ffi.gradclip_version() >= OWN
    assert re.fullmatch(rb"\d+\.\d+\.\d+", ffi.gradclip_version_string())


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (OWN - 1, f"{(OWN - 1) // 10000}.{(OWN - 1) // 100 % 100}.{(OWN - 1) % 100}"),
        ((MAJOR + 1) * 10000, f"{MAJOR + 1}.0.0"),
        ((MAJOR + 1) * 10000 + 203, f"{MAJOR + 1}.2.3"),
    ],
)
def test_an_older_library_or_another_major_version_is_refused(
    run, monkeypatch, tmp_path, version, text
):
    library = fake(tmp_path, version)
    monkeypatch.setenv("GRADCLIP_LIBRARY", str(library))
    done = run(check=False)
    assert (
        f"ImportError: the package gradclip {gradclip.__version__} needs libgradclip "
        f"{gradclip.__version__} or a later {MAJOR}.x, but {library} is version {text}"
    ) in done.stderr


def test_an_older_library_of_the_same_major_version_is_refused(run, monkeypatch, package, tmp_path):
    (package / "gradclip" / "_version.py").write_text('__version__ = "1.4.2"\n')
    library = fake(tmp_path, 10401)
    monkeypatch.setenv("GRADCLIP_LIBRARY", str(library))
    message = (
        f"the package gradclip 1.4.2 needs libgradclip 1.4.2 .* but {library} is version 1.4.1"
    )
    assert re.search(message, run(check=False).stderr)
    fake(tmp_path, 10402)
    assert "ImportError" not in run(check=False).stderr  # goes on, to fail on what is missing


def test_a_newer_library_of_the_same_major_version_is_taken(monkeypatch, tmp_path):
    import ctypes

    from gradclip._native import load

    library = fake(tmp_path, OWN + 1)
    load._check_version(ctypes.CDLL(str(library)), str(library))


def test_some_other_library_is_refused(run, monkeypatch, tmp_path):
    source = tmp_path / "other.c"
    source.write_text("int other;\n")
    library = tmp_path / "other.so"
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    monkeypatch.setenv("GRADCLIP_LIBRARY", str(library))
    assert f"{library} is not libgradclip: it has no function" in run(check=False).stderr
