"""Nested containers: order, names, None, and the same containers back."""

import math
from array import array
from collections import OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pytest

import gradclip
from gradclip._gradients.rows import Tensors

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


class Pair(tuple):
    """A tuple whose __new__ takes its parts one by one, with an attribute of its own."""

    def __new__(cls, first, second):
        return super().__new__(cls, (first, second))


class Shared(MutableMapping):
    """A copy of it would share its dictionary."""

    def __init__(self, held):
        self.held = dict(held)

    def __getitem__(self, key):
        return self.held[key]

    def __setitem__(self, key, value):
        self.held[key] = value

    def __delitem__(self, key):
        del self.held[key]

    def __iter__(self):
        return iter(self.held)

    def __len__(self):
        return len(self.held)


@dataclass(frozen=True)
class Frozen:
    weight: object
    layers: list
    count: ClassVar[int] = 3


@dataclass
class Derived:
    weight: object
    bias: object = field(init=False, default=None)


def test_every_kind_of_container_comes_back():
    def twice(made):
        """What was given, what came back."""
        given = made(np.full(1, 4.0))
        clipped, norm = gradclip.clip_grad_norm(given, 2.0, eps=0)
        assert norm == 4.0 and type(clipped) is type(given) and clipped is not given
        return given, clipped

    given, clipped = twice(lambda g: defaultdict(list, w=g))
    assert clipped["w"] == 2.0 and given["w"] == 4.0 and clipped["missing"] == []
    for made in (
        lambda g: MappingProxyType({"w": g}),
        lambda g: UserDict(w=g),
        lambda g: Shared({"w": g}),
    ):
        given, clipped = twice(made)
        assert clipped["w"] == 2.0 and given["w"] == 4.0 and list(clipped) == ["w"]
    for made in (lambda g: deque([g], maxlen=5), lambda g: UserList([g])):
        given, clipped = twice(made)
        assert clipped[0] == 2.0 and given[0] == 4.0 and len(clipped) == 1
    assert twice(lambda g: deque([g], maxlen=5))[1].maxlen == 5

    def pair(g):
        made = Pair(g, None)
        made.note = "kept"
        return made

    given, clipped = twice(pair)
    assert clipped[0] == 2.0 and given[0] == 4.0 and clipped.note == "kept"

    given, clipped = twice(lambda g: Frozen(g, [None]))
    assert clipped.weight == 2.0 and given.weight == 4.0 and clipped.layers == [None]
    given, clipped = twice(Derived)
    assert clipped.weight == 2.0 and given.weight == 4.0 and clipped.bias is None
    assert type(gradclip.clip_grad_norm((g for g in [ones()]), 1.0)[0]) is list


def test_a_dataclass_has_its_fields_for_names():
    assert names_of(Frozen(ones(), [ones(), ones()])) == ["weight", "layers.0", "layers.1"]
    grads = Frozen(np.full(1, 4.0), [np.full(1, 3.0)])
    assert gradclip.clip_grad_norm_(grads, 2.5, eps=0) == 5.0
    assert grads.weight == 2.0 and grads.layers[0] == 1.5


def test_a_container_that_cannot_be_made_again_is_named():
    class Stubborn(Shared):
        def __init__(self):
            super().__init__({"w": np.full(1, 4.0)})

    grads = Stubborn()
    with pytest.raises(TypeError, match=r"no other .*Stubborn can be made .*pass a list"):
        gradclip.clip_grad_norm(grads, 2.0)
    assert grads["w"] == 4.0
    assert gradclip.clip_grad_norm_(grads, 2.0, eps=0) == 4.0 and grads["w"] == 2.0


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
