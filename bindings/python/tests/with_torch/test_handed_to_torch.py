"""What the library cannot do goes to torch's own functions, with torch's result or exception."""

import pytest

torch = pytest.importorskip("torch")

import gradclip  # noqa: E402
import gradclip.torch as gt  # noqa: E402
from gradclip.torch import _fallback  # noqa: E402

NAMES = ("clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm")


@pytest.fixture
def calls(monkeypatch):
    """The calls of torch's own functions, which go through."""
    seen = []

    def spy(name, function):
        def call(*arguments, **options):
            seen.append(name)
            return function(*arguments, **options)

        return call

    for name in NAMES:
        monkeypatch.setattr(_fallback, name, spy(name, getattr(_fallback, name)))
    return seen


def parameter(grad):
    made = grad.detach().clone()
    made.grad = grad
    return made


class Subclass(torch.Tensor):
    pass


# Each makes gradients that the library does not take, maybe among others that it does.
LISTS = {
    "meta": lambda: [torch.empty(3, device="meta")],
    "cpu and meta": lambda: [torch.ones(2), torch.empty(3, device="meta")],
    "meta and cpu": lambda: [torch.empty(3, device="meta"), torch.ones(2)],
    "cpu and sparse CSR": lambda: [torch.ones(2), torch.eye(3).to_sparse_csr()],
    "sparse CSR": lambda: [torch.eye(3).to_sparse_csr()],
    "mkldnn": lambda: [torch.eye(3).to_mkldnn()],
    "subclass": lambda: [torch.ones(2).as_subclass(Subclass), torch.full((2,), 3.0)],
    "integers": lambda: [torch.tensor([1, 2])],
    "float8": lambda: [torch.ones(2).to(torch.float8_e5m2)],
    "zero tensor": lambda: [torch._efficientzerotensor((3,))],
    "overlap": lambda: (lambda arena: [arena[:6], arena[4:]])(torch.ones(10)),
    "expanded": lambda: [torch.ones(2), torch.ones(1).expand(3)],
    "unfolded": lambda: [torch.arange(5.0).unfold(0, 3, 1)],
    "complex, p = 1": lambda: [torch.tensor([3 + 4j, 1j])],
}


def outcome(function):
    """The exception a call raises, or what it returns and has done."""
    try:
        return function()
    except Exception as error:
        return error


def same(ours, theirs):
    if isinstance(theirs, Exception):
        # What torch refuses is refused as torch does, with the name of the gradient.
        assert isinstance(ours, type(theirs))
        reason = str(theirs).partition(". ")[0].partition("\n")[0]
        named = isinstance(ours, gradclip.UnsupportedError) and str(ours).endswith(f": {reason}")
        assert named or (type(ours) is type(theirs) and str(ours) == str(theirs))
    elif isinstance(theirs, torch.Tensor):
        assert type(ours) is type(theirs) and ours.device == theirs.device
        if theirs.device.type == "meta":
            assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        else:
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    else:
        assert ours is theirs is None


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", LISTS)
def test_gives_what_torch_gives(name, calls):
    norm_type = 1.0 if "p = 1" in name else 2.0
    for function, arguments in (
        ("clip_grad_norm_", (1.0, norm_type)),
        ("clip_grad_norm_", (1.0, norm_type, False, True)),
        ("clip_grad_norm_", (1.0, norm_type, False, False)),
        ("clip_grads_with_norm_", (1.0, torch.tensor(4.0))),
        ("clip_grad_value_", (0.5,)),
    ):
        if function == "clip_grads_with_norm_" and "complex" in name:
            continue  # which the library can do
        ours, theirs = ([parameter(grad) for grad in LISTS[name]()] for _ in range(2))
        calls.clear()
        mine = outcome(lambda: getattr(gt, function)(ours, *arguments))  # noqa: B023
        assert calls == [function]
        same(mine, outcome(lambda: getattr(_fallback, function)(theirs, *arguments)))  # noqa: B023
        for p, q in zip(ours, theirs):
            assert p.grad.layout == q.grad.layout
            if p.grad.layout == torch.strided:
                same(p.grad, q.grad)
    calls.clear()
    mine = outcome(lambda: gt.get_total_norm(LISTS[name](), norm_type))
    assert calls == ["get_total_norm"]
    same(mine, outcome(lambda: _fallback.get_total_norm(LISTS[name](), norm_type)))


def test_complex_gradients_cannot_be_clipped_by_value_as_in_torch(calls):
    ours, theirs = parameter(torch.tensor([3 + 4j])), parameter(torch.tensor([3 + 4j]))
    mine = outcome(lambda: gt.clip_grad_value_([ours], 1.0))
    assert isinstance(mine, RuntimeError)
    same(mine, outcome(lambda: _fallback.clip_grad_value_([theirs], 1.0)))


def test_dtensor(calls, tmp_path):
    """In CPU memory they need no function of torch's; but for partial sums, and torch's own norms."""
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("this torch is built without torch.distributed")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        grad = torch.arange(1.0, 9)
        weight = torch.nn.Parameter(distribute_tensor(torch.zeros(8), mesh, [Shard(0)]))
        weight.grad = distribute_tensor(grad.clone(), mesh, [Shard(0)])
        norm = gt.clip_grad_norm_([weight], 3.0)
        assert calls == [] and norm.equal(gt.get_total_norm([grad]))
        torch.testing.assert_close(weight.grad.full_tensor(), grad * (3 / grad.norm()))
        weight.grad = distribute_tensor(grad.clone(), mesh, [Shard(0)])
        assert gt.get_total_norm([weight.grad]).equal(norm)
        gt.clip_grads_with_norm_([weight], 3.0, norm)
        gt.clip_grad_value_([weight], 1.0)
        assert calls == []
        expected = (grad * (3 / grad.norm())).clamp(-1, 1)
        torch.testing.assert_close(weight.grad.full_tensor(), expected)

        weight.grad = DTensor.from_local(grad.clone(), mesh, [Partial()], run_check=False)
        norm = gt.clip_grad_norm_([weight], 3.0)
        assert calls == ["clip_grad_norm_"] and isinstance(norm, DTensor)
        # A plain gradient and a norm that is a DTensor: torch does not mix them.
        with pytest.raises(RuntimeError, match=r"mixed torch.Tensor and DTensor"):
            gt.clip_grads_with_norm_([parameter(torch.ones(3))], 1.0, norm)
        assert calls[-1] == "clip_grads_with_norm_"
    finally:
        distributed.destroy_process_group()


def test_tensors_of_torch_func(calls):
    """Inside torch.func.vmap a tensor has no memory that could be given to the library."""
    gradients = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
    norms = torch.func.vmap(lambda row: gt.get_total_norm(row, foreach=False))(gradients)
    assert norms.tolist() == [5, 10] and calls == ["get_total_norm"]


def test_compiled_code_uses_torchs_own_functions(calls):
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])

    @torch.compile(backend="eager")
    def norm(grad):
        return gt.get_total_norm([grad]) * 2

    assert norm(weight.grad) == 10 and calls == ["get_total_norm"]
    clip = torch.compile(lambda p: gt.clip_grad_norm_([p], 1.0), backend="eager")
    assert clip(weight) == 5
    torch.testing.assert_close(weight.grad, torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize("option", [{"eps": 0}, {"nonfinite": "zero"}, {"grad_scale": 2.0}])
def test_what_torchs_functions_do_not_have_is_an_error(option, calls):
    parameters = [parameter(torch.ones(1)), parameter(torch.ones(3, device="meta"))]
    (name,) = option
    message = f"^{name}=.* gradient 1 is on the device meta.* has no {name}"
    with pytest.raises(gradclip.UnsupportedError, match=message):
        gt.clip_grad_norm_(parameters, 1.0, **option)
    with pytest.raises(gradclip.UnsupportedError, match=message):
        gt.clip_grads_with_norm_(parameters, 1.0, torch.tensor(1.0), **option)
    if name != "eps":
        with pytest.raises(gradclip.UnsupportedError, match=message):
            gt.get_total_norm([p.grad for p in parameters], **option)
    assert not calls


def test_a_total_norm_that_is_no_number_in_cpu_memory(calls):
    weight = parameter(torch.tensor([3.0, 4.0]))
    gt.clip_grads_with_norm_([weight], 1.0, torch.tensor([10.0, 20.0]), foreach=False)
    torch.testing.assert_close(weight.grad, torch.tensor([0.3, 0.2]))
    assert calls == ["clip_grads_with_norm_"]


def test_none_among_tensors(calls):
    same(
        outcome(lambda: gt.get_total_norm([torch.ones(2), None])),
        outcome(lambda: _fallback.get_total_norm([torch.ones(2), None])),
    )
