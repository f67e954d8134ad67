"""What is public: every name of a module's __all__, and the methods of its classes."""

import inspect
import sys
from types import ModuleType, SimpleNamespace


def callables(module):
    """(name, function) of each public function and method, constructors included."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isroutine(value):
            yield name, value
        elif isinstance(value, type):
            for attribute, member in inspect.getmembers(value, inspect.isroutine):
                is_ours = (getattr(member, "__module__", None) or "").startswith("gradclip")
                if is_ours and (attribute[0] != "_" or attribute == "__init__"):
                    yield f"{name}.{attribute}", member


def with_argument(module, argument):
    """The names of those that have an argument."""
    found = set()
    for name, function in callables(module):
        try:
            parameters = inspect.signature(function).parameters
        except ValueError:  # of C
            continue
        is_record = name.endswith(".__init__") and name.split(".")[0] in RECORDS
        if argument in parameters and not is_record:
            found.add(name.removesuffix(".__init__"))
    return found


# Objects that are handed out, not made by users: their fields are no arguments.
RECORDS = {"Diagnosis", "Inspection", "NonFiniteGradientError", "NonFinite", "Decision"}


def mpi():
    """gradclip.mpi, also where there is no MPI: its signatures do not depend on one."""
    try:
        import gradclip.mpi as module

        return module
    except ImportError:
        pass
    stand_in = ModuleType("mpi4py")
    stand_in.MPI = SimpleNamespace(COMM_WORLD=None, Comm=object)
    sys.modules["mpi4py"] = stand_in
    try:
        import gradclip.mpi as module
    finally:
        del sys.modules["mpi4py"], sys.modules["gradclip.mpi"]
    import gradclip

    del gradclip.mpi  # what other tests import is the real one
    return module
