"""The CSV of a C program (gradclip_monitor) has the columns and cells of Monitor's own, choosers'
decisions included, and is read as that."""

import csv
import ctypes
import math
from array import array
from contextlib import nullcontext

import pytest

pytest.importorskip("numpy")

import gradclip
from gradclip._advise.readers import read
from gradclip._native import ffi

HEADER = (
    "step,grad_norm,clip_coef,learning_rate,loss,nonfinite_count,first_tensor,first_element,"
    "threshold,action"
)


def c_log(path, norms, rate, losses, kind=None):
    """What a C trainer writes: every step clipped by gradclip_clip_grad_norm, or by a chooser of
    this kind, then logged. Returns the warnings."""
    warnings = []
    chooser, decision = ctypes.c_void_p(), None
    if kind is not None:
        options = ffi.gradclip_chooser_options()
        assert ffi.gradclip_chooser_options_init(options, ctypes.sizeof(options), kind) == 0
        assert ffi.gradclip_chooser_create(options, chooser) == 0
        decision = ffi.gradclip_decision()
        assert ffi.gradclip_decision_init(decision, ctypes.sizeof(decision)) == 0
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
            loss_of = ctypes.byref(ctypes.c_double(loss))
            rate_of = ctypes.byref(ctypes.c_double(rate))
            if kind is None:
                ffi.gradclip_clip_grad_norm(tensor, 1, 1.5, 2.0, None, result)
            else:
                taken = loss_of if kind == ffi.GRADCLIP_SKIPSTEP else None
                status = ffi.gradclip_chooser_clip(
                    chooser, tensor, 1, 2.0, taken, None, result, decision
                )
                assert status >= 0
            logged = ffi.gradclip_monitor_log(monitor, rate_of, loss_of, result, decision)
            assert logged == 0
    ffi.gradclip_chooser_free(chooser)
    return warnings


def python_log(path, max_norm, norms, rate, losses):
    with gradclip.Monitor(max_norm, log=path) as monitor:
        for norm, loss in zip(norms, losses):
            with nullcontext() if math.isfinite(norm) else pytest.warns():
                monitor.clip_([array("d", [norm, 0.0])], loss=loss, learning_rate=rate)
    return monitor


def cells(path):
    """The cells of a log, numbers as numbers: 0.1 and 0.10000000000000001 are one."""

    def value(cell):
        try:
            return repr(float(cell))
        except ValueError:
            return cell

    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    assert ",".join(header) == HEADER
    return [[value(cell) for cell in row] for row in rows]


def test_the_adviser_reads_it(tmp_path):
    norms = [1 + 0.3 * math.sin(i) for i in range(400)]
    norms[300] = math.nan
    losses = [2 - i / 512 for i in range(400)]
    warnings = c_log(tmp_path / "c.csv", norms, 0.1, losses)
    python_log(tmp_path / "python.csv", 1.5, norms, 0.1, losses)
    assert cells(tmp_path / "c.csv") == cells(tmp_path / "python.csv")
    log = read(str(tmp_path / "c.csv"))
    assert list(map(repr, log.norm.tolist())) == list(map(repr, norms))
    assert log.loss.tolist() == losses and set(log.learning_rate) == {0.1}
    assert log.step.tolist() == list(range(1, 401))
    assert log.max_norm is None and log.skipped is None, "no chooser decided"
    assert warnings == [
        "step 301: NaN or infinite gradients, elements: 1, the first: element 0 of tensor 0\n"
    ]


CHOOSERS = {
    "AutoClip": (ffi.GRADCLIP_AUTOCLIP, lambda: gradclip.AutoClip()),
    "ZClip": (ffi.GRADCLIP_ZCLIP, lambda: gradclip.ZClip()),
    "AdaGC": (ffi.GRADCLIP_ADAGC, lambda: gradclip.AdaGC()),
    "SkipStep": (ffi.GRADCLIP_SKIPSTEP, lambda: gradclip.SkipStep()),
}


@pytest.mark.parametrize("name", CHOOSERS)
def test_a_choosers_decisions_are_logged_alike_and_read(tmp_path, name):
    kind, made = CHOOSERS[name]
    norms = [1 + 0.3 * math.sin(i) for i in range(400)]
    norms[200], norms[250], norms[300] = 50.0, 90.0, math.inf
    losses = [2 - i / 512 for i in range(400)]
    losses[320] = 1e6
    c_log(tmp_path / "c.csv", norms, 0.1, losses, kind)
    monitor = python_log(tmp_path / "python.csv", made(), norms, 0.1, losses)
    of_c, of_python = cells(tmp_path / "c.csv"), cells(tmp_path / "python.csv")
    assert of_c == of_python
    actions = [row[-1] for row in of_c]
    skips = [i for i, action in enumerate(actions) if action == "skip"]
    assert skips == ([200, 250, 300, 320] if name == "SkipStep" else [300])
    assert of_c[200][-1] == ("skip" if name == "SkipStep" else "clip") and "pass" in actions

    log = read(str(tmp_path / "c.csv"))
    assert log.skipped.tolist() == [float(action == "skip") for action in actions]
    advice = gradclip._advise.advise_log(log)
    assert advice.skipped == len(skips) and advice.to_dict()["skipped"] == len(skips)
    assert f"Skipped    {len(skips)} step" in str(advice)
    cut = [i for i, action in enumerate(actions) if action == "clip"]
    assert advice.clipped == len(cut) / (400 - len(skips))
    if name == "SkipStep":
        assert advice.in_force == math.inf, "what steps are skipped for is no max_norm"
    elif name != "AdaGC":
        thresholds = sorted(float(of_c[i][-2]) for i in cut)
        middle = (thresholds[(len(cut) - 1) // 2] + thresholds[len(cut) // 2]) / 2
        assert advice.in_force == float(f"{middle:.4g}")
        assert advice.recommendations[0].chooser == "the chooser that was in force"
    # Advice on the run in progress is the same.
    own = monitor.advise()
    assert (own.in_force, own.clipped, own.skipped) == (
        advice.in_force,
        advice.clipped,
        advice.skipped,
    )
    nonfinite = [warned.text for warned in advice.warnings if warned.cause == "nonfinite"]
    assert nonfinite[0].startswith("1 norm(s) are not finite: the steps were skipped")
