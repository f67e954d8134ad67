"""Weights cannot be clipped by mistake: torch parameters are refused, torch never imported."""

import numpy as np
import pytest

import gradclip


class Tensor:
    """A torch tensor as far as this package looks: DLPack, requires_grad, methods."""

    __module__ = "torch"

    def __init__(self, values, requires_grad=False):
        self.array = np.array(values, "f4")
        self.requires_grad = requires_grad
        self.parameters_called = False

    def __dlpack__(self, **kwargs):
        assert not self.requires_grad, "exported although it requires grad"
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()

    def __iter__(self):
        return iter(self.array)


class Parameter(Tensor):
    __module__ = "torch.nn.parameter"


class OwnParameter(Parameter):
    __module__ = "somebodys.model"


class Buffer(Tensor):
    """A tensor that torch itself takes for a parameter by this attribute."""

    _is_param = True


class Module:
    __module__ = "torch.nn.modules.linear"

    def parameters(self):
        raise AssertionError("parameters() was called")

    def zero_grad(self):
        raise AssertionError("zero_grad() was called")


WEIGHTS = {
    "parameter": (lambda: Parameter([1.0], True), "a torch parameter"),
    "frozen parameter": (lambda: Parameter([1.0], False), "a torch parameter"),
    "subclass": (lambda: OwnParameter([1.0], False), "a torch parameter"),
    "by attribute": (lambda: Buffer([1.0]), "a torch parameter"),
    "tensor that requires grad": (lambda: Tensor([1.0], True), "a tensor that requires grad"),
    "module": (Module, "a torch module"),
}

CALLS = {
    "clip_grad_norm_": lambda grads: gradclip.clip_grad_norm_(grads, 1.0),
    "clip_grad_norm": lambda grads: gradclip.clip_grad_norm(grads, 1.0),
    "get_total_norm": gradclip.get_total_norm,
    "clip_grads_with_norm_": lambda grads: gradclip.clip_grads_with_norm_(grads, 1.0, 2.0),
    "clip_grad_value_": lambda grads: gradclip.clip_grad_value_(grads, 1.0),
    "Plan": gradclip.Plan,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_are_a_type_error_that_names_gradclip_torch(name, call):
    make, what = WEIGHTS[name]
    before = np.ones(2, "f4")
    for grads, label in (
        (make(), "grads"),
        ([before, make()], r"grads\[1\]"),
        (iter([before, make()]), r"grads\[1\]"),
        ({"a": before, "w": make()}, r"grads\[1\] \('w'\)"),
    ):
        with pytest.raises(TypeError, match=rf"^{label} is {what}.*gradclip\.torch"):
            call(grads)
    assert before.tolist() == [1.0, 1.0]


def test_a_detached_tensor_is_clipped():
    grad = Tensor([3.0, 4.0])
    assert gradclip.clip_grad_norm_([grad], 2.5, eps=0) == 5.0
    assert grad.array.tolist() == [1.5, 2.0]


def test_torch_is_not_imported(python):
    code = """
import sys, gradclip
class Parameter:
    __module__ = "torch.nn.parameter"
try:
    gradclip.clip_grad_norm_([Parameter()], 1.0)
except TypeError as error:
    assert "gradclip.torch" in str(error)
assert "torch" not in sys.modules and "gradclip.torch" not in sys.modules
"""
    python("-c", code)
