"""The command line around the adviser."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic import lognormal, make

import gradclip
from gradclip._cli import main


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "run.csv"
    norms = lognormal(7, 0.3, 300)
    rows = "".join(f"{i},{norm!r},0.002\n" for i, norm in enumerate(norms.tolist()))
    path.write_text("step,grad_norm,lr\n" + rows)
    return str(path)


def test_prints_what_the_function_returns(log, capsys):
    assert main(["advise", log, "--next-lr", "0.2", "--optimizer", "sgd"]) == 0
    shown = capsys.readouterr().out
    assert main(["advise", log, "--next-lr", "0.2", "--optimizer", "sgd", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    norms = lognormal(7, 0.3, 300)
    advice = gradclip.advise(
        norms, learning_rate=0.002, next_lr=0.2, optimizer="sgd", steps=range(300)
    )
    assert told["percentiles"] == advice.to_dict()["percentiles"]
    assert told["what_if"] == advice.to_dict()["what_if"]
    assert told["recommendations"] == advice.to_dict()["recommendations"]
    assert "\x1b" not in shown
    # The same, but that the rate is the log's, and not the caller's.
    expected = words_of_advice(str(advice)).replace("(as you say)", "(from the log)")
    assert words_of_advice(shown) == expected


def words_of_advice(text):
    return " ".join(text[text.index("Advice") :].split())


def test_options_reach_the_adviser(log, capsys):
    options = ["--json", "--lr", "0.5", "--warmup", "100", "--was", "9"]
    assert (
        main(["advise", log, *options, "--max-norm", "6", "--max-norm", "8", "--rows", "sampled"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["learning_rate"] == 0.5 and told["warmup"] == 100
    assert told["in_force"] == 9 and told["recommendations"][0]["intent"] == "keep"
    assert [one["max_norm"] for one in told["what_if"] if one["name"] == "asked for"] == [6, 8]
    assert not told["every"]


@pytest.mark.parametrize(
    "options",
    [
        ["--lr", "-1"],
        ["--next-lr", "nan"],
        ["--warmup", "-5"],
        ["--max-norm", "0"],
        ["--column", "x"],
    ],
)
def test_wrong_options_are_one_line(log, capsys, options):
    assert main(["advise", log, *options]) == 2
    err = capsys.readouterr().err
    assert err.startswith("gradclip: ") and err.count("\n") == 1 and options[1].lstrip("-") in err


def test_an_empty_log_is_a_failure_for_scripts(tmp_path, capsys):
    path = tmp_path / "log.csv"
    path.write_text("step,grad_norm\n")
    assert main(["advise", str(path)]) == 1
    assert "EMPTY" in capsys.readouterr().out


def test_as_a_module_from_a_pipe(python, log):
    import gradclip._native.ffi as ffi

    lines = Path(log).read_text().splitlines()
    column = "\n".join(line.split(",")[1] for line in lines) + "\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "gradclip", "advise", "-"],
        input=column, capture_output=True, text=True, timeout=120,
        env={**os.environ, "GRADCLIP_LIBRARY": str(Path(ffi.library_path).resolve())},
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    assert "standard input: a column of numbers, 300 norms" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("variable", "coloured"), [("NO_COLOR", False), ("TERM", True)])
def test_colour_is_for_terminals_and_can_be_turned_off(python, log, variable, coloured):
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    environment.update({"TERM": "xterm-256color", "COLUMNS": "80"})
    environment[variable] = {"NO_COLOR": "1", "TERM": "xterm-256color"}[variable]
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gradclip", "advise", log],
        stdout=child,
        stderr=child,
        env=environment,
    )
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait(60) == 0
    assert b"safety net" in shown
    assert (b"\x1b[32m" in shown or b"\x1b[1;32m" in shown) == coloured


EXTRA = ("matplotlib", "ml_dtypes", "rich", "safetensors", "tensorboardX")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_text_and_json_need_numpy_only(python, log, tmp_path, form):
    """All others that the extra has are blocked: the report is the same, to the letter."""
    for missing in EXTRA:
        (tmp_path / f"{missing}.py").write_text("raise ImportError('blocked by the test')\n")
    code = "import sys; from gradclip._cli import main; sys.exit(main(['advise', *sys.argv[1:]]))"
    blocked = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"
    expected = python("-c", code, log, *form).stdout
    assert len(expected) > 500
    assert python("-c", blocked, log, *form).stdout == expected


def test_a_terminal_without_rich_gets_plain_text(python, log, tmp_path):
    (tmp_path / "rich.py").write_text("raise ImportError('blocked by the test')\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
sys.stdout.isatty = sys.stderr.isatty = lambda: True
from gradclip._cli import main
sys.exit(main(["advise", {log!r}]))
"""
    assert python("-c", code).stdout == python("-m", "gradclip", "advise", log).stdout


def test_without_numpy_it_says_how_to_install_it(python, log, tmp_path):
    missing = "numpy"
    (tmp_path / f"{missing}.py").write_text("raise ImportError('blocked by the test')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from gradclip._cli import main;"
        f"sys.exit(main(['advise', {log!r}]))"
    )
    done = python("-c", code, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "pip install 'gradclip[cli]'" in done.stderr
    assert "pip install numpy" in done.stderr


def test_without_matplotlib_only_the_plot_is_refused(python, log, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('blocked by the test')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from gradclip._cli import main;"
        f"assert main(['advise', {log!r}]) == 0;"
        f"sys.exit(main(['advise', {log!r}, '--plot', 'x.png']))"
    )
    done = python("-c", code, check=False)
    assert done.returncode == 2 and "pip install 'gradclip[cli]'" in done.stderr


def test_importing_gradclip_does_not_load_the_adviser(python):
    python(
        "-c",
        "import sys, gradclip; assert not any('_advise' in name for name in sys.modules);"
        "gradclip.Advice; assert 'numpy' not in sys.modules",
    )


def test_the_function_without_numpy_says_how_to_install_it(python, tmp_path):
    (tmp_path / "numpy.py").write_text("raise ImportError('blocked by the test')\n")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import gradclip
try:
    gradclip.advise([1.0])
except ImportError as error:
    assert isinstance(error, gradclip.GradClipError)
    assert "pip install 'gradclip[cli]'" in str(error)
else:
    raise SystemExit("no error")
"""
    python("-c", code)


def test_large_logs_show_a_progress_bar_on_a_terminal(tmp_path):
    """On standard error, so that the report can be piped on."""
    path = tmp_path / "large.csv"
    path.write_text("grad_norm,lr\n" + "1.25,0.1\n1.5,0.1\n" * 200_000)
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gradclip", "advise", str(path)],
        stdout=subprocess.PIPE, stderr=child, text=True,
        env={**os.environ, "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(child)
    out = process.communicate(timeout=120)[0]
    shown = os.read(parent, 1 << 16)
    os.close(parent)
    assert process.returncode == 0 and "400000 norms" in out
    assert b"reading" in shown


# What an older matplotlib uses of a newer pyparsing is none of our business.
old_matplotlib = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@old_matplotlib
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
@pytest.mark.parametrize(
    "name", ["NaN bursts", "drifting", "warm-up of the rate", "0 rows", "1 row"]
)
def test_plots(name, ending, tmp_path, capsys):
    made = make(name)
    path, picture = tmp_path / "log.csv", tmp_path / f"picture.{ending}"
    rates = made.arguments.get("learning_rate", [0.1] * len(made.norms))
    path.write_text(
        "grad_norm,lr,x\n"
        + "".join(f"{n!r},{r!r},\n" for n, r in zip(made.norms.tolist(), list(rates)))
    )
    assert main(["advise", str(path), "--plot", str(picture), "--next-lr", "1"]) in (0, 1)
    data = picture.read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending])
    assert len(data) > 3000


@old_matplotlib
@pytest.mark.parametrize("steps", [400, 9000])
def test_plots_a_long_run_with_a_warm_up_and_its_learning_rate(steps, tmp_path, capsys):
    """Of many steps bands are drawn, of a rate that moves a second curve."""
    rng = np.random.default_rng(3)
    at = np.arange(steps)
    norms = rng.lognormal(0, 0.3, steps) * np.where(at < steps // 20, 30 - 29 * at / (steps // 20), 1)
    rates = 0.1 * np.minimum(1, at / (steps // 10)) * (1 + np.cos(np.pi * at / steps)) / 2
    path, picture = tmp_path / "run.csv", tmp_path / "run.svg"
    rows = zip(at, norms, rates)
    path.write_text("step,grad_norm,lr\n" + "".join(f"{s},{n},{r}\n" for s, n, r in rows))
    assert main(["advise", str(path), "--plot", str(picture)]) in (0, 1)
    drawn = picture.read_text()
    assert drawn.startswith("<?xml") and len(drawn) < 2_000_000
    assert f"{steps}" in capsys.readouterr().out


@old_matplotlib
def test_a_plot_that_cannot_be_written_is_one_line(log, tmp_path, capsys):
    assert main(["advise", log, "--plot", str(tmp_path / "picture.gifx")]) == 2
    assert ".png" in capsys.readouterr().err
    assert main(["advise", log, "--plot", str(tmp_path / "none" / "picture.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_monitors_history_and_its_log_get_the_same_advice(tmp_path, capsys):
    path = tmp_path / "run.csv"
    rng = np.random.default_rng(9)
    with gradclip.Monitor(max_norm=4.0, log=path) as monitor:
        for step, norm in enumerate(lognormal(2, 0.3, 1200)):
            grad = rng.normal(size=4)
            grad *= norm / np.linalg.norm(grad)
            monitor.clip_({"w": grad}, learning_rate=0.1, loss=1 / (step + 1))
    told = monitor.advise(next_lr=0.5).to_dict()
    assert main(["advise", str(path), "--next-lr", "0.5", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    for record in (told, read):
        for about_the_file in ("source", "format", "taken", "notes", "rows_are"):
            del record[about_the_file]
    assert told == read
    assert told["verdict"] == "steady" and told["learning_rate"] == 0.1


@pytest.mark.parametrize(("every", "told"), [(50, True), (150, False)])
def test_from_one_row_in_a_hundred_on_what_was_not_read_is_in_the_first_lines(
    tmp_path, capsys, every, told
):
    path = tmp_path / "run.log"
    norms = lognormal(7, 0.3, 600).tolist()
    path.write_text(
        "".join(f"step {i} grad_norm: {'12,3456' if i % every == 7 else n}\n" for i, n in enumerate(norms))
    )
    assert main(["advise", str(path)]) == 0
    first = capsys.readouterr().out.splitlines()[:5]
    assert any("could not be read" in line for line in first) == told
    if told:
        assert "12 of 600 rows" in first[1]


def test_of_rows_that_are_not_known_nothing_is_told_that_needs_every_step(tmp_path, capsys):
    path = tmp_path / "run.log"
    norms = [*lognormal(7, 0.3, 1500).tolist(), float("nan"), 1.0, 1.0]
    path.write_text("".join(f"loss 2.0 grad_norm: {n}\n" for n in norms))
    told = {}
    for rows in ((), ("--rows", "every")):
        assert main(["advise", str(path), "--json", *rows]) == 0
        told[rows] = json.loads(capsys.readouterr().out)
    unknown, every = told.values()
    assert not unknown["every"] and "p99.9" not in unknown["percentiles"]
    assert unknown["choosers"] == [] and unknown["first_nonfinite"] is None
    assert "rows-unknown" in [one["cause"] for one in unknown["warnings"]]
    assert every["every"] and every["percentiles"]["p99.9"] and every["choosers"]
    assert every["first_nonfinite"] == 1500
