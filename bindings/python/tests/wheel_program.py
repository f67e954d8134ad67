"""What run-wheel.sh runs on every Python: the package by itself, with the standard library only."""

import array
import atexit
import math
import multiprocessing
import os
import shutil
import sys
import threading

import gradclip
from gradclip._native import ffi


def clip(values):
    grad = array.array("f", values)
    norm = gradclip.clip_grad_norm_([grad], 2.5, eps=0)
    return float(norm), grad.tolist()


def main():
    for program in ("swift", "swiftc", "cc", "gcc", "clang"):
        assert shutil.which(program) is None, f"{program} is in PATH"
    package = os.path.dirname(os.path.realpath(gradclip.__file__))
    assert os.path.realpath(ffi.library_path) == os.path.join(package, "libgradclip.so.1")
    assert "numpy" not in sys.modules
    if hasattr(sys, "_is_gil_enabled"):
        free_threaded = "t" in getattr(sys, "abiflags", "")
        assert sys._is_gil_enabled() == (not free_threaded), "the import took the lock back"

    assert clip([3.0, 4.0]) == (5.0, [1.5, 2.0])
    grads = {"w": array.array("d", [3.0, math.nan]), "b": memoryview(bytearray(8)).cast("f")}
    norm = gradclip.clip_grad_norm_(grads, 1.0)
    assert str(norm.nonfinite).endswith("index (1,), of 'w' (gradient 0)"), norm.nonfinite
    with gradclip.Plan(grads) as plan:
        assert plan.clip_grad_norm_(1.5, eps=0, nonfinite="zero") == 3.0
    assert grads["w"].tolist() == [1.5, 0.0]
    try:
        gradclip.clip_grad_norm_(grads, -1.0)
    except ValueError as error:
        assert "max_norm must be a number >= 0 (got -1)" in str(error), error
    else:
        raise AssertionError("max_norm = -1 was not refused")

    # Large enough for the library's own threads, from several of Python's at once.
    found = []
    large = [array.array("f", bytes(4)) * 2_000_000 for _ in range(4)]

    def work(mine):
        mine[7] = 5.0
        for _ in range(10):
            found.append(float(gradclip.get_total_norm([mine])))

    threads = [threading.Thread(target=work, args=(grad,)) for grad in large]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5.0] * 40, found

    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.apply(clip, ([3.0, 4.0],)) == (5.0, [1.5, 2.0])
    atexit.register(lambda: clip([3.0, 4.0]) == (5.0, [1.5, 2.0]) or os._exit(3))


if __name__ == "__main__":
    main()
