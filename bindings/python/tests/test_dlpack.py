"""Arrays that are known only by DLPack, with capsules from before and since version 1.0."""

import ctypes
import sys
import types

import numpy as np
import pytest

import gradclip
from gradclip._gradients import dlpack
from gradclip._gradients.rows import Tensors
from gradclip._native import ffi


class Producer:
    """An array without the buffer protocol, made of NumPy's."""

    def __init__(self, array, versioned=True, device=(1, 0)):
        self.array, self.versioned, self.device = array, versioned, device

    def __dlpack__(self, **kwargs):
        if not self.versioned and kwargs:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        return self.array.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.device


numpy_2_1 = tuple(map(int, np.__version__.split(".")[:2])) >= (2, 1)


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_clips_in_place(versioned, dtype):
    grad = np.array([[3.0, 0.0], [0.0, -4.0]], dtype)
    for view in (grad, grad.T, grad[:, ::-1]):
        grad[:] = [[3.0, 0.0], [0.0, -4.0]]
        assert gradclip.clip_grad_norm_([Producer(view, versioned)], 2.5, eps=0) == 5.0
        assert grad.tolist() == [[1.5, 0.0], [0.0, -2.0]]


@pytest.mark.parametrize("versioned", [True, False])
def test_a_plan_keeps_the_producers_memory(versioned):
    grad = np.array([3.0, 4.0])
    with gradclip.Plan([Producer(grad, versioned)]) as plan:
        with pytest.raises(ValueError, match="resize"):
            grad.resize(1000)
        assert plan.clip_grad_norm_(2.5, eps=0) == 5.0
    assert grad.tolist() == [1.5, 2.0]


def test_memory_order_in_the_report():
    grad = np.asfortranarray(np.ones((2, 3)))
    grad[1, 0] = np.nan
    found = gradclip.get_total_norm([Producer(grad)]).nonfinite
    assert found.index == (1, 0) and found.element == 3


def test_page_locked_memory_of_a_gpu_library_is_cpu_memory():
    assert gradclip.get_total_norm([Producer(np.array([3.0]), device=(3, 0))]) == 3.0


@pytest.mark.parametrize(("device", "name"), [((2, 1), "CUDA"), ((8, 0), "Metal"), ((99, 0), "99")])
def test_other_devices_are_named(device, name):
    with pytest.raises(
        gradclip.UnsupportedError, match=rf"grads\[0\] is not in CPU memory.*{name}"
    ):
        gradclip.clip_grad_norm_([Producer(np.ones(1), device=device)], 1.0)


def test_read_only_arrays():
    frozen = np.array([3.0, 4.0])
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match=r"grads\[0\] (is read-only|cannot be exported)"):
        gradclip.clip_grad_norm_([Producer(frozen)], 1.0)
    if numpy_2_1:  # older ones export no read-only array at all
        assert gradclip.get_total_norm([Producer(frozen)]) == 5.0


@pytest.mark.parametrize(
    ("array", "kind", "message"),
    [
        (np.ones(3, "i4"), TypeError, "wrong dtype.*got int32"),
        (np.ones(3, "c16"), TypeError, "wrong dtype.*got complex128"),
        (np.ones((4, 4))[:, :2], ValueError, "not dense.*strides \\(32, 8\\)"),
        (np.ones(2, "U3"), ValueError, "cannot be exported through DLPack"),
    ],
)
def test_refused(array, kind, message):
    with pytest.raises(kind, match=rf"^grads\[0\] .*{message}"):
        gradclip.clip_grad_norm_([Producer(array)], 1.0)


def test_exporter_failures_are_named():
    class Broken(Producer):
        def __dlpack__(self, **kwargs):
            raise RuntimeError("lazy and out of luck")

    with pytest.raises(ValueError, match=r"grads\[1\] cannot be exported .*lazy and out of luck"):
        gradclip.get_total_norm([np.ones(1), Broken(None)])


# ------------------------------------------------- capsules made by the test --

_new_capsule = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))


class Handmade:
    """A versioned capsule with chosen dtype, flags, version and name."""

    def __init__(
        self, values, code=2, bits=32, flags=0, major=1, name=b"dltensor_versioned", skip=0
    ):
        self.memory = values
        self.shape = (ctypes.c_int64 * 1)(values.size - skip)
        tensor = dlpack._DLTensor(
            values.__array_interface__["data"][0],
            1,
            0,
            1,
            code,
            bits,
            1,
            self.shape,
            None,
            skip * bits // 8,
        )
        self.managed = dlpack._DLManagedTensorVersioned(major, 0, None, None, flags, tensor)
        self.name = name

    def __dlpack__(self, *, max_version=None, copy=None):
        assert max_version == (1, 0) and copy is False
        return _new_capsule(ctypes.addressof(self.managed), self.name, None)


def test_bfloat16_code_and_missing_strides():
    grad = Handmade(np.zeros(6, "u2"), code=4, bits=16)
    row = Tensors([grad], None, True).table.first
    assert (row.dtype, row.length) == (ffi.GRADCLIP_BF16, 6)


def test_byte_offset():
    values = np.array([7.0, 3.0, 4.0], "f4")
    assert gradclip.clip_grad_norm_([Handmade(values, skip=1)], 2.5, eps=0) == 5.0
    assert values.tolist() == [7.0, 1.5, 2.0]


def test_read_only_flag():
    grad = Handmade(np.array([3.0, 4.0], "f4"), flags=1)
    with pytest.raises(ValueError, match=r"grads\[0\] is read-only"):
        gradclip.clip_grad_norm_([grad], 1.0)
    assert gradclip.get_total_norm([grad]) == 5.0


def test_a_copy_is_not_clipped_in_place():
    grad = Handmade(np.array([3.0, 4.0], "f4"), flags=2)
    with pytest.raises(ValueError, match="as a copy"):
        gradclip.clip_grad_norm_([grad], 1.0)
    assert gradclip.get_total_norm([grad]) == 5.0


@pytest.mark.parametrize("odd", [{"major": 2}, {"name": b"used_dltensor"}])
def test_unknown_capsules(odd):
    with pytest.raises(ValueError, match="cannot be exported through DLPack"):
        gradclip.get_total_norm([Handmade(np.ones(1, "f4"), **odd)])


# ------------------------------------------------------------- out of place --


def test_out_of_place_through_the_producers_own_library(monkeypatch):
    library = types.ModuleType("somelib")
    monkeypatch.setitem(sys.modules, "somelib", library)
    kind = type("Array", (Producer,), {"__module__": "somelib.core"})
    library.empty_like = lambda source: kind(np.empty_like(source.array))
    grad = kind(np.asfortranarray([[3.0, 0.0], [0.0, 4.0]]))
    clipped, norm = gradclip.clip_grad_norm({"w": grad}, 2.5, eps=0)
    assert norm == 5.0 and type(clipped["w"]) is kind
    assert clipped["w"].array.tolist() == [[1.5, 0.0], [0.0, 2.0]]
    assert grad.array.tolist() == [[3.0, 0.0], [0.0, 4.0]]
    # A library whose new arrays lie otherwise in memory must not mix elements up.
    library.empty_like = lambda source: kind(np.empty(source.array.shape))
    with pytest.raises(ValueError, match=r"grads\[0\].*not laid out"):
        gradclip.clip_grad_norm([grad], 2.5)


def test_out_of_place_for_immutable_arrays():
    class Immutable(Producer):
        """Like JAX: it can be read, and made from other arrays, but not written."""

        __module__ = "jax"

        dtype = "float32"

        def __array_namespace__(self):
            return types.SimpleNamespace(asarray=lambda array, dtype: Immutable(array))

    grad = Immutable(np.array([[3.0], [4.0]], "f4"))
    with pytest.raises(
        ValueError, match=r"read-only \(jax arrays cannot be changed in place\).*clip_grad_norm"
    ):
        gradclip.clip_grad_norm_([grad], 1.0)
    clipped, norm = gradclip.clip_grad_norm([grad], 2.5, eps=0)
    assert norm == 5.0 and type(clipped[0]) is Immutable
    assert clipped[0].array.tolist() == [[1.5], [2.0]]


def test_out_of_place_without_a_way_to_make_arrays():
    with pytest.raises(TypeError, match=r"grads\[0\]: there is no way to make a new Producer"):
        gradclip.clip_grad_norm([Producer(np.ones(2))], 1.0)


def test_out_of_place_for_libraries_that_convert():
    """TensorFlow has no array namespace, and a name of its own for asarray."""
    library = types.ModuleType("convertlib")

    class Tensor(Producer):
        __module__ = "convertlib.eager"
        dtype = "float64"

    library.convert_to_tensor = lambda array, dtype: Tensor(array.astype(dtype))
    sys.modules["convertlib"] = library
    try:
        clipped, norm = gradclip.clip_grad_norm({"w": Tensor(np.array([3.0, 4.0]))}, 2.5, eps=0)
    finally:
        del sys.modules["convertlib"]
    assert norm == 5.0 and type(clipped["w"]) is Tensor
    assert clipped["w"].array.tolist() == [1.5, 2.0]


def test_a_device_that_dlpack_cannot_tell_is_an_error_that_names_the_array():
    class Nowhere(Producer):
        def __dlpack_device__(self):
            raise ValueError("Unknown device type meta")

    with pytest.raises(ValueError, match=r"^grads\[0\] \('w'\) cannot be exported.*type meta"):
        gradclip.clip_grad_norm_({"w": Nowhere(np.ones(1))}, 1.0)
