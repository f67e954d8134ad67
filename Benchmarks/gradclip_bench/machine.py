"""The machine, for the record."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from . import driver


def _first(path: str, prefix: str) -> str:
    """What follows the colon in the first line that begins so."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(prefix)), "")


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _caches() -> list[str]:
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = _text(index / "type")
        if kind != "Instruction":
            shared = _text(index / "shared_cpu_list")
            found.append(f"L{_text(index / 'level')} {_text(index / 'size')} shared by processors {shared}")
    return found


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def describe() -> dict:
    flags = _first("/proc/cpuinfo", "flags").split()
    folder = Path(__file__).parent
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "architecture": platform.machine(),
        "processors usable": len(os.sched_getaffinity(0)),
        "hypervisor": "hypervisor" in flags,
        "AVX2": "avx2" in flags,
        "AVX-512": "avx512f" in flags,
        "AVX-512 IFMA": "avx512ifma" in flags,
        "family": _first("/proc/cpuinfo", "cpu family"),
        "model": _first("/proc/cpuinfo", "model\t"),
        "caches": _caches(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "transparent huge pages": _text(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
        "kernel": platform.release(),
        "load average": [round(load, 2) for load in os.getloadavg()],
        "kernels of gradclip": driver.isa(),
        "compiler of the driver": (_output("cc", "--version").splitlines() or [""])[0],
        "Python": platform.python_version(),
        "commit": _output("git", "-C", str(folder), "rev-parse", "--short", "HEAD"),
        "commit has local changes": bool(_output("git", "-C", str(folder), "status", "--porcelain", "-uno")),
    }


def one_line(machine: dict) -> str:
    vector = "AVX-512" if machine["AVX-512"] else "AVX2, no AVX-512" if machine["AVX2"] else machine["architecture"]
    kind = f"{machine['processor']} (family {machine['family']}, model {machine['model']})"
    return f"{kind}, {machine['processors usable']} processors, {vector}, {machine['date']}"
