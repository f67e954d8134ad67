"""DLPack producers that lie, raise and return junk: an error that names them, or the right result;
nothing is written by a call that fails, and the process lives.

Lies that nobody can find out, a pointer to memory that is not there, are left out: SECURITY.md
says what is trusted.
"""

import ctypes
import math

import numpy as np
import pytest
from hostile import ALL, IN_PLACE, calls, hostile, junk, neighbours, refused
from hypothesis import assume, given
from hypothesis import strategies as st

import gradclip
from gradclip._gradients import dlpack

_new_capsule = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))

ROOM = 16  # float32 elements that are really there
TYPES = {(2, 32): "f4", (2, 64): "f8", (2, 16): "f2", (4, 16): None}
extents = st.sampled_from([0, 1, 2, 3, 4, -1, -(2**63), 2**31, 2**62, 2**63 - 1])
strides = st.sampled_from([0, 1, 2, 3, 4, 8, -1, -2, 2**61, -(2**63)])


class Liar:
    """A DLPack producer whose capsule says what an example says, over 64 bytes of memory."""

    def __init__(self, told):
        self.told = told
        self.memory = np.arange(1, ROOM + 1, dtype="f4")
        # Long enough for any ndim that is read, so that reading too many is seen as an
        # error of the package and not as a crash of the test.
        self.shape = (ctypes.c_int64 * 4096)(*told["shape"])
        self.strides = (ctypes.c_int64 * 4096)(*(told["strides"] or []))
        tensor = dlpack._DLTensor(
            None if told["null"] else self.memory.ctypes.data,
            told["capsule_device"],
            0,
            told["ndim"],
            *told["type"],
            told["lanes"],
            self.shape if told["has_shape"] else None,
            self.strides if told["strides"] is not None else None,
            told["byte_offset"],
        )
        if told["versioned"]:
            self.said = dlpack._DLManagedTensorVersioned(
                told["major"], 0, None, None, told["flags"], tensor
            )
        else:
            self.said = tensor
        self.capsule = _new_capsule(ctypes.addressof(self.said), told["name"], None)
        if told["device"] is not None:
            self.__dlpack_device__ = lambda: told["device"]

    def __dlpack__(self, **kwargs):
        if kwargs and not self.told["versioned"]:
            raise TypeError("no arguments, please")
        return self.capsule  # the same one every time


@st.composite
def lies(draw):
    """A true array, of which some fields are then changed: few lies at a time get far."""
    told = {
        "shape": [2, 4],
        "strides": draw(st.sampled_from([None, [4, 1], [1, 2]])),
        "ndim": 2,
        "has_shape": True,
        "null": False,
        "type": (2, 32),
        "lanes": 1,
        "byte_offset": 0,
        "device": (1, 0),
        "capsule_device": 1,
        "versioned": draw(st.booleans()),
        "major": 1,
        "flags": 0,
    }
    told["name"] = b"dltensor_versioned" if told["versioned"] else b"dltensor"
    changes = {
        "shape": st.lists(extents, min_size=2, max_size=4),
        "strides": st.none() | st.lists(strides, min_size=2, max_size=4),
        "ndim": st.sampled_from([-(2**31), -1, 0, 1, 3, 4, 65, 4096, 2**31 - 1]),
        "has_shape": st.just(False),
        "null": st.just(True),
        "type": st.sampled_from([*TYPES, (0, 32), (1, 8), (5, 64), (6, 8), (2, 0), (255, 255)]),
        "lanes": st.sampled_from([0, 2, 4, 65535]),
        "byte_offset": st.sampled_from([4, 16, 33, 2**63, 2**64 - 1, 2**64 - 8]),
        "device": st.sampled_from([None, (2, 0), (8, 0), (-1, 0), (), (None,), "cpu", 1, 3.5]),
        "capsule_device": st.sampled_from([0, 2, 3, 8, 13, -1, 2**31 - 1]),
        "major": st.sampled_from([0, 2, 2**32 - 1]),
        "flags": st.sampled_from([1, 2, 3, 2**64 - 1]),
        "name": st.sampled_from([b"used_dltensor", b"dltensor_", b"", b"dltensor\xff"]),
    }
    for field in draw(st.lists(st.sampled_from(list(changes)), max_size=3, unique=True)):
        told[field] = draw(changes[field])
    return told


def elements_of(told):
    """The elements that a capsule tells of, as indices of bytes; None if it tells of no array
    that the library takes, and "nowhere" if of memory that only seems to be there."""
    device = told["device"]
    well_typed = device is None or (isinstance(device, tuple) and device and device[0] == 1)
    if not well_typed or told["capsule_device"] not in (1, 3, 11):
        return None
    if not 0 <= told["ndim"] <= 64 or (told["ndim"] and not told["has_shape"]):
        return None
    if told["versioned"] and told["major"] != 1:
        return None
    if told["name"] != (b"dltensor_versioned" if told["versioned"] else b"dltensor"):
        return None
    if told["type"] not in TYPES or told["lanes"] != 1:
        return None
    itemsize = told["type"][1] // 8
    # (What follows the fields that were given is 0, and an extent of 0 makes it empty.)
    shape = (told["shape"] + [0] * told["ndim"])[: told["ndim"]]
    steps = told["strides"]
    if any(extent < 0 for extent in shape) or math.prod(shape) * itemsize >= 2**63:
        return None
    if 0 in shape:
        return []
    if told["null"]:
        return None
    if steps is None:
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    steps = (steps + [0] * len(shape))[: len(shape)]
    moving = sorted((abs(s), n) for n, s in zip(shape, steps) if n > 1)
    expected = 1
    for step, extent in moving:
        if step != expected:
            return None  # gaps or overlaps
        expected *= extent
    low = told["byte_offset"] + itemsize * sum(
        s * (n - 1) for n, s in zip(shape, steps) if n > 1 and s < 0
    )
    length = math.prod(shape)
    if low < 0 or low + length * itemsize > 4 * ROOM:
        return "nowhere"
    return list(range(low, low + length * itemsize))


@hostile
@given(lies(), calls)
def test_lying_capsules(told, call):
    liar = Liar(told)
    before = liar.memory.copy()
    found = elements_of(told)
    if found == "nowhere":
        # Beyond the end of all memory it is refused, and otherwise nobody can tell.
        assume(told["byte_offset"] >= 2**63 + 2**62)
        refused(call, liar)
        return
    read_only = told["versioned"] and told["flags"] & 3 and call in IN_PLACE
    if found is None or read_only:
        refused(call, liar)
        assert np.array_equal(liar.memory, before)
        return
    if call == "clip_grad_norm":
        refused(call, liar, "there is no way to make a new Liar|not laid out")
        assert np.array_equal(liar.memory, before)
        return
    first, last = neighbours()
    ALL[call]([first, liar, last])
    changed = set(np.flatnonzero(liar.memory.view("u1") != before.view("u1")).tolist())
    assert changed <= set(found) and (call in IN_PLACE or not changed)
    values = before.view("u1")[found].tobytes()
    kind = TYPES[told["type"]]
    if call == "get_total_norm" and kind:
        exact = math.sqrt(sum(float(x) ** 2 for x in np.frombuffer(values, kind)))
        norm = gradclip.get_total_norm([liar])
        assert norm == pytest.approx(exact, rel=1e-6) or not math.isfinite(exact)


FLOATS = {
    "shape": [4], "strides": None, "ndim": 1, "has_shape": True, "null": False, "type": (2, 32),
    "lanes": 1, "byte_offset": 0, "device": (1, 0), "capsule_device": 1, "versioned": True,
    "major": 1, "flags": 0, "name": b"dltensor_versioned",
}  # fmt: skip


def test_a_capsule_is_looked_at_again_each_time_and_never_consumed():
    liar = Liar(FLOATS)
    for _ in range(3):
        assert gradclip.get_total_norm([liar]) == math.sqrt(30)
    liar.shape[0] = 2  # it changes its mind between calls
    assert gradclip.get_total_norm([liar]) == math.sqrt(5)


@pytest.mark.parametrize("call", ALL)
def test_a_capsules_own_device_counts(call):
    """A producer that tells of no device, or of another, may hand out memory of a GPU."""
    for device in (None, (1, 0)):
        gpu = Liar({**FLOATS, "device": device, "capsule_device": 2})
        refused(call, gpu, r"^grads\[1\] cannot be exported .*CUDA")


@hostile
@given(junk, junk, calls)
def test_producers_that_raise_or_return_junk(capsule, device, call):
    class Producer:
        def __dlpack__(self, **kwargs):
            if isinstance(capsule, Exception):
                raise capsule
            return capsule

        def __dlpack_device__(self):
            if isinstance(device, Exception):
                raise device
            return device

    refused(call, Producer())
