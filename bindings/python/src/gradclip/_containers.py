"""Takes nested containers apart into a list of arrays, and puts new arrays in their places.

Lists, tuples, mappings and any other iterables may hold arrays, None (a
parameter that got no gradient) and each other. A gradient's name is its path:
{"encoder": {"weight": w}} names w "encoder.weight".
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, NamedTuple, Union


class Node(NamedTuple):
    """A container: the function that makes one of new parts, and its parts.

    parts is None for a container that holds nothing but leaves.
    """

    make: Callable[[list[Any]], Any]
    parts: list[Any] | None  # of Node and LEAF


LEAF = object()
_DEEPEST = 100
Tree = Union[Node, object]


class Flat(NamedTuple):
    leaves: list[Any]  # arrays and None, in order
    kinds: set[type]  # their types
    names: list[str] | None  # their paths; None for a plain list or a single array
    tree: Tree


def flatten(grads: Any) -> Flat:
    # A list or a dictionary of NumPy arrays is the usual thing: known by the
    # set of its types, it needs no loop in Python.
    kind = type(grads)
    if kind is list or kind is tuple or kind is dict:
        leaves = list(grads.values() if kind is dict else grads)
        kinds = set(map(type, leaves))
        if kinds <= {_ndarray(), type(None)}:
            if kind is dict:
                keys = list(grads)
                make = _mapping_maker(dict, keys)
                return Flat(leaves, kinds, list(map(str, keys)), Node(make, None))
            return Flat(leaves, kinds, None, Node(kind, None))
    return _walk(grads)


def _ndarray() -> Any:
    return getattr(sys.modules.get("numpy"), "ndarray", None)


def _walk(grads: Any) -> Flat:
    leaves: list[Any] = []
    paths: list[tuple[str, ...]] = []

    def visit(value: Any, path: tuple[str, ...]) -> Tree:
        container = _open(value)
        if container is None:
            leaves.append(value)
            paths.append(path)
            return LEAF
        if len(path) > _DEEPEST:
            raise ValueError(
                f"grads is nested more than {_DEEPEST} containers deep: does it contain itself?"
            )
        make, keys, parts = container
        return Node(make, [visit(part, (*path, str(key))) for key, part in zip(keys, parts)])

    tree = visit(grads, ())
    nested = isinstance(grads, Mapping) or any(len(path) > 1 for path in paths)
    names = [".".join(path) for path in paths] if nested else None
    return Flat(leaves, set(map(type, leaves)), names, tree)


def _open(value: Any) -> tuple[Callable[[list[Any]], Any], Iterable[Any], list[Any]] | None:
    """How to make a container like value, its keys and its parts; None if value is no container."""
    if isinstance(value, Mapping):
        keys = list(value)
        kind = type(value) if isinstance(value, dict) else dict
        return _mapping_maker(kind, keys), keys, [value[key] for key in keys]
    if isinstance(value, (list, tuple)):
        parts = list(value)
        # A named tuple takes its parts one by one, and has _make for a list of them.
        return getattr(value, "_make", type(value)), range(len(parts)), parts
    if value is None or is_array(value) or not isinstance(value, Iterable):
        return None
    try:
        iterator = iter(value)
    except TypeError:  # it only says that it can be iterated over
        return None
    parts = list(iterator)
    return list, range(len(parts)), parts


def _mapping_maker(kind: type, keys: list[Any]) -> Callable[[list[Any]], Any]:
    def make(parts: list[Any]) -> Any:
        try:
            return kind(zip(keys, parts))
        except TypeError:  # a defaultdict, say, wants something else first
            return dict(zip(keys, parts))

    return make


def is_array(value: object) -> bool:
    """Whether value is an array, as opposed to an iterable of arrays."""
    if isinstance(value, (str, bytes, bytearray)):
        return True  # no array of gradients either, but certainly no container of them
    kind = type(value)
    if hasattr(kind, "__dlpack__") or hasattr(kind, "__array__"):
        return True
    try:
        memoryview(value).release()  # type: ignore[arg-type]
    except TypeError:
        return False
    except Exception:
        return True  # it has the buffer protocol, but not for this request
    return True


def rebuild(tree: Tree, leaves: Iterator[Any]) -> Any:
    """The containers of a tree around new leaves."""
    if not isinstance(tree, Node):
        return next(leaves)
    if tree.parts is None:
        return tree.make(list(leaves))
    return tree.make([rebuild(part, leaves) for part in tree.parts])
