"""`gradclip inspect FILE`: saved gradients of every kind."""

from __future__ import annotations

import json
import random

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import gradclip
from gradclip._cli import main

GRADS = {
    "embed": np.array([[3.0, 0.0], [0.0, -4.0]]),
    "head.weight": np.array([1.0, np.nan, 2.0]),
    "head.bias": np.zeros(3),
}


def run(capsys, *arguments):
    status = main(["inspect", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("kind", ["npz", "safetensors"])
def test_the_report_is_that_of_the_function(kind, dtype, tmp_path, capsys):
    grads = {name: array.astype(dtype) for name, array in GRADS.items()}
    path = tmp_path / "grads"  # known by its content, not by its name
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, **grads)
    else:
        names = {"float16": "float16", "float32": "float32", "float64": "float64"}
        spec = {
            name: {
                "dtype": names.get(array.dtype.name, "bfloat16"),
                "shape": list(array.shape),
                "data": array.tobytes(),
            }
            for name, array in grads.items()
        }
        if dtype is ml_dtypes.bfloat16:
            path.write_bytes(bfloat16_safetensors(spec))
        else:
            safetensors.numpy.save_file(grads, str(path))
    status, out, err = run(capsys, path)
    assert (status, err) == (0, "")
    order = list(grads) if kind == "npz" else sorted(grads)
    expected = gradclip.inspect({name: grads[name] for name in order})
    assert out == str(expected) + "\n"
    assert "'head.weight' (gradient" in out and "1 NaN; the first is element 1, index (1,)" in out


def bfloat16_safetensors(spec):
    """The format by its definition: the length of a JSON header, the header, the data."""
    header, data = {}, b""
    for name, tensor in spec.items():
        end = len(data) + len(tensor["data"])
        header[name] = {"dtype": "BF16", "shape": tensor["shape"], "data_offsets": [len(data), end]}
        data += tensor["data"]
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_what_is_no_float_in_safetensors_is_left_out_and_named(tmp_path, capsys):
    path = tmp_path / "grads.safetensors"
    safetensors.numpy.save_file({"ids": np.arange(3), "w": np.array([3.0, 4.0])}, str(path))
    status, out, _ = run(capsys, path)
    assert status == 0 and "total_norm 5, " in out
    assert "'ids' was left out: its dtype is " in out


def test_one_array(tmp_path, capsys):
    for array in (GRADS["embed"], GRADS["embed"].T, GRADS["embed"].astype(">f4"), np.array(2.0)):
        np.save(tmp_path / "grad.npy", array)
        status, out, _ = run(capsys, tmp_path / "grad.npy")
        assert status == 0 and f"total_norm {np.linalg.norm(array):.6g}" in out


def test_options(tmp_path, capsys):
    np.savez(tmp_path / "g.npz", a=np.array([3.0, 4.0]), b=np.array([2.0]), c=np.ones(1))
    path = tmp_path / "g.npz"
    _, out, _ = run(capsys, path, "--norm-type", "1", "--grad-scale", "2", "--rows", "1")
    assert "total_norm 5, norm_type 1" in out and "... and 2 more" in out
    _, out, _ = run(capsys, path, "--json", "--norm-type", "inf")
    told = json.loads(out)
    assert told["total_norm"] == 4 and told["norm_type"] == "Infinity"
    assert [one["name"] for one in told["gradients"]] == ["a", "b", "c"]
    status, _, err = run(capsys, path, "--norm-type", "nan")
    assert status == 2 and err.startswith("gradclip: norm_type")


def test_what_is_no_gradient_is_left_out_by_name(tmp_path, capsys):
    np.savez(tmp_path / "g.npz", w=np.ones(2), ids=np.arange(3), z=np.ones(2, complex))
    status, out, _ = run(capsys, tmp_path / "g.npz")
    assert status == 0
    assert "'ids' was left out: its dtype is int64" in out
    assert "'z' was left out: its dtype is complex128" in out


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_pickles_are_not_opened(kind, tmp_path, capsys):
    class Bad:
        def __reduce__(self):
            return print, ("harm was done",)

    path = tmp_path / f"g.{kind}"
    array = np.array([Bad()], dtype=object)
    np.save(path, array) if kind == "npy" else np.savez(path, w=array)
    status, out, err = run(capsys, path)
    assert status == 2 and "pickle" in err.lower() and err.count("\n") == 1
    assert "harm" not in out + err


def test_damaged_files_are_one_line(tmp_path, capsys):
    rng = random.Random(3)
    good = {}
    np.save(tmp_path / "a.npy", np.arange(100.0))
    np.savez(tmp_path / "a.npz", a=np.arange(100.0), b=np.ones(3))
    safetensors.numpy.save_file({"a": np.arange(100.0)}, str(tmp_path / "a.safetensors"))
    for name in ("a.npy", "a.npz", "a.safetensors"):
        good[name] = (tmp_path / name).read_bytes()
    for name, data in [*good.items()] * 40:
        spoilt = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            spoilt[rng.randrange(min(len(spoilt), 300))] = rng.randrange(256)
        del spoilt[rng.choice([len(spoilt), rng.randrange(len(spoilt)), 10]) :]
        (tmp_path / name).write_bytes(spoilt)
        status, _, err = run(capsys, tmp_path / name)
        assert status in (0, 2)
        if status:
            assert err.startswith("gradclip: ") and err.count("\n") == 1 and len(err) < 800


def test_other_files_are_refused(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("step,grad_norm\n1,2\n")
    status, _, err = run(capsys, tmp_path / "log.csv")
    assert status == 2 and "none of .npz, .npy, safetensors and .pt" in err
    status, _, err = run(capsys, tmp_path / "nothing")
    assert status == 2 and "No such file" in err
    (tmp_path / "empty").touch()
    assert run(capsys, tmp_path / "empty")[0] == 2


def test_torch_files_need_torch(tmp_path, capsys):
    try:
        import torch  # noqa: F401
    except ImportError:
        (tmp_path / "g.pt").write_bytes(b"\x80\x02x")
        status, _, err = run(capsys, tmp_path / "g.pt")
        assert status == 2 and "torch" in err
