"""gradclip.deepspeed in engines of DeepSpeed, on 1, 2 and 3 ranks (checks.py)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("deepspeed")

CHECKS = Path(__file__).with_name("checks.py")
NAMES = re.findall(r"^def check_(\w+)", CHECKS.read_text(), re.M)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_checks(ranks, finding):
    bin_folder = Path(sys.executable).parent  # ninja is there
    run = subprocess.run(
        [bin_folder / "torchrun", "--standalone", f"--nproc-per-node={ranks}", CHECKS],
        capture_output=True, text=True, timeout=580,
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1",
             "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    passed = re.findall(r"^ok (.*)", run.stdout, re.M)
    assert passed == [name.replace("_", " ") for name in NAMES]
    finding(re.search(r"^norms and unscaling.*", run.stdout, re.M).group())
