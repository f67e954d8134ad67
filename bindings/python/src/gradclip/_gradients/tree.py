"""Takes nested containers apart into a list of arrays, and puts new arrays in their places.

Lists, tuples, mappings, dataclasses and any other iterables may hold arrays, None (a
parameter that got no gradient) and each other. What is put together again is of the
kind that was taken apart, its other attributes included; of an iterator a list. A gradient's name is its path:
{"encoder": {"weight": w}} names w "encoder.weight".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union


class Node(NamedTuple):
    """A container: the function that makes one of new parts, and its parts."""

    make: Callable[[list[Any]], Any]
    parts: list[Any]  # of Node and LEAF


LEAF = object()
_DEEPEST = 100
Tree = Union[Node, object]


class Flat(NamedTuple):
    leaves: list[Any]  # arrays and None, in order
    names: list[str] | None  # their paths; None for a plain list or a single array
    tree: Tree


def flatten(grads: Any) -> Flat:
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
    keyed = isinstance(grads, Mapping) or _is_dataclass(grads)
    nested = keyed or any(len(path) > 1 for path in paths)
    names = [".".join(path) for path in paths] if nested else None
    return Flat(leaves, names, tree)


def _open(value: Any) -> tuple[Callable[[list[Any]], Any], Iterable[Any], list[Any]] | None:
    """How to make a container like value, its keys and its parts; None if value is no container."""
    if isinstance(value, Mapping):
        keys = list(value)
        make = _dict_of(keys) if type(value) is dict else _mapping_like(value, keys)
        return make, keys, [value[key] for key in keys]
    if isinstance(value, (list, tuple)):
        parts = list(value)
        kind = type(value)
        return kind if kind in (list, tuple) else _sequence_like(value), range(len(parts)), parts
    if value is None or is_array(value):
        return None
    if _is_dataclass(value):
        from dataclasses import fields

        keys = [field.name for field in fields(value)]
        return _dataclass_like(value, keys), keys, [getattr(value, key) for key in keys]
    if not isinstance(value, Iterable):
        return None
    try:
        iterator = iter(value)
    except TypeError:  # it only says that it can be iterated over
        return None
    parts = list(iterator)
    make = _sequence_like(value) if isinstance(value, Sequence) else list
    return make, range(len(parts)), parts


def _is_dataclass(value: Any) -> bool:
    return hasattr(type(value), "__dataclass_fields__")


# ------------------------------------------------------------- the same kind again --


def _dict_of(keys: list[Any]) -> Callable[[list[Any]], Any]:
    return lambda parts: dict(zip(keys, parts))


def _mapping_like(value: Any, keys: list[Any]) -> Callable[[list[Any]], Any]:
    def fill(parts: list[Any]) -> Any:
        if not _copies_its_parts(value, dict):
            return type(value)(dict(zip(keys, parts)))
        new = _copy(value)
        for key, part in zip(keys, parts):
            new[key] = part
        return new

    return _checked(value, fill, lambda new: [new[key] for key in new])


def _sequence_like(value: Any) -> Callable[[list[Any]], Any]:
    def fill(parts: list[Any]) -> Any:
        kind = type(value)
        if isinstance(value, tuple):
            # Without its __new__, which may want something else: a named tuple's does.
            new = tuple.__new__(kind, parts)
            getattr(new, "__dict__", {}).update(getattr(value, "__dict__", {}))
            return new
        if not _copies_its_parts(value, list):
            return kind(parts)
        new = _copy(value)
        if isinstance(value, list):
            list.__setitem__(new, slice(None), parts)
        else:
            for i, part in enumerate(parts):
                new[i] = part
        return new

    return _checked(value, fill, list)


def _dataclass_like(value: Any, keys: list[str]) -> Callable[[list[Any]], Any]:
    def fill(parts: list[Any]) -> Any:
        new = _copy(value)
        for key, part in zip(keys, parts):
            object.__setattr__(new, key, part)  # a frozen one too
        return new

    return _checked(value, fill, lambda new: [getattr(new, key) for key in keys])


def _copy(value: Any) -> Any:
    from copy import copy  # and with it weakref

    return copy(value)


def _copies_its_parts(value: Any, kind: type) -> bool:
    """Whether a copy has places of its own for the parts, and does not share the original's."""
    return isinstance(value, kind) or hasattr(type(value), "__copy__")


def _checked(
    value: Any,
    fill: Callable[[list[Any]], Any],
    held: Callable[[Any], list[Any]],
) -> Callable[[list[Any]], Any]:
    """fill, but an error that names the container where what it made is not like value."""

    def make(parts: list[Any]) -> Any:
        kind = type(value)
        try:
            new = fill(parts)
            found = held(new)
            same = len(found) == len(parts) and all(map(operator.is_, found, parts))
            if same and type(new) is kind and new is not value:
                return new
            reason = "what it makes of them is something else"
        except Exception as error:  # its own
            reason = f"{type(error).__name__}: {error}"
        raise TypeError(
            f"no other {kind.__module__}.{kind.__qualname__} can be made for the new gradients "
            f"({reason}): pass a list or a dictionary of the gradients"
        )

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
    return tree.make([rebuild(part, leaves) for part in tree.parts])
