#!/usr/bin/env python3
"""arm64_python.py FOLDER WHEEL: a Python for arm64 imports the wheel and passes tests with NumPy, in qemu-aarch64.

The Python is Debian's, fetched by apt into FOLDER from the archive that this system installs from, and unpacked
there; nothing is installed. NumPy and pytest are PyPI's wheels for the same machine.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "bindings/python/tests"
# Those that start no Python of their own: the emulator runs one process.
TESTED = ("article", "clip_grad_norm", "containers", "dlpack", "nonfinite", "plan", "deferred")
QUICK = ("article", "containers")


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")
    return str(done.stdout)


def fetch(folder: Path) -> tuple[Path, Path]:
    """The root of arm64's Python, and the folder of its packages."""
    root, site = folder / "root", folder / "site"
    ready = folder / ".ready"
    if ready.exists():
        return root, site
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()  # as if nothing were installed: all that Python needs is fetched
    apt = ["apt-get", "-q", "-o", "APT::Sandbox::User=root"]
    for option, value in {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "Dir::State": folder,
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
    }.items():
        apt += ["-o", f"{option}={value}"]
    run(*apt, "update")
    run(*apt, "install", "-y", "--download-only", "--no-install-recommends", "python3", "libffi8", "libstdc++6")
    for package in sorted((folder / "archives").glob("*.deb")):
        run("dpkg-deb", "-x", package, root)
    version = run(*python(root), "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", site]
    machines = [f"--platform=manylinux{tag}_aarch64" for tag in ("2014", "_2_27", "_2_28")]
    run(*pip, *machines, f"--python-version={version}", "--only-binary=:all:", "numpy", "pytest", "hypothesis")
    ready.touch()
    return root, site


def python(root: Path) -> list[str | Path]:
    return ["qemu-aarch64", "-L", root, root / "usr/bin/python3"]


def main() -> None:
    words = [word for word in sys.argv[1:] if word != "--quick"]
    if len(words) != 2:
        sys.exit(__doc__)
    folder, wheel = (Path(word).resolve() for word in words)
    root, site = fetch(folder)
    installed = folder / "installed"
    run("rm", "-rf", installed)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    names = QUICK if "--quick" in sys.argv else TESTED
    path = f"{installed}:{site}"
    print(run(*python(root), "-m", "pytest", "-q", "-p", "no:cacheprovider",
              *(TESTS / f"test_{name}.py" for name in names), env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"}))  # fmt: skip


if __name__ == "__main__":
    main()
