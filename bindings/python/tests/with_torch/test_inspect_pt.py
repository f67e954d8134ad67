"""`gradclip inspect FILE.pt`: what torch.save wrote, loaded without running code in it."""

from __future__ import annotations

import collections

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
from gradclip._cli import main  # noqa: E402


def run(capsys, path):
    status = main(["inspect", str(path)])
    return status, *capsys.readouterr()


def test_gradients_of_every_dtype_and_nesting(tmp_path, capsys):
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        weight = torch.tensor([[3.0, float("nan")], [0.0, -4.0]], dtype=dtype)
        saved = {
            "layer": {"weight": weight, "bias": torch.zeros(3, dtype=dtype)},
            "other": [weight.T],
        }
        path = tmp_path / "grads.pt"
        torch.save(saved, path)
        status, out, err = run(capsys, path)
        assert (status, err) == (0, "")
        grads = {
            "layer.weight": weight,
            "layer.bias": torch.zeros(3, dtype=dtype),
            "other.0": weight.T,
        }
        expected = gradclip.inspect({name: grad.contiguous() for name, grad in grads.items()})
        assert out == str(expected) + "\n"
        assert "'layer.weight' (gradient 0) is not finite: 1 NaN" in out


def test_a_state_dict_with_parameters_and_counters(tmp_path, capsys):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    status, out, _ = run(capsys, path)
    assert status == 0
    assert "'1.num_batches_tracked' was left out: its dtype is int64" in out
    assert "0.weight" in out


def test_sparse_tensors_are_left_out(tmp_path, capsys):
    path = tmp_path / "g.pt"
    torch.save({"s": torch.eye(2).to_sparse(), "w": torch.ones(2)}, path)
    status, out, _ = run(capsys, path)
    assert status == 0 and "'s' was left out: its layout is torch.sparse_coo" in out


class Evil:
    def __reduce__(self):
        return print, ("harm was done",)


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    path = tmp_path / "g.pt"
    torch.save({"w": torch.ones(2), "x": Evil()}, path)
    status, out, err = run(capsys, path)
    assert status == 2 and "cannot be loaded safely" in err and err.count("\n") == 1
    assert "harm" not in out + err


def test_old_and_damaged_files(tmp_path, capsys):
    path = tmp_path / "g.pt"
    torch.save({"w": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert run(capsys, path)[0] == 0
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    status, _, err = run(capsys, path)
    assert status == 2 and err.startswith("gradclip: ") and err.count("\n") == 1
    torch.save(collections.OrderedDict(w=torch.ones(2)), path)
    path.write_bytes(path.read_bytes()[:-30])
    status, _, err = run(capsys, path)
    assert status == 2 and err.count("\n") == 1
