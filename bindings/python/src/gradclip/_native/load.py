"""Finds libgradclip and loads it.

The first of these that exists is taken:

1. the file that the environment variable GRADCLIP_LIBRARY names (nothing else
   is tried when it is set),
2. the library inside this package, where the wheel puts it,
3. build/lib of the checkout that this package lies in,
4. what the system's loader finds under the library's name.

A library of another system, processor or libc is passed over, and the message says so.
One that is older than this package, or of another major version, is refused: within a
major version a newer library serves an older package.
"""

from __future__ import annotations

import ctypes
import os

from .._version import __version__
from .binary import NAMES, SYSTEM, fits, machine, own


def load() -> tuple[ctypes.CDLL, str]:
    """The library and where it was found; ImportError says all that was tried."""
    tried = []
    wanted, name = own(), NAMES[SYSTEM]
    for place, path in _candidates(name):
        # A bare name is for the loader to find.
        found = machine(path) if os.path.dirname(path) else None
        if not fits(found, wanted):
            tried.append(f"  {place}: {path} is for {found}, and this Python needs {wanted}")
            continue
        try:
            library = ctypes.CDLL(path)
        except OSError as error:
            # The loader's message names the path itself, and says more than
            # "no such file" where a file is there but does not load.
            tried.append(f"  {place}: {error}")
        else:
            _check_version(library, path)
            return library, path
    if "GRADCLIP_LIBRARY" not in os.environ:
        tried.insert(0, "  GRADCLIP_LIBRARY: not set")
    raise ImportError("\n".join([f"{name} could not be loaded. Tried, in this order:", *tried]))


def _candidates(name: str) -> list[tuple[str, str]]:
    override = os.environ.get("GRADCLIP_LIBRARY")
    if override is not None:
        return [("GRADCLIP_LIBRARY", override)]
    # os.path, because importing pathlib would take a sixth of the package's import.
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    candidates = [("inside the package", os.path.join(package, name))]
    # .../bindings/python/src/gradclip lies four levels below the checkout.
    checkout = os.path.normpath(os.path.join(package, *[os.pardir] * 4))
    if os.path.isfile(os.path.join(checkout, "include", "gradclip.h")):
        built = os.path.join(checkout, "build", "lib", name)
        candidates.append(("build/lib of the checkout", built))
    candidates.append(("the system's loader", name))
    return candidates


def _check_version(library: ctypes.CDLL, path: str) -> None:
    try:
        function = library.gradclip_version
    except AttributeError:
        raise ImportError(
            f"{path} is not libgradclip: it has no function gradclip_version"
        ) from None
    function.restype = ctypes.c_uint32
    function.argtypes = ()
    found = int(function())
    major, minor, patch = (int(part) for part in __version__.split(".")[:3])
    needed = major * 10000 + minor * 100 + patch
    if found // 10000 != major or found < needed:
        raise ImportError(
            f"the package gradclip {__version__} needs libgradclip {__version__} or a later "
            f"{major}.x, but {path} is version {found // 10000}.{found // 100 % 100}.{found % 100}"
        )
