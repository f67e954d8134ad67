"""patch(): our functions in the place of torch's, for libraries that call those."""

import sys
import types

import pytest

torch = pytest.importorskip("torch")

from torch.nn import utils  # noqa: E402
from torch.nn.utils import clip_grad  # noqa: E402

import gradclip.torch as gt  # noqa: E402
from gradclip.torch import _fallback  # noqa: E402

PLACES = [
    (utils, "clip_grad_norm_"),
    (utils, "clip_grad_value_"),
    (utils, "clip_grads_with_norm_"),
    (utils, "get_total_norm"),
    (clip_grad, "clip_grad_norm_"),
    (clip_grad, "clip_grad_value_"),
]


def held():
    return [getattr(module, name) for module, name in PLACES]


ORIGINALS = [getattr(_fallback, name) for _, name in PLACES]
OURS = [getattr(gt, name) for _, name in PLACES]


def test_holds_until_undone():
    before = dict(vars(utils)), dict(vars(clip_grad))
    patch = gt.patch()
    try:
        assert held() == OURS
        assert utils.clip_grad_norm is before[0]["clip_grad_norm"]
        assert repr(patch) == "<gradclip.torch.patch of torch.nn.utils>"
    finally:
        patch.undo()
    assert held() == ORIGINALS
    assert (dict(vars(utils)), dict(vars(clip_grad))) == before
    patch.undo()
    assert repr(patch) == "<gradclip.torch.patch, undone>"


def test_as_a_context_manager_also_nested_and_after_an_error():
    with gt.patch() as outer:
        with gt.patch():
            assert held() == OURS
        assert held() == OURS and outer.missed == ()
    assert held() == ORIGINALS
    with pytest.raises(KeyError):
        with gt.patch():
            raise KeyError
    assert held() == ORIGINALS


def test_patches_that_are_undone_in_any_order():
    first, second = gt.patch(), gt.patch()
    first.undo()
    assert held() == OURS, "the second one still holds"
    assert repr(first) == "<gradclip.torch.patch, undone>" != repr(second)
    second.undo()
    assert held() == ORIGINALS


def test_what_somebody_else_has_bound_meanwhile_stays(monkeypatch):
    monkeypatch.setattr(utils, "clip_grad_norm_", utils.clip_grad_norm_)  # to be put back
    with gt.patch():
        utils.clip_grad_norm_ = len
    assert utils.clip_grad_norm_ is len
    assert clip_grad.clip_grad_norm_ is _fallback.clip_grad_norm_


def test_a_library_that_looks_the_function_up_uses_ours():
    """As accelerate and Lightning do; the norm tells who computed it."""
    weight = torch.zeros(2)
    for patched in (False, True):
        weight.grad = torch.tensor([3e38, 3e38])
        if patched:
            with gt.patch():
                norm = torch.nn.utils.clip_grad_norm_([weight], 1.0)
        else:
            norm = torch.nn.utils.clip_grad_norm_([weight], 1.0)
        assert bool(norm.isfinite()) == patched


def test_modules_that_hold_the_original_are_named(monkeypatch):
    user = types.ModuleType("user")
    exec("from torch.nn.utils import clip_grad_norm_, get_total_norm as total", vars(user))
    monkeypatch.setitem(sys.modules, "user", user)
    with pytest.warns(UserWarning, match=r"user\.clip_grad_norm_, user\.total") as caught:
        patch = gt.patch()
    patch.undo()
    assert caught[0].filename == __file__
    assert patch.missed == ("user.clip_grad_norm_", "user.total")


def test_what_goes_to_torch_under_the_patch_does_not_come_back():
    """torch's functions call each other by names that are patched."""
    weight = torch.zeros(2, device="meta")
    weight.grad = torch.zeros(2, device="meta")
    with gt.patch():
        assert torch.nn.utils.clip_grad_norm_([weight], 1.0).device.type == "meta"
        complex_weight = torch.zeros(1, dtype=torch.complex64)
        complex_weight.grad = torch.tensor([3 + 4j])
        assert torch.nn.utils.clip_grad_norm_([complex_weight], 1.0, 1.0) == 5
        torch.testing.assert_close(complex_weight.grad, torch.tensor([0.6 + 0.8j]))
