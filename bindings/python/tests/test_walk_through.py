"""examples/walk_through.py: the steps and the numbers that it shows."""

import struct
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest
from article import gradients

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))
import walk_through  # noqa: E402


def test_walks_through_all_three_norms(capsys):
    walk_through.main([])
    text = capsys.readouterr().out
    for step in (
        "dz/dx = [198, 216]",
        "dz/dy = [6075, 16875]",
        "order p = 2, max_norm = 100",
        "x: sqrt(198^2 + 216^2) = 293.018",
        "total_norm = sqrt(293.018",
        "= 17937.589302913588",
        "[1.103827257, 1.20417519]",
        "[33.86742721, 94.07618669]",
        "order p = 1, max_norm = 100",
        "total_norm = 414 + 22950 = 23364.0",
        "order p = inf, max_norm = 100",
        "total_norm = max(216, 16875) = 16875.0",
    ):
        assert step in text, step


@pytest.mark.parametrize(
    "norm_type, formula",
    [
        ("-inf", "total_norm = min(198, 6075) = 198.0"),
        ("0", "x: how many of 198, 216 are not 0 = 2.0"),
        ("3", "x: (198^3 + 216^3)^(1/3) = 261."),
    ],
)
def test_walks_through_the_norm_that_is_asked_for(norm_type, formula, capsys):
    walk_through.main([f"--norm-type={norm_type}"])
    assert formula in capsys.readouterr().out


def test_says_why_pytorch_prints_another_norm(capsys):
    walk_through.main([])
    text = capsys.readouterr().out
    assert "printed by PyTorch as 17937.5879" in text
    assert "17937.589302913588\n  in float32 that is 17937.58984375" in text
    assert "has cost 1 unit(s) in the last place" in text


def test_says_so_where_float32_agrees(capsys):
    # 3, 4 and 12: every norm on the way is an integer.
    walk_through.compare_with_float32({"x": array("d", [3.0, 4.0]), "y": array("d", [12.0])})
    assert "Here both roundings end at the same float32." in capsys.readouterr().out


def test_gradients_come_from_the_function():
    found = walk_through.gradients(walk_through.X, walk_through.Y)
    assert (found["x"].tolist(), found["y"].tolist()) == gradients()
    # Against the slope of the function itself, elsewhere too.
    x, y, step = [1.5, -2.0, 0.25], [0.5, 3.0], 1e-6

    def z(x, y):
        return sum(v**2 for v in x) + sum(v**3 for v in y)

    for name, at in (("x", x), ("y", y)):
        for i in range(len(at)):
            values = at[i]
            at[i] = values + step
            above = z(x, y)
            at[i] = values - step
            below = z(x, y)
            at[i] = values
            slope = walk_through.gradients(x, y)[name][i]
            assert slope == pytest.approx((above - below) / (2 * step), abs=1e-6)


def test_float32_arithmetic_is_numpys():
    for grad in gradients():
        squares = np.float32(grad) * np.float32(grad)
        assert walk_through.float32_norm(grad) == np.sqrt(np.float32(squares[0] + squares[1]))
    expected = struct.unpack("f", struct.pack("f", 17937.5879))[0]
    assert walk_through.float32_total_norm(gradients()) == expected


def test_max_norm_and_norm_type_are_taken(capsys):
    walk_through.main(["--max-norm", "50000", "--norm-type", "3"])
    text = capsys.readouterr().out
    assert "order p = 3, max_norm = 50000" in text
    assert "clip_coef = min(1, max_norm / total_norm) = 1.0" in text
    assert "p = 2" not in text


def test_bad_max_norm_is_one_clear_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        walk_through.main(["--max-norm", "-1"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert ": max_norm must be" in error and error.count("\n") == 1


def test_runs_as_a_script_and_without_numpy(python, tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('blocked by the test')\n")
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv[1:] = [];"
        f"runpy.run_path({str(EXAMPLES / 'walk_through.py')!r}, run_name='__main__')"
    )
    assert "17937.589302913588" in python("-c", code).stdout
    assert "17937.5879" in python(str(EXAMPLES / "walk_through.py")).stdout
