"""Nested containers: order, names, None, and the same containers back."""

import math
from array import array
from collections import OrderedDict, UserList, defaultdict, deque, namedtuple
from types import MappingProxyType

import numpy as np
import pytest

import gradclip
from gradclip._tensors import Tensors

Layer = namedtuple("Layer", ["weight", "bias"])


def ones(n=1):
    return np.ones(n, "f4")


def names_of(grads):
    return Tensors(grads, None, True).names


@pytest.mark.parametrize(
    ("grads", "names"),
    [
        ([ones(), ones()], None),
        ((ones(), array("f", [1.0])), None),
        (ones(), None),
        ({"w": ones(), "b": ones()}, ["w", "b"]),
        ({"w": ones(), "b": array("f", [1.0])}, ["w", "b"]),
        (MappingProxyType({"w": ones()}), ["w"]),
        (
            {"enc": {"w": ones(), "b": None}, "dec": [ones(), ones()]},
            ["enc.w", "enc.b", "dec.0", "dec.1"],
        ),
        ([{"w": ones()}, {"w": ones()}], ["0.w", "1.w"]),
        ([[ones()], [ones(), ones()]], ["0.0", "1.0", "1.1"]),
        ({3: ones(), (1, 2): ones()}, ["3", "(1, 2)"]),
        (Layer(ones(), ones()), None),
        (deque([ones()]), None),
        (iter([ones()]), None),
        ({"w": ones()}.values(), None),
    ],
)
def test_names_are_paths(grads, names):
    assert names_of(grads) == names


def as_lists(value):
    """The values, without the containers' types."""
    if isinstance(value, dict):
        return {key: as_lists(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)) and not hasattr(value, "typecode"):
        return [as_lists(part) for part in value]
    return None if value is None else list(value)


def test_the_same_containers_come_back():
    grads = OrderedDict(
        layer=Layer(np.array([3.0]), None),
        rest=[(np.array([4.0]),), {"deep": array("d", [12.0])}, []],
    )
    clipped, norm = gradclip.clip_grad_norm(grads, 6.5, eps=0)
    assert norm == 13.0
    assert type(clipped) is OrderedDict and type(clipped["layer"]) is Layer
    assert type(clipped["rest"][0]) is tuple
    assert as_lists(clipped) == {
        "layer": [[1.5], None],
        "rest": [[[2.0]], {"deep": [6.0]}, []],
    }


@pytest.mark.parametrize("kind", [list, tuple])
def test_flat_sequences_come_back(kind):
    clipped, _ = gradclip.clip_grad_norm(kind([ones(), None, ones(2)]), 1.0)
    assert type(clipped) is kind and clipped[1] is None and clipped[2].shape == (2,)


def test_other_containers_come_back_as_plain_ones():
    assert type(gradclip.clip_grad_norm(defaultdict(list, w=ones()), 1.0)[0]) is dict
    assert type(gradclip.clip_grad_norm(MappingProxyType({"w": ones()}), 1.0)[0]) is dict
    for container in (deque([ones()]), UserList([ones()]), (g for g in [ones()])):
        assert type(gradclip.clip_grad_norm(container, 1.0)[0]) is list


@pytest.mark.parametrize(
    "wrap", [list, tuple, iter, lambda g: {"w": g[0], "b": g[1]}, lambda g: [[g[0]], {"b": g[1]}]]
)
def test_clips_in_any_container(wrap):
    grads = [np.array([3.0]), np.array([4.0])]
    assert gradclip.clip_grad_norm_(wrap(grads), 2.5, eps=0) == 5.0
    assert [g[0] for g in grads] == [1.5, 2.0]


def test_none_is_passed_over():
    grads = [None, np.array([3.0]), None, np.array([4.0])]
    norm = gradclip.clip_grad_norm_(grads, 2.5, eps=0, tensor_norms=True)
    assert norm == 5.0 and norm.tensor_norms == (0.0, 3.0, 0.0, 4.0)
    assert gradclip.get_total_norm(None) == 0.0


def test_errors_name_the_path():
    with pytest.raises(TypeError, match=r"^grads\[1\] \('enc\.b'\) is no array"):
        gradclip.clip_grad_norm_({"enc": {"w": ones(), "b": 3}}, 1.0)
    with pytest.raises(TypeError, match=r"^grads\[2\] "):
        gradclip.clip_grad_norm_([None, ones(), 3], 1.0)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "b", "c"]])
def test_names_must_be_as_many(names):
    with pytest.raises(
        ValueError, match=rf"names must have one name a gradient: 2 \(got {len(names)}\)"
    ):
        gradclip.clip_grad_norm_([ones(), ones()], 1.0, names=names)


def test_names_may_be_any_iterable_but_a_string():
    found = gradclip.get_total_norm([np.array([math.nan])], names=iter(["w"])).nonfinite
    assert found.name == "w"
    with pytest.raises(TypeError, match=r"names must be an iterable .*'w'"):
        gradclip.get_total_norm([ones()], names="w")
