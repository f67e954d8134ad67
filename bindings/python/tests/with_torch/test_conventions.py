"""What holds for every function of gradclip.torch and of the modules beside it."""

import inspect
import math
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from public import callables, mpi, with_argument  # noqa: E402

import gradclip  # noqa: E402
import gradclip.deepspeed  # noqa: E402
import gradclip.torch as gt  # noqa: E402
import gradclip.torch.distributed as gd  # noqa: E402

ROOT = Path(__file__).resolve().parents[4]
MODULES = {module.__name__: module for module in (gradclip, gt, gd, gradclip.deepspeed, mpi())}
EVERYTHING = [
    pytest.param(function, id=f"{module}.{name}")
    for module in ("gradclip.torch", "gradclip.torch.distributed", "gradclip.deepspeed")
    for name, function in callables(MODULES[module])
]


@pytest.mark.parametrize("function", EVERYTHING)
def test_types_and_signatures_can_be_asked_for(function):
    typing.get_type_hints(function)
    inspect.signature(function, eval_str=True)


def test_any_stands_where_ctypes_and_others_force_it():
    """Public arguments and results whose type a checker does not look at."""
    unknown = {
        f"{module}.{name}: {argument}"
        for module in MODULES
        for name, function in callables(MODULES[module])
        for argument, kind in getattr(function, "__annotations__", {}).items()
        if "Any" in str(kind) and "._" not in name.removesuffix(".__init__")
    }
    # Objects for JSON; containers like those given; torch's own param_groups; options by name.
    assert unknown <= {
        "gradclip.Advice.to_dict: return",
        "gradclip.Monitor.advise: options",
        "gradclip.Monitor.load_state_dict: state_dict",
        "gradclip.Monitor.state_dict: return",
        "gradclip.Report.to_dict: return",
        *(f"{module}.{kind}.{name}"
          for module in ("gradclip", "gradclip.torch")
          for kind in ("AdaGC", "AutoClip", "Monitor", "SkipStep", "ZClip")
          for name in ("state_dict: return", "load_state_dict: state_dict")),
        "gradclip.torch.Monitor.advise: options",
        "gradclip.torch.clip_by_group_: groups",
        "gradclip.torch.dispatch_clip_grad: options",
    }  # fmt: skip


# ------------------------------------------------------------------- the table of docs/python.md --


def table():
    """Of docs/python.md: {module: {name: default}}."""
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    found = {}
    for default, cell in re.findall(r'^\| `"(propagate|leave)"` \| ([^|]*) \|', page, re.M):
        for segment in cell.split(";"):
            modules, names = segment.split(":")
            for module in re.findall(r"`([\w.]+)`", modules):
                for name in re.findall(r"`(\w+)`", names):
                    assert name not in found.setdefault(module, {}), f"{name} is there twice"
                    found[module][name] = default
    return found


@pytest.mark.parametrize("module", ["gradclip", "gradclip.torch", "gradclip.torch.distributed", "gradclip.mpi"])
def test_the_table_of_nonfinite_defaults_is_that_of_the_signatures(module):
    """Each function and class that has the argument is in it, with the default that it has."""
    actual = {}
    public = with_argument(MODULES[module], "nonfinite")
    for name, function in callables(MODULES[module]):
        name = name.removesuffix(".__init__")
        if name not in public:
            continue
        default = inspect.signature(function).parameters["nonfinite"].default
        assert actual.setdefault(name.split(".")[0], default) == default
    assert actual and actual == table()[module]


# ------------------------------------------------------------------------------------ arguments --


def given(values=(3.0, -4.0)):
    weight = torch.nn.Parameter(torch.ones(len(values)))
    weight.grad = torch.tensor(values)
    return weight


NORMS = {
    "clip_grad_norm_": lambda p, **options: gt.clip_grad_norm_(p, 1.0, **options),
    "get_total_norm": lambda p, **options: gt.get_total_norm(p.grad, **options),
    "clip_by_norm_": lambda p, **options: gt.clip_by_norm_(p, 1.0, **options),
    "clip_by_group_": lambda p, **options: gt.clip_by_group_({"a": p}, 1.0, **options),
    "adaptive_clip_grad": lambda p, **options: gt.adaptive_clip_grad(p, **options),
    "clip_and_step": lambda p, **options: gt.clip_and_step(torch.optim.SGD([p], 0.1), 1.0, **options),
    "inspect": lambda p, **options: gradclip.Norm(gt.inspect(p, **options).total_norm),
    "Plan.clip_grad_norm_": lambda p, **options: gt.Plan(p).clip_grad_norm_(1.0, **options),
    "Plan.get_total_norm": lambda p, **options: gt.Plan(p).get_total_norm(**options),
    "Monitor": lambda p, **options: gt.Monitor(p, 1.0, **options).clip_(),
    "AutoClip.clip_": lambda p, **options: gt.AutoClip().clip_(p, **options).norm,
    "ZClip.clip_": lambda p, **options: gt.ZClip().clip_(p, **options).norm,
    "AdaGC.clip_": lambda p, **options: gt.AdaGC().clip_(p, **options).norm,
    "SkipStep.clip_": lambda p, **options: gt.SkipStep().clip_(p, **options).norm,
}


def test_none_is_left_out():
    others = {"AdaGC.feed_tensor", "dispatch_clip_grad"}  # one is gradclip's, one calls the rest
    assert set(NORMS) | others == with_argument(gt, "norm_type")


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_has_item_and_its_type_may_be_written_as_torch_writes_it(name):
    assert NORMS[name](given()).item() == 5.0
    assert type(NORMS[name](given()).item()) is float
    assert NORMS[name](given(), norm_type="inf").item() == 4.0
    for kind in (np.float32, np.float64, np.int64, np.array, torch.tensor):
        assert NORMS[name](given(), norm_type=kind(1)).item() == 7.0
    for wrong in ("two", None, "2"):
        text = re.escape(f"norm_type must be a real number (got {wrong!r})")
        with pytest.raises(TypeError, match=text):
            NORMS[name](given(), norm_type=wrong)


NUMBERS = {
    "max_norm": lambda x: gt.clip_grad_norm_(given(), x(1)),
    "eps": lambda x: gt.clip_grad_norm_(given(), 1.0, eps=x(1)),
    "grad_scale": lambda x: gt.clip_grad_norm_(given(), 1.0, grad_scale=x(2)),
    "clip_value": lambda x: gt.clip_grad_value_(given(), x(1)),
    "total_norm": lambda x: gt.clip_grads_with_norm_(given(), x(1), x(2)),
    "limits": lambda x: gt.clip_by_norm_([given(), given()], [x(1), x(2)], eps=x(1)),
    "limits of groups": lambda x: gt.clip_by_group_({"a": given()}, {"a": x(1)}),
    "threshold": lambda x: gt.clip_by_block_rms_(given(), x(1), grad_scale=x(2)),
    "clip_factor": lambda x: gt.adaptive_clip_grad(given(), x(1), x(1)),
    "clip_per_example": lambda x: gt.clip_per_example(torch.ones(2, 2), x(1), eps=x(1)),
    "clip_and_step": lambda x: gt.clip_and_step(torch.optim.SGD([given()], 0.1), x(1), eps=x(1)),
    "dispatch": lambda x: gt.dispatch_clip_grad(given(), x(1), norm_type=x(2)),
    "Plan": lambda x: gt.Plan(given()).clip_grads_with_norm_(x(1), x(2), eps=x(1)),
    "Monitor": lambda x: gt.Monitor(given(), x(1), eps=x(1)).clip_(
        loss=x(1), learning_rate=x(1), grad_scale=x(2)
    ),
    "AutoClip": lambda x: gt.AutoClip(x(50)).clip_(given(), grad_scale=x(2)).norm,
}


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.array, torch.tensor])
@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_may_be_numpys_or_a_tensor(name, kind):
    assert repr(NUMBERS[name](kind)) == repr(NUMBERS[name](float))


@pytest.mark.parametrize("name", ["max_norm", "clip_value", "total_norm", "eps", "grad_scale"])
def test_what_is_no_number_is_named(name):
    with pytest.raises(TypeError, match=r"(max_norm|clip_value|eps|grad_scale) must be a real number \(got 'one'\)"):
        NUMBERS[name](lambda value: "one")


def test_what_each_was_clipped_by_is_a_tuple_one_a_parameter():
    def parameters():
        return [given(), torch.nn.Parameter(torch.ones(2)), given((0.3, 0.4))]

    for norm in (
        gt.clip_by_norm_(parameters(), 1.0),
        gt.clip_by_block_rms_(parameters(), 0.1),
        gt.clip_by_group_({"a": parameters()}, 1.0),
        gt.adaptive_clip_grad(parameters()),
    ):
        assert type(norm.clip_coefs) is tuple and len(norm.clip_coefs) == 3


# -------------------------------------------------------------------------------------- objects --


def test_every_object_has_a_short_repr():
    made = {
        "AdaGC": gt.AdaGC(),
        "AutoClip": gt.AutoClip(),
        "Monitor": gt.Monitor([given()] * 500, 1.0),
        "Plan": gt.Plan([given() for _ in range(500)]),
        "SkipStep": gt.SkipStep(),
        "ZClip": gt.ZClip(),
    }
    with gt.patch() as made["Patch"]:
        assert set(made) == {name for name in gt.__all__ if isinstance(getattr(gt, name), type)}
        for name, one in made.items():
            assert type(one).__module__.startswith("gradclip.torch"), name
            assert 0 < len(repr(one)) <= 200 and "object at 0x" not in repr(one), name


@pytest.mark.parametrize("module", ["gradclip.torch", "gradclip.torch.distributed", "gradclip.deepspeed"])
def test_a_typo_is_told_what_was_meant(module):
    name = MODULES[module].__all__[-1]
    code = f"import {module}; {module}.{name[:-2] + name[-1] + name[-2]}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"Did you mean: '{name}'?" in done.stderr, done.stderr


def test_an_infinite_max_norm_only_measures():
    weight = given()
    assert gt.clip_and_step(torch.optim.SGD([weight], 0.0), math.inf).item() == 5.0
    with pytest.raises(TypeError, match="with a chooser call clip_grad_norm_"):
        gt.clip_and_step(torch.optim.SGD([weight], 0.0), gt.AutoClip())
