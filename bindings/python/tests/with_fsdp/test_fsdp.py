"""fully_shard with CPUOffloadPolicy, and a group that serves an accelerator only (checks.py,
without_cpu.py), between processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

HERE = Path(__file__).parent


def run(program, ranks):
    return subprocess.run(
        [Path(sys.executable).with_name("torchrun"), "--standalone", f"--nproc-per-node={ranks}", HERE / program],
        capture_output=True, text=True, timeout=580, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def output(program, ranks):
    ended = run(program, ranks)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return ended.stdout


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
def test_dtensors_in_cpu_memory(ranks):
    assert f"DTensors in CPU memory on {ranks} ranks: passed" in output("checks.py", ranks)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_a_group_without_a_backend_for_the_cpu(ranks, finding):
    assert f"without a CPU backend, {ranks} ranks: torch dies" in output("without_cpu.py", ranks)
    finding(
        "torch's clip_grad_norm_ dies on CPU DTensors whose group has no backend for the CPU "
        "(NCCL's has none); under patch() the message goes by the group's device"
    )


def test_a_rank_without_the_patch_is_told_of():
    ended = run("without_patch.py", 2)
    assert ended.returncode != 0
    assert "rank 0, gradients as before: True: gradclip was putting" in ended.stdout, ended.stderr[
        -4000:
    ]
    assert "where gradclip.torch.patch() was not called on that rank" in ended.stdout
    assert "rank 1, gradients as before: False" not in ended.stdout
