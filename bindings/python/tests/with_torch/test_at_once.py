"""The fast look at tensors finds what torch says of each of them, in every way that it asks."""

import ctypes
import random
import warnings

import pytest

torch = pytest.importorskip("torch")

import gradclip.torch as gt  # noqa: E402
from gradclip._gradients import dlpack  # noqa: E402
from gradclip.torch import _rows  # noqa: E402

HAS_EXCHANGE = hasattr(torch.Tensor, "__dlpack_c_exchange_api__")  # 2.13 has it


@pytest.fixture(params=["exchange", "exchange, listed addresses", "asked one thing at a time"])
def way(request, monkeypatch):
    if request.param.startswith("exchange") and not HAS_EXCHANGE:
        pytest.skip("this torch has no DLPack exchange API")
    if "listed" in request.param:
        monkeypatch.setattr(dlpack, "tuples_end_in_their_items", False)
    if "asked" in request.param:
        monkeypatch.setattr(_rows, "_reader", None)
    return request.param


def test_the_fast_way_is_there_where_torch_has_it():
    assert (_rows._reader is not None) == HAS_EXCHANGE
    assert dlpack.tuples_end_in_their_items


def rows_of(*tensors):
    """(address, length, dtype) of each, or None if they were not taken."""
    words = _rows.gradients_in(list(tensors)).words
    if words is None:
        return None
    assert set(words[3::4]) <= {1}  # device_type 1, device_id 0
    return list(zip(words[0::4], words[1::4], words[2::4]))


x = torch.arange(24.0).reshape(4, 6)
TAKEN = {
    "float32": x,
    "float64": x.double(),
    "float16": x.half(),
    "bfloat16": x.bfloat16(),
    "zero-dimensional": torch.tensor(3.0),
    "some of the rows": x[1:3],
    "strides of extents of 1": torch.ones(2, 3, 1, 1).to(memory_format=torch.channels_last),
    "a parameter": torch.nn.Parameter(x.clone()),
    "what has a history": torch.ones(3, requires_grad=True) * 2,
    "copied when written": torch._lazy_clone(torch.ones(5)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_rows_are_what_torch_says(way, name):
    tensor = TAKEN[name]
    (row,) = rows_of(tensor)
    assert row == (tensor.data_ptr(), tensor.numel(), _rows.DTYPES[tensor.dtype])


def test_a_lazy_copy_is_made_before_its_memory_is_taken(way):
    original = torch.ones(3)
    copy = torch._lazy_clone(original)
    ((address, _, _),) = rows_of(copy)
    assert address != original.data_ptr() and address == copy.data_ptr()


def resized_away():
    tensor = torch.ones(4)
    tensor.untyped_storage().resize_(0)
    return tensor


NOT_TAKEN = {
    "transposed": lambda: x.t(),
    "with gaps": lambda: x[:, ::2],
    "one element many times": lambda: torch.ones(1).expand(5),
    "channels last": lambda: torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "integers": lambda: torch.ones(3, dtype=torch.int64),
    "bool": lambda: torch.ones(3, dtype=torch.bool),
    "complex": lambda: torch.ones(3, dtype=torch.complex64),
    "float8": lambda: torch.zeros(3, dtype=torch.float8_e4m3fn),
    "meta": lambda: torch.empty(3, device="meta"),
    "sparse": lambda: x.to_sparse(),
    "sparse in rows": lambda: x.to_sparse_csr(),
    "mkldnn": lambda: x.to_mkldnn(),
    "without memory": resized_away,
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_others_are_left_to_the_slow_way(way, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of beta and deprecated layouts
        tensor = NOT_TAKEN[name]()
    assert rows_of(tensor) is None
    assert rows_of(x, tensor) is None


def test_what_a_transform_wraps_is_left_to_the_slow_way(way):
    seen = []
    torch.func.vmap(lambda t: (seen.append(rows_of(t)), t)[1])(x)
    assert seen == [None]


def test_many_tensors_of_many_sizes(way):
    rng = random.Random(5)
    dtypes = list(_rows.DTYPES)
    tensors = [torch.ones(rng.randrange(1, 40), dtype=rng.choice(dtypes)) for _ in range(3000)]
    expected = [(t.data_ptr(), t.numel(), _rows.DTYPES[t.dtype]) for t in tensors]
    assert rows_of(*tensors) == expected
    grads = gt._rows.gradients_in(tensors)  # in portions
    words = grads.words
    assert list(zip(words[0::4], words[1::4], words[2::4])) == expected


def test_shared_memory_is_noticed(way):
    gathered = gt._rows.gradients_in([x, x[1:2]])
    assert gathered.words is not None
    seen = gt._rows.look_at(gathered)
    assert seen == (1, "overlaps another in memory")


def test_functions_and_plans_follow_new_gradients(way):
    rng = random.Random(6)
    parameters = [torch.nn.Parameter(torch.zeros(rng.randrange(1, 9))) for _ in range(1500)]
    plan = gt.Plan(parameters)
    for step in range(4):
        torch.manual_seed(step)
        for p in parameters:
            p.grad = None if rng.random() < 0.01 * step else torch.randn_like(p)
        grads = [p.grad.clone() for p in parameters if p.grad is not None]
        norm = torch.cat(grads).double().norm()
        assert abs(plan.get_total_norm() / norm - 1) < 1e-6
        clipped = plan.clip_grad_norm_(1.0) if step % 2 else gt.clip_grad_norm_(parameters, 1.0)
        assert abs(clipped / norm - 1) < 1e-6
        for p, grad in zip((p for p in parameters if p.grad is not None), grads):
            torch.testing.assert_close(p.grad, grad / (norm.float() + 1e-6))
    one = next(i for i in range(4, 1500) if parameters[i].shape == parameters[3].shape)
    parameters[one].grad = parameters[3].grad = torch.full_like(parameters[3], 2.0)
    assert plan.get_total_norm() == gt.get_total_norm(
        [p.grad for i, p in enumerate(parameters) if p.grad is not None and i != one]
    )


# ------------------------------------------------------------ which readers are taken --


def exchange_of(major, function, name=b"dlpack_exchange_api"):
    api = dlpack._DLPackExchangeAPI(major, 3, None, 1, 1, 1, function, 1)
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
        ("PyCapsule_New", ctypes.pythonapi)
    )
    capsule = new(ctypes.addressof(api), name, None)
    return type("Array", (), {"__dlpack_c_exchange_api__": capsule, "kept": (api, name)})


def test_only_readers_of_the_known_protocol_are_taken():
    assert dlpack.reader_of(exchange_of(1, 1234)) is not None
    assert dlpack.reader_of(exchange_of(2, 1234)) is None
    assert dlpack.reader_of(exchange_of(1, None)) is None
    assert dlpack.reader_of(exchange_of(1, 1234, b"something_else")) is None
    assert dlpack.reader_of(list) is None


def test_what_a_reader_says_no_to_is_not_taken(monkeypatch):
    @dlpack.ffi.gradclip_dlpack_reader
    def read(thing, out):
        return -1

    monkeypatch.setattr(_rows, "_reader", read)
    assert gt._rows.gradients_in([x]).words is None
    assert b"objects[0] must be readable: read() must return 0 (got -1)" in dlpack.ffi.gradclip_last_error()
