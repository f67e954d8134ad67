"""Importing the package: what it needs, and what it loads."""

import sys


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
    code = "import sys; old = set(sys.modules); import gradclip; print(*(set(sys.modules) - old))"
    loaded = {name.partition(".")[0] for name in python("-c", code).stdout.split()}
    standard = getattr(sys, "stdlib_module_names", None)  # since Python 3.10
    if standard is not None:
        assert loaded - set(standard) == {"gradclip"}
    assert not loaded & {"numpy", "argparse", "inspect"}


def test_loads_little_of_the_standard_library(python):
    """What takes the time; today it is 32 modules on Python 3.9 and 22 on 3.13."""
    code = "import sys; old = set(sys.modules); import gradclip; print(*(set(sys.modules) - old))"
    loaded = [name for name in python("-c", code).stdout.split() if name[:8] != "gradclip"]
    assert len(loaded) <= 36, sorted(loaded)


def test_every_exception_is_where_it_says_it_is():
    import gradclip
    import gradclip._advise.extra
    import gradclip._advise.log

    kinds = [gradclip.GradClipError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert len(kinds) > 6
    for kind in kinds:
        if kind.__module__ == "gradclip":
            assert getattr(gradclip, kind.__name__) is kind


def test_all_names_exist_and_have_docstrings():
    import gradclip

    for name in gradclip.__all__:
        value = getattr(gradclip, name)
        if name != "__version__":
            assert value.__doc__, name
        if isinstance(value, type):
            assert value.__module__ == "gradclip", name
