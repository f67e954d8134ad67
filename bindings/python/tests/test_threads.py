"""Threads and processes."""

import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import gradclip


def clip_many(seed):
    random = np.random.default_rng(seed)
    for _ in range(50):
        grads = [random.standard_normal(n).astype("f4") for n in (3, 100, 4097)]
        expected = np.sqrt(sum(np.square(g, dtype="f8").sum() for g in grads))
        norm = gradclip.clip_grad_norm_(grads, 1.0, eps=0)
        assert norm == pytest.approx(expected, rel=1e-13)
        assert gradclip.get_total_norm(grads) == pytest.approx(1.0, rel=1e-6)
    return seed


def test_calls_from_several_threads():
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(clip_many, range(8))) == list(range(8))


def test_each_thread_gets_its_own_error():
    barrier = threading.Barrier(2)
    grad = np.ones(2)

    def fail(arguments):
        messages = set()
        for _ in range(200):
            barrier.wait()
            with pytest.raises(ValueError) as caught:
                gradclip.clip_grad_norm_([grad], *arguments)
            messages.add(str(caught.value).split()[0])
        return messages

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fail, [(-1.0,), (1.0, float("nan"))])
    assert first == {"max_norm"} and second == {"norm_type"}


def test_one_plan_in_several_threads():
    with gradclip.Plan([np.ones(1000), np.ones(24)]) as plan, ThreadPoolExecutor(4) as pool:
        norms = list(pool.map(lambda _: plan.get_total_norm(tensor_norms=True), range(200)))
    assert set(norms) == {32.0}
    assert all(norm.tensor_norms[1] == 24**0.5 for norm in norms)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_clips():
    clip_many(0)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            clip_many(1)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    clip_many(2)


def large_norm(_):
    """With gradients that the library's own threads take part in."""
    grad = np.zeros(4_000_000, "f4")
    grad[[0, -1]] = 3, 4
    return float(gradclip.clip_grad_norm_([grad], 1.0))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_librarys_threads_are_made_anew_in_worker_processes(method, monkeypatch):
    assert large_norm(0) == 5
    monkeypatch.setenv("GRADCLIP_NUM_THREADS", "2")
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(Path(__file__).parent), str(Path(gradclip.__file__).parents[1])]),
    )
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(large_norm, range(4)) == [5, 5, 5, 5]
    assert large_norm(0) == 5


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_clip(method, monkeypatch):
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(Path(__file__).parent), str(Path(gradclip.__file__).parents[1])]),
    )
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(clip_many, [1, 2]) == [1, 2]


def test_clips_at_interpreter_exit(python):
    code = """
import atexit, array, gradclip
grad = array.array("d", [3.0, 4.0])
plan = gradclip.Plan([grad])
atexit.register(lambda: print(plan.clip_grad_norm_(1.0), gradclip.get_total_norm([grad]) < 1.01))
"""
    assert python("-c", code).stdout == "5.0 True\n"


def test_a_process_ends_while_daemon_threads_clip(python):
    code = """
import array, threading, gradclip
started = threading.Barrier(4)
def work():
    grads = [array.array("f", bytes(4)) * 1_500_000, array.array("d", [3.0, 4.0])]
    started.wait()
    while True:
        gradclip.clip_grad_norm_(grads, 1e9)
        gradclip.get_total_norm(grads[1:])
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
started.wait()
print(gradclip.get_total_norm([array.array("d", [3.0, 4.0])]))
"""
    for _ in range(5):
        done = python("-c", code)
        assert (done.stdout, done.stderr) == ("5.0\n", "")
