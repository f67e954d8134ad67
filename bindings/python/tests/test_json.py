"""How the package writes JSON: as the standard has it, and what is not finite as a string."""

import dataclasses
import json
import math

import numpy as np
import pytest

import gradclip
from gradclip._cli import main
from gradclip._json import plain

# What a reader makes of them, in Python; Number() of JavaScript and strtod() of C read them too.
STRINGS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def strictly(text):
    """What a parser reads that knows no NaN."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_is_a_string_that_float_reads():
    for written, value in STRINGS.items():
        assert plain(value) == written == plain(np.float32(value))
        assert str(float(written)) == str(value)
    given = {"a": [1, 2.5, None, True, "NaN", (np.int8(3), np.bool_(False))], "b": np.float32(0.5)}
    assert plain(given) == {"a": [1, 2.5, None, True, "NaN", [3, False]], "b": 0.5}
    assert type(plain(np.float64(1))) is float and type(plain(np.int64(1))) is int


def test_inspect_prints_it(tmp_path, capsys):
    np.savez(tmp_path / "g.npz", w=np.array([np.nan, -np.inf, 3.0]))
    assert main(["inspect", str(tmp_path / "g.npz"), "--json", "--norm-type=-inf"]) == 0
    told = strictly(capsys.readouterr().out)
    assert told["norm_type"] == "-Infinity" and told["gradients"][0]["nan_count"] == 1


def test_to_dict_is_for_json():
    big = gradclip.inspect([np.full(4, 1.7e308)])  # the norm, 3.4e308, is no float64
    strictly(json.dumps(big[0].to_dict(), allow_nan=False))
    assert big[0].to_dict()["norm"] == "Infinity" == plain(big.total_norm)
    advice = dataclasses.replace(gradclip.advise([1.0] * 50), drift_factor=math.inf, skipped=None)
    told = strictly(json.dumps(advice.to_dict(), allow_nan=False))
    assert told["drift_factor"] == "Infinity" and told["skipped"] is None


@pytest.mark.parametrize("chooser", [None, "AdaGC"])
def test_a_monitors_log(tmp_path, chooser):
    """A tensor that is called NaN keeps its name, and a resumed log reads its numbers back."""
    log = tmp_path / "run.jsonl"
    max_norm = gradclip.AdaGC(warmup_steps=9) if chooser else 1.0
    with pytest.warns(gradclip.MonitorWarning):
        monitor = gradclip.Monitor(max_norm, log=log)
        for value, loss in ((3.0, 1.0), (math.inf, -math.inf), (math.nan, math.nan)):
            monitor.clip_({"NaN": np.array([value])}, loss=loss, learning_rate=0.5)
        monitor.close()
    first, second, third = map(strictly, log.read_text().splitlines())
    assert (first["grad_norm"], second["grad_norm"], third["grad_norm"]) == (3.0, "Infinity", "NaN")
    assert (second["loss"], third["loss"]) == ("-Infinity", "NaN")
    assert second["first_tensor"] == third["first_tensor"] == "NaN" and first["first_tensor"] is None
    resumed = gradclip.Monitor(1.0, log=log)
    for name in ("grad_norm", "loss", "learning_rate", "threshold"):
        assert repr(resumed.history[name]) == repr(monitor.history[name])
    log.write_text(log.read_text().replace('"NaN", "clip', 'NaN, "clip'))  # of version 1.0's day
    assert math.isnan(gradclip.Monitor(1.0, log=log).history["grad_norm"][2])


def test_the_adviser_reads_a_monitors_log(tmp_path):
    log = tmp_path / "run.jsonl"
    with pytest.warns(gradclip.MonitorWarning):
        monitor = gradclip.Monitor(math.inf, log=log)
        for step in range(200):
            monitor.clip_([np.array([math.nan if step == 50 else 2.0 + step % 3])])
    from gradclip._advise.readers import read

    norms = read(str(log)).norm
    assert len(norms) == 200 and np.isnan(norms[50]) and np.isnan(norms).sum() == 1


def test_the_state_of_a_chooser_whose_settings_are_infinite_or_numpys():
    chooser = gradclip.AdaGC(lambda_abs=math.inf, lambda_rel=np.float32(1.5), warmup_steps=np.int64(2))
    for norms in ([1.0, 2.0], [1.0, 3.0], [2.0, 2.0]):
        chooser.feed(norms)
    text = json.dumps(chooser.state_dict(), allow_nan=False)
    assert strictly(text)["settings"]["lambda_abs"] == "Infinity"
    other = gradclip.AdaGC()
    other.load_state_dict(json.loads(text))
    assert repr(other) == repr(chooser).replace("np.float32(1.5)", "1.5")
    assert repr(other.feed([9.0, 9.0])) == repr(chooser.feed([9.0, 9.0]))
    monitor = gradclip.Monitor(gradclip.AdaGC(lambda_abs=math.inf))
    state = strictly(json.dumps(monitor.state_dict(), allow_nan=False))
    gradclip.Monitor(gradclip.AdaGC()).load_state_dict(state)
