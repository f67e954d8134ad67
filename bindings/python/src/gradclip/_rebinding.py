"""Functions of another package, replaced where its modules and classes hold them, and put back."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self


class Place(NamedTuple):
    """A name of a module or class, and what is to stand there."""

    holder: Any
    name: str
    new: Any


class Rebinding:
    """What a patch() has done. undo(), or leaving it as a context manager, takes it back.

    Attributes:
        names: the names, "module.name" or "class.name", that were rebound.
    """

    def __init__(self, places: Iterable[Place], title: str) -> None:
        self._title = title
        self._before: list[tuple[Place, Any]] = []
        names = []
        for place in places:
            self._before.append((place, vars(place.holder)[place.name]))
            setattr(place.holder, place.name, place.new)
            names.append(f"{getattr(place.holder, '__name__', '?')}.{place.name}")
        self.names: tuple[str, ...] = tuple(names)

    def undo(self) -> None:
        """Puts back what was there before; calling it twice is fine.

        A name that somebody else has bound meanwhile stays as it is.
        """
        while self._before:
            place, old = self._before.pop()
            if vars(place.holder).get(place.name) is place.new:
                setattr(place.holder, place.name, old)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"<{self._title}, {f'{len(self.names)} names' if self._before else 'undone'}>"


def takes(function: Any) -> tuple[str, ...]:
    """The names of a function's own arguments; none of what is no function of Python."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return () if code is None else code.co_varnames[: code.co_argcount]


def held_in(package: str | None, functions: Mapping[int, Any]) -> list[Place]:
    """Where the loaded modules of a package (None: of any but this one) hold functions; they are
    given by their id(), with what is to stand in their place."""
    found = []
    for module_name, module in sorted(sys.modules.items()):
        root = module_name.partition(".")[0]
        if root != package and (package is not None or root == __package__):
            continue
        # The dictionary, because asking a lazy module for a name would load it.
        held: dict[str, Any] = dict(getattr(module, "__dict__", {}))
        found += [
            Place(module, name, functions[id(x)]) for name, x in held.items() if id(x) in functions
        ]
    return found
