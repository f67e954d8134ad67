"""Files that are no logs: one clear line, never a traceback, never much memory."""

from __future__ import annotations

import json
import os
import random
import tracemalloc

import numpy as np
import pytest

from gradclip._cli import main

DEEP = "[" * 200_000
FILES = {
    "empty": b"",
    "only newlines": b"\n" * 1000,
    "binary": bytes(random.Random(1).randbytes(100_000)),
    "NULs": b"\0" * 100_000,
    "deep list": DEEP.encode(),
    "deep object": (b'{"a":' * 100_000),
    "deep record": b'{"log_history": [' + DEEP.encode(),
    "deep line": b'{"grad_norm": 1}\n' + DEEP.encode() + b"\n",
    "huge number": b'{"grad_norm": ' + b"9" * 10_000 + b"}\n",
    "wrong types": b'{"grad_norm": [1], "step": {"a": {}}, "lr": "x", "loss": null}\n' * 3,
    "history of junk": b'{"log_history": [1, "a", null, [2], {"x": 1}], "x": 2}',
    "history of nothing": b'{"log_history": []}',
    "history of words": b'{"log_history": [{"grad_norm": "big", "step": "one"}]}',
    "history that is none": b'{"log_history": 5}',
    "not quite JSON": b'{"a": 1,}\n{"b": }\n',
    "a JSON string": b'"grad_norm"',
    "a table of words": b"step,grad_norm\na,b\nc,d\n",
    "ragged table": b"step,grad_norm\n1\n2,3,4\n5,6\n\n,\n",
    "quotation marks": b'step,grad_norm\n1,"2\n3,4\n5,"6"\n',
    "negative norms": b"step,grad_norm\n1,-2\n2,-3\n",
    "steps that are none": b"step,grad_norm\nnan,2\ninf,3\n-1,3\n",
    "huge steps": b"step,grad_norm\n1e300,2\n1e308,3\n",
    "no numbers": b"a,b\n1,2\n",
    "UTF-16": "step,grad_norm\n1,2\n".encode("utf-16"),
    "not UTF-8": b"step,grad_norm,\xff\xfe\n1,2,\xff\n2,3,4\n",
    "gzip": b"\x1f\x8b\x08\0" + b"x" * 100,
    "zip": b"PK\x03\x04" + b"x" * 100,
    "pickle": b"\x80\x04\x95" + b"x" * 100,
    "long line": b"grad_norm: 1\n" + b"x" * 10_000_000 + b"\ngrad_norm: 2\n",
    "long line at the end": b"grad_norm: 1\n" + b"x" * 10_000_000,
    "long table line": b"step,grad_norm\n1,2\n" + b"7," * 5_000_000 + b"\n2,3\n",
    "all NaN": b"step,grad_norm\n" + b"".join(b"%d,nan\n" % i for i in range(50)),
    "all zero": b"step,grad_norm\n" + b"".join(b"%d,0\n" % i for i in range(50)),
    "largest and smallest": b"grad_norm\n" + b"1.7e308\n5e-324\n" * 200,
    "all infinite": b"grad_norm\n" + b"inf\n" * 200,
    "record of a gigabyte": (1 << 29).to_bytes(8, "little") + b"\0" * 100,
    "event cut in its header": (24).to_bytes(8, "little"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "options", [[], ["--json"], ["--column", "grad_norm"], ["--pattern", "(.*)"]]
)
def test_no_traceback(name, options, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    status = main(["advise", str(path), *options])
    out, err = capsys.readouterr()
    assert status in (0, 1, 2)
    if status == 2:
        assert err.startswith("gradclip: ") and err.count("\n") == 1 and len(err) < 1000
        assert out == ""
    elif "--json" in options:
        assert json.loads(out)["rows"] >= 0
    else:
        assert len(out.split("\n")) <= 41 and max(map(len, out.split("\n"))) <= 80


@pytest.mark.parametrize("name", ["long line", "long line at the end", "long table line"])
def test_a_long_line_takes_no_more_memory_than_allowed(name, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_bytes(FILES[name] * 3)
    tracemalloc.start()
    main(["advise", str(path)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # the file has 30 MB, a line at most 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("binary", "binary"),
        ("UTF-16", "iconv"),
        ("gzip", "zcat"),
        ("zip", "gradclip inspect"),
        ("pickle", "gradclip inspect"),
        ("deep list", "no column of gradient norms"),
        ("deep object", "nested too deeply"),
        ("deep record", "nested too deeply"),
        ("no numbers", "its columns are 'a', 'b'"),
    ],
)
def test_the_error_says_what_the_file_is(name, words, tmp_path, capsys):
    path = tmp_path / "file"
    path.write_bytes(FILES[name])
    assert main(["advise", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_files_that_cannot_be_opened(tmp_path, capsys):
    assert main(["advise", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert main(["advise", str(tmp_path)]) == 2
    assert "directory" in capsys.readouterr().err
    if os.geteuid() != 0:
        (tmp_path / "closed").touch(mode=0)
        assert main(["advise", str(tmp_path / "closed")]) == 2
        assert "Permission" in capsys.readouterr().err


SEEDS = {
    "csv": b"step,grad_norm,lr,loss\n"
    + b"".join(b"%d,%d.5,0.1,1\n" % (i, i % 7) for i in range(40)),
    "state": json.dumps(
        {"log_history": [{"step": i, "grad_norm": 1.5, "loss": 2.0} for i in range(40)]}
    ).encode(),
    "lines": b"".join(b'{"step": %d, "grad_norm": 1.5, "lr": 0.1}\n' % i for i in range(40)),
    "text": b"".join(
        b"step %d/9 | loss 3.2 | norm 1.%d | lr 3e-04 |\n" % (i, i) for i in range(40)
    ),
}


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_logs_never_crash(kind, tmp_path, capsys):
    rng = random.Random(kind)
    path = tmp_path / "file"
    for _ in range(60):
        data = bytearray(SEEDS[kind])
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(len(data))
            change = rng.randrange(4)
            if change == 0:
                data[at] = rng.randrange(256)
            elif change == 1:
                del data[at : at + rng.randint(1, 30)]
            elif change == 2:
                data[at:at] = rng.choice([b"nan", b"1e999", b"\0", b"[[", b'"', b"\n", b",,", b"-"])
            else:
                del data[at:]
            if not data:
                break
        path.write_bytes(data)
        assert main(["advise", str(path), "--json"]) in (0, 1, 2), bytes(data)
        capsys.readouterr()


def test_an_array_of_anything_is_advised_on_or_refused():
    import gradclip

    rng = np.random.default_rng(7)
    values = np.array([0.0, 1.0, 5e-324, 1.7e308, np.inf, np.nan, 1e-6, 2.0])
    for _ in range(200):
        norms = rng.choice(values, rng.integers(0, 400))
        advice = gradclip.advise(norms, next_lr=0.1, learning_rate=1e300)
        json.dumps(advice.to_dict(), allow_nan=False)
        assert max(map(len, str(advice).split("\n"))) <= 80
