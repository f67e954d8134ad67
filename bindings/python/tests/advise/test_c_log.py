"""The CSV of a C program (gradclip_monitor) is read as Monitor's own is, and has its columns."""

import ctypes
import math
from array import array
from contextlib import nullcontext

import pytest

pytest.importorskip("numpy")

import gradclip
from gradclip._advise.readers import read
from gradclip._native import ffi


def c_log(path, norms, rate, losses):
    """What a C trainer writes: every step clipped by gradclip_clip_grad_norm, then logged.
    Returns the warnings."""
    warnings = []
    with open(path, "w") as file:
        lines = {ffi.GRADCLIP_LOG_CSV: file.write, ffi.GRADCLIP_LOG_WARNING: warnings.append}

        @ffi.gradclip_log_callback
        def take(_, kind, text):
            lines[kind](text.decode("ascii") + "\n")

        monitor = ffi.gradclip_monitor()
        assert ffi.gradclip_monitor_init(monitor, ctypes.sizeof(monitor)) == 0
        monitor.callback = take
        for norm, loss in zip(norms, losses):
            result = ffi.gradclip_result(ctypes.sizeof(ffi.gradclip_result))
            grad = (ctypes.c_double * 2)(norm, 0.0)
            tensor = ffi.gradclip_tensor(
                ctypes.cast(grad, ctypes.c_void_p), 2, ffi.GRADCLIP_F64, 0, 1, 0
            )
            ffi.gradclip_clip_grad_norm(tensor, 1, 1.5, 2.0, None, result)
            loss_of = ctypes.byref(ctypes.c_double(loss))
            rate_of = ctypes.byref(ctypes.c_double(rate))
            assert ffi.gradclip_monitor_log(monitor, rate_of, loss_of, result, None) == 0
    return warnings


def test_the_adviser_reads_it(tmp_path):
    norms = [1 + 0.3 * math.sin(i) for i in range(400)]
    norms[300] = math.nan
    losses = [2 - i / 400 for i in range(400)]
    warnings = c_log(tmp_path / "c.csv", norms, 0.1, losses)
    with gradclip.Monitor(1.5, log=tmp_path / "python.csv") as monitor:
        for norm, loss in zip(norms, losses):
            with pytest.warns() if norm != norm else nullcontext():
                monitor.clip_({"w": array("d", [norm, 0.0])}, loss=loss, learning_rate=0.1)
    header = (
        "step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element"
    )
    assert (tmp_path / "c.csv").read_text().splitlines()[0] == header + ",threshold,action"
    ours = (tmp_path / "python.csv").read_text().splitlines()[0]
    assert ours.split(",")[:8] == header.split(",")
    logs = [read(str(tmp_path / name)) for name in ("c.csv", "python.csv")]
    for name in ("norm", "loss", "learning_rate", "step"):
        of_c, of_python = (getattr(log, name).tolist() for log in logs)
        assert list(map(repr, of_c)) == list(map(repr, of_python)) and len(of_c) == 400, name
    assert warnings == [
        "step 301: NaN or infinite gradients, elements: 1, the first: element 0 of tensor 0\n"
    ]
