"""Objects that lie, raise and change under one's hands: an error that names them, or the right
result; nothing is written by a call that fails, and the process lives.
"""

import ctypes
import math
import mmap
import threading
from array import array
from collections import UserDict, UserList
from unittest import mock

import numpy as np
import pytest
from hostile import ALL, Enough, calls, hostile, junk, neighbours, refused
from hypothesis import given
from hypothesis import strategies as st

import gradclip

# -------------------------------------------------------------- attributes --

ATTRIBUTES = [
    "__dlpack_device__", "_is_param", "requires_grad", "parameters", "dtype", "shape", "strides",
    "itemsize", "nbytes", "data", "data_ptr", "__array_interface__", "__array__",
    "__array_namespace__", "device", "is_cuda", "grad", "__len__",
]  # fmt: skip


@hostile
@given(st.dictionaries(st.sampled_from(ATTRIBUTES), junk, max_size=5), st.booleans(), calls)
def test_attributes_that_raise_or_hold_junk(attributes, has_dlpack, call):
    def lookup(value):
        def get(self):
            if isinstance(value, Exception):
                raise value
            return value

        return property(get)

    members = {name: lookup(value) for name, value in attributes.items()}
    members["zero_grad"] = None
    if has_dlpack:
        members["__dlpack__"] = lambda self, **kwargs: None
    refused(call, type("Odd", (), members)())


def test_mocks_and_proxies_are_no_arrays():
    for stand_in in (mock.Mock(spec=np.ndarray), mock.NonCallableMock(spec=array)):
        assert isinstance(stand_in, (np.ndarray, array))  # so it says
        for call in ALL:
            refused(call, stand_in, r"^grads\[1\] is no array")


def test_a_subclass_that_lies_about_its_dtype_keeps_to_its_memory():
    class Half(np.ndarray):
        dtype = mock.Mock(itemsize=2)
        dtype.name = "bfloat16"

        def view(self, *arguments):
            return memoryview(bytes(self.nbytes))

    # Bits of float64 taken for bfloat16: nonsense, but of that memory.
    values = np.ones(8).view(Half)
    guard = values.base
    gradclip.clip_grad_value_([values], math.inf)
    assert guard.tolist() == [1.0] * 8

    class Broken(np.ndarray):
        @property
        def dtype(self):
            raise RuntimeError("no dtype today")

    refused("clip_grad_norm_", np.ones(3).view(Broken), r"^grads\[1\] .*no dtype today")


# ---------------------------------------------------- __array_interface__ --


@hostile
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "data": st.sampled_from([None, (0, False), (8, False), ("x", 1), b"12345678", 7]),
            "shape": st.sampled_from([(2,), (-1,), (2**62,), "x", None, (2**40, 2**40)]),
            "typestr": st.sampled_from(["<f4", "<f8", "x", "", None, "<i4", "|O8", 4]),
            "strides": st.sampled_from([None, (2**40,), (-8,), (0,), "x", ()]),
            "version": st.sampled_from([3, 2, -1, "3", None]),
        },
    )
    | junk,
    calls,
)
def test_array_interfaces_are_not_believed(interface, call):
    """The package does not read __array_interface__ at all; NumPy does, if it is asked to."""

    class Interface:
        @property
        def __array_interface__(self):
            if isinstance(interface, Exception):
                raise interface
            return interface

    refused(call, Interface(), r"^grads\[1\] is no array", TypeError)


def test_what_numpy_makes_of_an_array_interface():
    memory = array("d", [3.0, 4.0])
    address, _ = memory.buffer_info()

    class Interface:
        def __init__(self, **told):
            self.__array_interface__ = {
                "data": (address, False), "shape": (2,), "typestr": "<f8", "version": 3, **told,
            }  # fmt: skip

    frozen = np.asarray(Interface(data=(address, True)))
    with pytest.raises(ValueError, match=r"^grads\[0\] is read-only"):
        gradclip.clip_grad_norm_([frozen], 1.0)
    for strides in ((0,), (24,)):
        with pytest.raises(ValueError, match=r"^grads\[0\] is not dense"):
            gradclip.clip_grad_norm_([np.asarray(Interface(strides=strides))], 1.0)
    with pytest.raises(TypeError, match=r"^grads\[0\] has the wrong dtype"):
        gradclip.clip_grad_norm_([np.asarray(Interface(typestr="<i8"))], 1.0)
    assert memory.tolist() == [3.0, 4.0]
    assert gradclip.clip_grad_norm_([np.asarray(Interface())], 2.5, eps=0) == 5.0
    assert memory.tolist() == [1.5, 2.0]


# -------------------------------------------------------------- containers --


@pytest.mark.parametrize("call", ALL)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_generators_that_raise_half_way(call, after):
    first, last = neighbours()

    def grads():
        for i, grad in enumerate((first, last)):
            if i == after:
                raise Enough
            yield grad
        raise Enough

    for container in (grads(), [grads()], {"w": first, "rest": grads()}):
        with pytest.raises(Enough):
            ALL[call](container)
    assert first.tolist() == [3.0, 4.0] and last.tolist() == [5.0, 12.0]


@pytest.mark.parametrize("call", ALL)
def test_containers_that_change_while_they_are_walked(call):
    first, last = neighbours()

    class Shrinking(UserList):
        def __iter__(self):
            for item in list(self.data):
                self.data.clear()
                yield item

    class Forgetful(UserDict):
        def __getitem__(self, key):
            if key == "b":
                raise KeyError(key)
            return super().__getitem__(key)

    def growing():
        grads = {"a": first}
        for value in grads.values():
            yield value
            grads[object()] = value

    class Shouting:
        def __str__(self):
            raise Enough

    if call == "clip_grad_norm":  # which makes another one, if one can be made
        with pytest.raises(TypeError, match="no other .*Shrinking can be made"):
            ALL[call](Shrinking([np.ones(2), np.ones(3)]))
    else:
        ALL[call](Shrinking([np.ones(2), np.ones(3)]))
    with pytest.raises(KeyError):
        ALL[call](Forgetful(a=first, b=last))
    with pytest.raises(RuntimeError, match="changed size"):
        ALL[call](growing())
    with pytest.raises(Enough):
        ALL[call]({"a": first, Shouting(): last})
    assert first.tolist() == [3.0, 4.0] and last.tolist() == [5.0, 12.0]


@pytest.mark.parametrize("call", ALL)
def test_containers_that_contain_themselves(call):
    first, _ = neighbours()
    ring = [first]
    ring.append(ring)
    keyed = {"w": first}
    keyed["self"] = keyed
    twice = [first]
    twice += [twice, twice]

    def endless():
        yield first
        yield endless()

    deep = [first]
    for _ in range(5000):
        deep = [deep]
    for grads in (ring, keyed, twice, endless(), deep):
        with pytest.raises(ValueError, match="grads is nested more than 100 .* contain itself"):
            ALL[call](grads)
    assert first.tolist() == [3.0, 4.0]


def test_nested_as_deep_as_anybody_does():
    grads = np.array([3.0, 4.0])
    for i in range(100):
        grads = [grads] if i % 2 else {"layer": grads}
    assert gradclip.get_total_norm(grads) == 5.0


def names_that_raise():
    yield "w"
    raise Enough


@pytest.mark.parametrize("call", ["clip_grad_norm_", "clip_grad_value_", "Plan"])
def test_names_that_raise(call):
    first, last = neighbours()
    arguments = () if call == "Plan" else (0.5,)
    with pytest.raises(Enough):
        getattr(gradclip, call)([first, last], *arguments, names=names_that_raise())
    assert first.tolist() == [3.0, 4.0]


# ---------------------------------------- arrays that are resized meanwhile --


@pytest.mark.parametrize("call", ALL)
def test_one_gradient_that_resizes_another(call):
    first, last = array("f", [3.0, 4.0]), np.array([5.0, 12.0])

    class Meddler:
        def __dlpack__(self, **kwargs):
            with pytest.raises(BufferError):
                first.extend([0.0] * 100_000)
            with pytest.raises(BufferError):
                first.pop()
            raise RuntimeError("no array after all")

    with pytest.raises(ValueError, match=r"^grads\[1\] .*no array after all"):
        ALL[call]([first, Meddler(), last])
    first.append(1.0)  # nothing holds it any more
    assert first.tolist() == [3.0, 4.0, 1.0] and last.tolist() == [5.0, 12.0]


class Number:
    """A number whose conversion does something else."""

    def __init__(self, act, value=1.0):
        self.act, self.value = act, value

    def __float__(self):
        self.act()
        return self.value


def fail():
    raise Enough


def test_numbers_that_raise_or_meddle():
    grad = array("f", [3.0, 4.0])

    def meddle():
        try:
            grad.extend([0.0] * 100_000)
        except BufferError:
            return
        del grad[2:]

    for argument in ("max_norm", "norm_type", "eps", "grad_scale"):
        given_values = {"max_norm": 1.0, argument: Number(fail)}
        with pytest.raises((Enough, TypeError, ctypes.ArgumentError)):
            gradclip.clip_grad_norm_([grad], **given_values)
        assert grad.tolist() == [3.0, 4.0]
        for odd in ("1", None, [1], 1j, object(), 10**400):
            with pytest.raises((TypeError, ValueError, OverflowError, ctypes.ArgumentError)):
                gradclip.clip_grad_norm_([grad], **{"max_norm": 1.0, argument: odd})
            assert grad.tolist() == [3.0, 4.0]
    try:
        gradclip.clip_grad_norm_([grad], Number(meddle), eps=0)
    except (TypeError, ctypes.ArgumentError):
        assert grad.tolist() == [3.0, 4.0]
    else:
        assert grad.tolist() == pytest.approx([0.6, 0.8])


def test_arrays_that_other_threads_resize():
    """Between calls that succeeds, during one it raises BufferError; nobody reads freed memory."""
    grad = array("f", [1.0]) * 1_000_000
    done = threading.Event()
    counts = {"resized": 0, "refused": 0}

    def resize():
        while not done.is_set():
            try:
                grad.append(1.0)
                grad.pop()
                counts["resized"] += 1
            except BufferError:
                counts["refused"] += 1

    thread = threading.Thread(target=resize)
    thread.start()
    try:
        for _ in range(50):
            norm = gradclip.get_total_norm([grad])
            assert norm in (1000.0, math.sqrt(1_000_001))
    finally:
        done.set()
        thread.join()
    assert counts["refused"] > 0, counts


def test_a_plan_holds_files_and_views():
    file = mmap.mmap(-1, mmap.PAGESIZE)
    view = memoryview(file).cast("f")
    view[0], view[1] = 3.0, 4.0
    with gradclip.Plan([view]) as plan:
        with pytest.raises(BufferError):
            file.close()
        with pytest.raises(BufferError):
            file.resize(2 * mmap.PAGESIZE)
        assert plan.clip_grad_norm_(2.5, eps=0) == 5.0
    view.release()
    file.close()
    with pytest.raises((ValueError, TypeError), match=r"^grads\[0\]"):
        gradclip.get_total_norm([view])
