"""Every kind of array that can be clipped, and the errors for those that cannot."""

import ctypes
import mmap
import sys
from array import array

import ml_dtypes
import numpy as np
import pytest

import gradclip
from gradclip._gradients.rows import Tensors
from gradclip._native import ffi

FOREIGN = ">" if sys.byteorder == "little" else "<"


def ctypes_array(values):
    return (ctypes.c_float * len(values))(*values)


def float_view(values):
    return memoryview(bytearray(array("f", values).tobytes())).cast("f")


def mapped(values):
    memory = mmap.mmap(-1, mmap.PAGESIZE)
    view = memoryview(memory).cast("f")[: len(values)]
    view[:] = array("f", values)
    return view


KINDS = {
    "float32 ndarray": lambda values: np.array(values, "f4"),
    "float64 ndarray": lambda values: np.array(values, "f8"),
    "array.array f": lambda values: array("f", values),
    "array.array d": lambda values: array("d", values),
    "ctypes array": ctypes_array,
    "memoryview": float_view,
    "mmap": mapped,
    "explicit byte order": lambda values: np.array(values, "<f4" if FOREIGN == ">" else ">f4"),
    "memmap": None,
    "ndarray subclass": lambda values: np.array(values, "f4").view(type("Sub", (np.ndarray,), {})),
}


@pytest.fixture(params=KINDS)
def make(request, tmp_path):
    if request.param != "memmap":
        return KINDS[request.param]

    def memmap(values):
        mapped = np.memmap(tmp_path / "grad", "f4", "w+", shape=len(values))
        mapped[:] = values
        return mapped

    return memmap


def test_in_place_and_out_of_place(make):
    grad = make([3.0, -4.0])
    clipped, norm = gradclip.clip_grad_norm([grad], 2.5, eps=0)
    assert norm == 5.0 and list(grad) == [3.0, -4.0]
    assert list(clipped[0]) == [1.5, -2.0]
    assert memoryview(clipped[0]).format == memoryview(grad).format
    assert not memoryview(clipped[0]).readonly
    assert gradclip.clip_grad_norm_([grad], 2.5, eps=0) == 5.0
    assert list(grad) == [1.5, -2.0]
    gradclip.clip_grad_value_(grad, 1.75)
    assert list(grad) == [1.5, -1.75]
    with gradclip.Plan([grad]) as plan:
        plan.clip_grads_with_norm_(1.0, 2.0, eps=0)
    assert list(grad) == [0.75, -0.875]


def test_out_of_place_gives_the_same_kind():
    for grad in (array("f", [3.0]), array("d", [3.0]), ctypes_array([3.0]), np.ones((2, 3), "f4")):
        assert type(gradclip.clip_grad_norm(grad, 1.0)[0]) is type(grad)
    matrix = memoryview(np.ones((2, 3)))
    clipped, _ = gradclip.clip_grad_norm(matrix, 1.0)
    assert isinstance(clipped, memoryview) and clipped.shape == (2, 3) and clipped.format == "d"
    clipped, _ = gradclip.clip_grad_norm(memoryview(b"").cast("f"), 1.0)
    assert clipped.nbytes == 0


def test_read_only_gradients_out_of_place():
    frozen = memoryview(array("f", [3.0, 4.0]).tobytes()).cast("f")
    clipped, norm = gradclip.clip_grad_norm([frozen], 2.5, eps=0)
    assert norm == 5.0 and clipped[0].tolist() == [1.5, 2.0] and not clipped[0].readonly


LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "transposed": lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(1, 2, 0),
    "backwards": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
    "axis of one": lambda a: np.asfortranarray(a)[:, None],
    "new axis with stride 0": lambda a: np.lib.stride_tricks.as_strided(
        a, (2, 1, 3, 4), [n * a.itemsize for n in (12, 0, 4, 1)]
    ),
}


@pytest.mark.parametrize("dtype", [np.float64, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", LAYOUTS)
def test_dense_in_any_memory_order(name, dtype, rng):
    values = np.array([rng.randint(-9, 9) for _ in range(24)], dtype).reshape(2, 3, 4)
    grad = LAYOUTS[name](values.copy())
    assert grad.size == 24
    before = grad.copy()
    clipped, norm = gradclip.clip_grad_norm([grad], 1.0, eps=0)
    assert norm == pytest.approx(np.linalg.norm(values.astype("f8")), rel=1e-14)
    assert np.array_equal(grad, before)
    single = np.float32 if dtype is ml_dtypes.bfloat16 else np.float64
    product = before.astype(single) * single(norm.clip_coef)
    assert np.array_equal(clipped[0], product.astype(dtype))
    assert gradclip.clip_grad_norm_([grad], 1.0, eps=0) == norm
    assert np.array_equal(grad, clipped[0])
    moving = [i for i, extent in enumerate(grad.shape) if extent > 1]
    assert [clipped[0].strides[i] for i in moving] == [grad.strides[i] for i in moving]


def test_empty_arrays_of_any_shape():
    grads = [np.empty((0, 3), "f4"), array("d"), np.array([2.0]), np.empty((3, 0)).T, np.empty(0)]
    clipped, norm = gradclip.clip_grad_norm(grads, 1.0, eps=0, tensor_norms=True)
    assert norm.tensor_norms == (0.0, 0.0, 2.0, 0.0, 0.0)
    assert [getattr(g, "shape", len(g)) for g in clipped] == [(0, 3), 0, (1,), (0, 3), (0,)]
    assert gradclip.clip_grad_norm_(grads, 1.0, eps=0) == 2.0 and grads[2][0] == 1.0


def test_zero_dimensional():
    grad = np.array(-4.0, "f4")
    clipped, norm = gradclip.clip_grad_norm(grad, 1.0, eps=0)
    assert norm == 4.0 and clipped.shape == () and clipped == -1.0
    gradclip.clip_grad_norm_(grad, 1.0, eps=0)
    assert grad == -1.0


def test_misaligned_memory():
    raw = bytearray(4 * 3 + 1)
    grad = np.frombuffer(raw, "f4", offset=1)
    grad[:] = [2.0, 3.0, 6.0]
    assert gradclip.clip_grad_norm_([grad], 3.5, eps=0) == 7.0
    assert grad.tolist() == [1.0, 1.5, 3.0]


def test_bfloat16_reaches_the_library():
    for grad in (np.ones((2, 3), ml_dtypes.bfloat16), np.ones((2, 3), ml_dtypes.bfloat16).T):
        tensors = Tensors([grad], None, True)
        row = tensors.table.first
        assert (row.data, row.length) == (grad.__array_interface__["data"][0], 6)
        assert (row.dtype, row.flags, row.device_type) == (ffi.GRADCLIP_BF16, 0, 1)
    half = Tensors([np.ones(5, "f2")], None, True).table.first
    assert (half.length, half.dtype) == (5, ffi.GRADCLIP_F16)


# ------------------------------------------------------------------- errors --


def frozen():
    grad = np.ones(3, "f4")
    grad.flags.writeable = False
    return grad


ERRORS = {
    "read-only ndarray": (frozen, ValueError, "is read-only"),
    "read-only buffer": (lambda: memoryview(bytes(8)).cast("d"), ValueError, "is read-only"),
    "foreign byte order": (lambda: np.ones(2, FOREIGN + "f4"), TypeError, "byte order .*f4"),
    "foreign ctypes": (
        lambda: (ctypes.c_float.__ctype_be__ * 2)(),
        TypeError,
        "byte order .*>f",
    ),
    "int64": (lambda: np.ones(2, "i8"), TypeError, r"wrong dtype: float32, .* \(got int64\)"),
    "complex": (lambda: np.ones(2, "c8"), TypeError, "got complex64"),
    "long double": (lambda: np.ones(2, "g"), TypeError, "got float128|got longdouble"),
    "bool": (lambda: np.ones(2, "?"), TypeError, "got bool"),
    "objects": (lambda: np.array([1.0, None]), TypeError, "got object"),
    "dates": (lambda: np.zeros(2, "M8[s]"), TypeError, r"got datetime64\[s\]"),
    "records": (lambda: np.zeros(2, "f4,f4"), TypeError, "wrong dtype"),
    "ints": (lambda: array("i", [1]), TypeError, "got format 'i'"),
    "bytearray": (lambda: bytearray(8), TypeError, "got format 'B'"),
    "bytes": (lambda: bytes(8), TypeError, "got format 'B'"),
    "strided": (
        lambda: np.ones(6, "f4")[::2],
        ValueError,
        r"not dense: .*shape \(3,\), strides \(8,\)",
    ),
    "inner part": (lambda: np.ones((4, 4))[1:3, 1:3], ValueError, "not dense"),
    "broadcast": (
        lambda: np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,)),
        ValueError,
        "not dense",
    ),
    "masked": (lambda: np.ma.masked_array([1.0, 2.0], [0, 1]), TypeError, "masked array"),
    "number": (lambda: 3.0, TypeError, r"is no array: .*\(got float\)"),
    "string": (lambda: "weights", TypeError, r"is no array: .*\(got str\)"),
    "function": (lambda: len, TypeError, "got builtin_function_or_method"),
    "NumPy scalar": (lambda: np.float32(3), ValueError, "is read-only"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_clipped_is_named_and_nothing_is_written(name):
    make, kind, message = ERRORS[name]
    first = np.array([3.0, 4.0])
    grads = [first, make()]
    for call in (
        lambda grads, **kw: gradclip.clip_grad_norm_(grads, 1.0, **kw),
        lambda grads, **kw: gradclip.clip_grads_with_norm_(grads, 1.0, 5.0, **kw),
        lambda grads, **kw: gradclip.clip_grad_value_(grads, 1.0, **kw),
        gradclip.Plan,
    ):
        with pytest.raises(kind, match=rf"^grads\[1\] .*({message})"):
            call(grads)
        with pytest.raises(kind, match=rf"^grads\[1\] \('bias'\) .*({message})"):
            call(grads, names=["weight", "bias"])
        with pytest.raises(kind, match=rf"^grads\[0\] \('w'\) .*({message})"):
            call({"w": make()})
        if not isinstance(grads[1], str):
            with pytest.raises(kind, match=rf"^grads .*({message})"):
                call(make())
    assert first.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("name", [n for n in ERRORS if "read-only" not in n and "scalar" not in n])
def test_out_of_place_and_norm_refuse_the_same_but_for_read_only(name):
    make, kind, message = ERRORS[name]
    for call in (gradclip.get_total_norm, lambda grads: gradclip.clip_grad_norm(grads, 1.0)):
        with pytest.raises(kind, match=message):
            call([make()])


def test_read_only_says_what_to_use_instead():
    with pytest.raises(ValueError, match="clip_grad_norm returns new arrays instead"):
        gradclip.clip_grad_norm_([frozen()], 1.0)


def test_fortran_ordered_memoryview_out_of_place():
    view = memoryview(np.asfortranarray(np.ones((2, 3))))
    assert gradclip.clip_grad_norm_([view], 1.0, eps=0) == pytest.approx(6**0.5)
    with pytest.raises(ValueError, match=r"grads\[0\] is not in C order.*numpy.asarray"):
        gradclip.clip_grad_norm([view], 1.0)
