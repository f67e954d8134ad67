"""Importing the package: what it needs, what it loads, and what it shows."""

import ast
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from public import callables, mpi

import gradclip

LOADED = "import sys; old = set(sys.modules); import gradclip; print(*(set(sys.modules) - old))"


def test_needs_the_standard_library_only(python):
    code = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numpy", "torch", "jax", "ml_dtypes"):
            raise ImportError(f"{name} is blocked by the test")
sys.meta_path.insert(0, Blocked())
import gradclip, array
grads = {"w": array.array("f", [3.0]), "b": memoryview(bytearray(8)).cast("d")}
clipped, norm = gradclip.clip_grad_norm(grads, 1.5, eps=0)
assert norm == 3.0 and clipped["w"].tolist() == [1.5], (norm, clipped)
assert gradclip.clip_grad_norm_(grads, 1.5, eps=0) == 3.0 and grads["w"][0] == 1.5
gradclip.Plan(grads).clip_grad_value_(1.0)
assert grads["w"][0] == 1.0
assert not any(name.partition(".")[0] in ("numpy", "torch") for name in sys.modules)
"""
    python("-c", code)


def test_imports_nothing_but_itself_and_the_standard_library(python):
    loaded = {name.partition(".")[0] for name in python("-c", LOADED).stdout.split()}
    assert loaded - set(sys.stdlib_module_names) == {"gradclip"}


def test_loads_little_of_the_standard_library(python):
    """What takes the time. No clock decides here: a busy machine would."""
    loaded = python("-S", "-c", LOADED).stdout.split()
    slow = {"argparse", "csv", "dataclasses", "inspect", "json", "pathlib", "statistics", "weakref"}
    assert not slow & set(loaded)
    # typing, ctypes and what these load, os among it, which a program has anyway: 40 in Python 3.11, 45 in 3.14.
    assert sum(name[:8] != "gradclip" for name in loaded) <= 46, sorted(loaded)
    # Of the package itself the rooms that serve arrays, and neither advise nor the commands.
    own = [name for name in loaded if name[:8] == "gradclip"]
    assert len(own) <= 38, sorted(own)
    assert not any(name.startswith(("gradclip._advise", "gradclip._cli")) for name in own)


def test_makes_a_function_of_the_library_when_it_is_called(python):
    """To make all of them takes a tenth of the time of the import."""
    made = python(
        "-c",
        "import gradclip; from gradclip._native import ffi; print(len(ffi.FUNCTIONS)); "
        "print(*(name for name in ffi.FUNCTIONS if name in vars(ffi)))",
    ).stdout.splitlines()
    assert int(made[0]) > 50 and not made[1]


def test_dir_is_what_is_public():
    assert dir(gradclip) == sorted(gradclip.__all__)


def test_help_shows_the_public_names(python):
    shown = python("-c", "import gradclip; help(gradclip)").stdout
    for name in gradclip.__all__:
        assert name in shown or name == "__version__", name


def test_a_typo_is_told_what_was_meant(python):
    done = subprocess.run(
        [sys.executable, "-c", "import gradclip; gradclip.clip_grad_nrom_"],
        capture_output=True,
        text=True,
    )
    assert "Did you mean: 'clip_grad_norm_'?" in done.stderr


@pytest.mark.parametrize("name", ["deepspeed", "flower", "mpi", "torch"])
def test_a_module_that_is_not_imported_says_so(python, name):
    code = f"""
import gradclip
try:
    gradclip.{name}
except AttributeError as error:
    print(error)
"""
    assert python("-c", code).stdout.strip().endswith(f"import gradclip.{name}")


def test_every_exception_is_where_it_says_it_is():
    kinds = [gradclip.GradClipError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert len(kinds) > 6
    for kind in kinds:
        if kind.__module__ == "gradclip":
            assert getattr(gradclip, kind.__name__) is kind


def test_all_names_exist_and_have_docstrings():
    for name in gradclip.__all__:
        value = getattr(gradclip, name)
        if name != "__version__":
            assert value.__doc__, name
        if isinstance(value, type):
            assert value.__module__ == "gradclip", name


def everything():
    import gradclip.flower

    for module in (gradclip, gradclip.flower, mpi()):
        for name, function in callables(module):
            yield pytest.param(function, id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("function", list(everything()))
def test_types_and_signatures_can_be_asked_for(function):
    typing.get_type_hints(function)
    inspect.signature(function, eval_str=True)


def test_threads_are_counted_and_set():
    before = gradclip.get_num_threads()
    assert before >= 1
    gradclip.set_num_threads(3)
    assert gradclip.get_num_threads() == 3
    gradclip.set_num_threads(before)
    for count, kind in ((-1, ValueError), (2**32, ValueError), (1.5, TypeError)):
        with pytest.raises(kind, match=r"count must be an integer"):
            gradclip.set_num_threads(count)
    assert gradclip.get_num_threads() == before


def imported(path, package):
    """The modules of the package that a module needs when it is imported itself."""
    home = path.relative_to(package.parent).with_suffix("").parts
    statements = list(ast.parse(path.read_text()).body)
    for statement in statements:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" not in ast.unparse(statement.test):
            statements += statement.body
        if not isinstance(statement, ast.ImportFrom) or not statement.level:
            continue
        base = home[: len(home) - statement.level]
        module = (*base, *(statement.module or "").split(".")) if statement.module else base
        names = [module, *((*module, alias.name) for alias in statement.names)]
        for name in names:
            file = package.parent.joinpath(*name)
            for found in (file.with_suffix(".py"), file / "__init__.py"):
                own = found.name == "__init__.py" and found.parent in path.parents
                if found.exists() and not own:
                    yield found


def test_no_two_modules_import_each_other():
    package = Path(gradclip.__file__).parent
    needs = {path: set(imported(path, package)) for path in package.rglob("*.py")}
    assert sum(map(len, needs.values())) > 200
    while needs:
        free = {path for path, others in needs.items() if not others & needs.keys()}
        assert free, f"in a circle, or behind one: {sorted(path.name for path in needs)}"
        for path in free:
            del needs[path]
