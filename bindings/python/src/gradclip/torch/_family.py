"""The other ways to clip, for parameters: by tensor, group, root mean square, weights, example."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import _family, _ffi
from .._adaptive import Exclude, coefs_of_rows, excluded
from .._calls import options_of
from .._errors import UnsupportedError
from .._family import PartsNorm
from .._layout import c_order
from .._norm import NonFinite
from .._parts import limits_of_groups, parts_norm
from .._per_example import PerExample, clipped, count_examples, per_example
from .._tensors import Table
from ._gradients import ForTorch, Gradients, checked_names, dense_layout, gradients_of, look_at

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

    from .._types import NonFinitePolicy

Parameters: TypeAlias = "Tensor | Iterable[Tensor] | Iterable[tuple[str, Tensor]]"


def clip_by_norm_(
    parameters: Parameters,
    max_norm: float | Sequence[float],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 0.0,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> PartsNorm:
    """Scales the gradient of each parameter in place so that its own norm is at most max_norm:
    tf.clip_by_norm, Keras's clipnorm.

    Args:
        parameters: a parameter, any iterable of parameters, or of pairs of a name and a
            parameter (model.named_parameters()). Those whose .grad is None are passed
            over. Gradients lie on the CPU and are dense or have gaps, of float32,
            float64, float16 or bfloat16.
        max_norm: the largest norm allowed, >= 0; or a sequence of one a parameter.
        eps: added to the norm; 0 is TensorFlow's and Keras's.
        error_if_nonfinite: raise NonFiniteGradientError, before anything is written, if
            an element is NaN or infinite.
        norm_type, nonfinite, grad_scale, names: as for clip_grad_norm_.

    Returns:
        The norm of all gradients together, a float that carries tensor_norms and
        clip_coefs, one a parameter (0 and 1 where there is no gradient).

    Raises:
        UnsupportedError: a gradient is not in CPU memory, sparse, complex or a subclass.
        ValueError: an argument is outside its range.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> clip_by_norm_([weight], 1.0).clip_coefs, weight.grad
    ((0.2,), tensor([0.6000, 0.8000]))
    """
    listed, names = _listed(parameters, names)
    seen = _look(listed, names)
    limits = _limits(seen, max_norm, len(listed))
    options = options_of(eps, nonfinite, grad_scale, error_if_nonfinite)
    found = _family.clip_by_norm(seen, limits, float(norm_type), options)
    return _of_parameters(seen, found, len(listed), error_if_nonfinite, nonfinite, grad_scale)


def clip_by_block_rms_(
    parameters: Parameters,
    threshold: float = 1.0,
    error_if_nonfinite: bool = False,
    *,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> PartsNorm:
    """Scales the gradient of each parameter in place so that its root mean square is at most
    threshold: optax.clip_by_block_rms, Adafactor's d.

    g / max(1, rms(g) / threshold). The other arguments are those of clip_by_norm_.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([2.0, -2.0])
    >>> clip_by_block_rms_([weight]).clip_coefs, weight.grad
    ((0.5,), tensor([ 1., -1.]))
    """
    listed, names = _listed(parameters, names)
    seen = _look(listed, names)
    options = options_of(0.0, nonfinite, grad_scale, error_if_nonfinite)
    found = _family.clip_by_norm(seen, [threshold], 2.0, options, rms=True)
    return _of_parameters(seen, found, len(listed), error_if_nonfinite, nonfinite, grad_scale)


def clip_by_group_(
    groups: Mapping[str, Parameters] | Iterable[Mapping[str, Any]],
    max_norm: float | Mapping[str, float],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    *,
    eps: float = 0.0,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
) -> PartsNorm:
    """Scales the gradients of each group of parameters in place so that the norm of the group is
    at most its max_norm.

    Args:
        groups: a dictionary from names to parameters, or an optimizer's param_groups,
            whose names are their "name" or their number ("0", "1", ...).
        max_norm: the largest norm allowed, >= 0, for all groups or for each by name.
        The others: as for clip_by_norm_.

    Returns:
        The norm of all gradients together, a float that carries group_norms and
        clip_coefs, dictionaries by name.

    >>> body, head = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    >>> body.grad, head.grad = torch.tensor([3.0, 4.0]), torch.tensor([7.0])
    >>> clip_by_group_({"body": [body], "head": [head]}, {"body": 1.0, "head": 9.0}).group_norms
    {'body': 5.0, 'head': 7.0}
    """
    if not isinstance(groups, Mapping):
        groups = {str(g.get("name", i)): g["params"] for i, g in enumerate(groups)}
    listed: list[Any] = []
    names: list[str] = []
    of_place: list[int] = []
    for place, (name, parameters) in enumerate(groups.items()):
        mine, inner = _listed(parameters, None)
        listed += mine
        names += [f"{name}.{path}" for path in inner or map(str, range(len(mine)))]
        of_place += [place] * len(mine)
    seen = _look(listed, names)
    of_row: list[int | None] = [None] * seen.count
    for place, row in _rows(seen):
        if of_row[row] not in (None, of_place[place]):
            raise ValueError(f"the gradient of {names[place]!r} is in two groups")
        of_row[row] = of_place[place]
    options = options_of(eps, nonfinite, grad_scale, error_if_nonfinite)
    limits = limits_of_groups(list(groups), max_norm)
    found = _family.clip_by_group(
        seen, [group or 0 for group in of_row], limits, float(norm_type), options
    )
    norm = _of_parameters(seen, found, len(listed), error_if_nonfinite, nonfinite, grad_scale)
    norm.clip_coefs = dict(zip(groups, found.coefs))
    norm.group_norms = dict(zip(groups, found.part_norms))
    return norm


def adaptive_clip_grad(
    parameters: Parameters,
    clip_factor: float = 0.01,
    eps: float = 1e-3,
    norm_type: float = 2.0,
    *,
    axes: str | Sequence[int] = "timm",
    exclude: Exclude = None,
    error_if_nonfinite: bool = False,
    nonfinite: NonFinitePolicy = "propagate",
    grad_scale: float = 1.0,
    names: Iterable[str] | None = None,
) -> PartsNorm:
    """Scales each unit of the parameters' gradients in place by its norm against that of the same
    unit of the weights: adaptive gradient clipping (NFNets, arXiv 2102.06171).

    Takes what timm.utils.adaptive_clip_grad takes, and does what that does, with exact
    norms. The formula, axes and what is returned are those of gradclip.adaptive_clip_grad_.

    Args:
        parameters: as for clip_by_norm_: the weights, and their .grad.
        exclude: names of parameters to leave alone (NFNets' classifier), or what names
            begin with up to a ".", or a function of the name; needs names, or
            parameters as named_parameters().
        The others: as for gradclip.adaptive_clip_grad_ and clip_by_norm_.

    Raises:
        UnsupportedError: a gradient or a weight that is no plain tensor in CPU memory.
        ValueError, TypeError: as gradclip.adaptive_clip_grad_ does.

    >>> weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    >>> weight.grad = torch.tensor([[30.0, 40.0]])
    >>> adaptive_clip_grad([weight], clip_factor=0.5).clipped_count, weight.grad
    (1, tensor([[1.5000, 2.0000]]))
    """
    listed, names = _listed(parameters, names)
    seen = _look(listed, names)
    left_out = excluded(seen.names, exclude, len(listed))
    rows: dict[int, tuple[int, int, tuple[int, int, int], int, int]] = {}
    keep: list[Any] = []
    permuted: dict[int, tuple[Tensor, Tensor, list[int]]] = {}
    words = seen.table.words
    for i, tensor in enumerate(seen.tensors):
        place = i if seen.place_of is None else seen.place_of[i]
        row = i if seen.row_of is None else seen.row_of[i]
        if row in rows:
            continue
        address, length, dtype = words[4 * row], words[4 * row + 1], words[4 * row + 2]
        if left_out[place]:
            rows[row] = (address, address, (1, length, 1), dtype, 1)
            continue
        weight = listed[place].detach()
        if type(weight) is not Tensor or not weight.is_cpu or weight.dtype not in _DTYPES:
            raise UnsupportedError(f"the weights of parameter {place} are no plain CPU tensor")
        order = dense_layout(tensor) or c_order(tensor.shape)
        reduced = _family.reduced_axes(axes, order.shape, f"parameter {place}")
        units = _family.unit_shape(
            [order.shape[axis] for axis in order.axes], [axis in reduced for axis in order.axes]
        )
        mine = tensor
        if units is None:
            kept = [axis for axis in range(tensor.dim()) if axis not in reduced]
            by = [*kept, *reduced]
            with torch.no_grad():
                mine = tensor.permute(by).contiguous()
                weight = weight.permute(by).contiguous()
            permuted[row] = (tensor, mine, by)
            outer = mine.numel() // max(1, _product(tensor.shape[axis] for axis in reduced))
            units = (outer, mine.numel() // max(1, outer), 1)
            address = mine.data_ptr()
        elif dense_layout(weight) != order:
            with torch.no_grad():
                like = torch.empty(
                    [order.shape[axis] for axis in order.axes], dtype=weight.dtype, device="cpu"
                )
                weight = like.copy_(weight.permute(order.axes))
        keep += [mine, weight]
        rows[row] = (address, weight.data_ptr(), units, _DTYPES[weight.dtype], 0)
    for row, (address, _, _, _, flags) in rows.items():
        words[4 * row] = address
        words[4 * row + 2] |= flags << 32
    ordered = [rows[row] for row in range(seen.count)]
    table = Table.of(
        [row[1] for row in ordered],
        [words[4 * i + 1] for i in range(seen.count)],
        [row[3] & 0xFFFFFFFF for row in ordered],
    )
    options = options_of(1e-6, nonfinite, grad_scale, error_if_nonfinite)
    result, coefs = _family.adaptive_clip_grad(
        seen, table, [row[2] for row in ordered], clip_factor, eps, float(norm_type), options
    )
    norm = parts_norm(_InCopies(seen, permuted), result, error_if_nonfinite)
    if _writes(norm, nonfinite, grad_scale):
        seen.written()
        with torch.no_grad():
            for tensor, mine, by in permuted.values():
                tensor.copy_(mine.permute(sorted(range(len(by)), key=by.__getitem__)))
    per_row = coefs_of_rows(coefs, [row[2] for row in ordered], [bool(row[4]) for row in ordered])
    of_all: list[Any] = [None] * len(listed)
    for place, row in _rows(seen):
        of_all[place] = per_row[row]
    norm.clip_coefs = tuple(of_all)
    norm.clipped_count = sum(1 for coef in coefs if coef != 1.0)
    return norm


def clip_per_example(
    grads: Tensor | Iterable[Tensor],
    max_norm: float | Sequence[float],
    *,
    rule: str = "clip",
    eps: float = 0.0,
    grad_scale: float = 1.0,
    dtype: torch.dtype | None = None,
) -> PerExample:
    """Clips the gradient of every example by its own norm, and adds the clipped gradients up.

    gradclip.clip_per_example for tensors: the arguments and what is returned are those,
    but that the sums are tensors. Privacy rests on each contribution's exact norm being
    at most max_norm; see there.

    Args:
        grads: tensors of shape [examples, ...] in CPU memory; or parameters, whose
            .grad_sample (Opacus) is taken. Those that are not contiguous are copied.
        dtype: of the sums: torch.float32 or torch.float64.

    Raises:
        UnsupportedError: a tensor that is no plain one in CPU memory.
        ValueError, TypeError: as gradclip.clip_per_example does.

    >>> found = clip_per_example([torch.tensor([[3.0, 4.0], [0.3, 0.4]])], max_norm=1.0)
    >>> found.clipped, found.sums[0]
    (1, tensor([0.9000, 1.2000]))
    """
    given = [grads] if isinstance(grads, Tensor) else list(grads)
    tensors = []
    for i, tensor in enumerate(given):
        sample = tensor.grad_sample if hasattr(tensor, "grad_sample") else tensor
        if not isinstance(sample, Tensor):
            raise TypeError(f"grads[{i}] must be a tensor [examples, ...] (got {type(sample)})")
        tensors.append(sample.detach())
    examples = count_examples(
        (f"grads[{i}]", tuple(tensor.shape)) for i, tensor in enumerate(tensors)
    )
    for i, tensor in enumerate(tensors):
        if type(tensor) is not Tensor or not tensor.is_cpu or tensor.layout != torch.strided:
            raise UnsupportedError(f"grads[{i}] is no plain CPU tensor: {tensor.device}")
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"grads[{i}] has the wrong dtype: {tensor.dtype}")
    tensors = [tensor.contiguous() for tensor in tensors]
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype must be torch.float32 or torch.float64 (got {dtype})")
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    kind = dtype or (torch.float64 if wide else torch.float32)
    sums = [torch.empty(tensor.shape[1:], dtype=kind, device="cpu") for tensor in tensors]
    rows = _Rows(_table(tensors))
    limits = [max_norm] if not isinstance(max_norm, Sequence) else max_norm
    if isinstance(max_norm, Sequence) and len(limits) != len(tensors):
        raise ValueError(
            f"max_norm must be a number or have one a gradient: {len(tensors)} (got {len(limits)})"
        )
    found, norms, factors = clipped(
        rows, _table(sums), examples, limits, rule, eps, grad_scale, False
    )
    return per_example(sums, found, norms, factors)


def dispatch_clip_grad(
    parameters: Any, value: float, mode: str = "norm", norm_type: float = 2.0, **options: Any
) -> None:
    """Clips by a method that a string names, as timm.utils.dispatch_clip_grad does.

    Args:
        parameters: a parameter or an iterable of parameters; for "group_norm" an
            optimizer's param_groups, or a dictionary of named groups.
        value: the method's limit.
        mode: "norm": clip_grad_norm_; "value": clip_grad_value_; "agc":
            adaptive_clip_grad (these three are timm's); "tensor_norm": clip_by_norm_;
            "group_norm": clip_by_group_; "block_rms": clip_by_block_rms_.
        norm_type: the order of the norm, where the method has one.
        options: further arguments of the method.

    Raises:
        ValueError: mode is none of these.

    >>> weight = torch.nn.Parameter(torch.zeros(2))
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> dispatch_clip_grad([weight], 1.0, mode="tensor_norm")
    >>> weight.grad
    tensor([0.6000, 0.8000])
    """
    from ._clip import clip_grad_norm_, clip_grad_value_

    if mode == "norm":
        clip_grad_norm_(parameters, value, norm_type, **options)
    elif mode == "value":
        clip_grad_value_(parameters, value, **options)
    elif mode == "agc":
        adaptive_clip_grad(parameters, value, norm_type=norm_type, **options)
    elif mode == "tensor_norm":
        clip_by_norm_(parameters, value, norm_type, **options)
    elif mode == "group_norm":
        clip_by_group_(parameters, value, norm_type, **options)
    elif mode == "block_rms":
        clip_by_block_rms_(parameters, value, **options)
    else:
        modes = "'norm', 'value', 'agc', 'tensor_norm', 'group_norm' or 'block_rms'"
        raise ValueError(f"mode must be {modes} (got {mode!r})")


# ------------------------------------------------------------------------- parts --

_DTYPES = {
    torch.float32: _ffi.GRADCLIP_F32,
    torch.float64: _ffi.GRADCLIP_F64,
    torch.float16: _ffi.GRADCLIP_F16,
    torch.bfloat16: _ffi.GRADCLIP_BF16,
}


class _InCopies:
    """Tells where a NaN lies, of gradients some of which were clipped in a permuted copy."""

    def __init__(self, seen: Gradients, permuted: dict[int, tuple[Tensor, Tensor, list[int]]]):
        self._seen = seen
        self._permuted = permuted

    def nonfinite(self, result: Any) -> NonFinite:
        found = self._seen.nonfinite(result)
        if result.first_tensor not in self._permuted:
            return found
        _, mine, by = self._permuted[result.first_tensor]
        return _family.unpermuted(found, result.first_element, mine.shape, by)


class _Rows:
    """Tensors as rows, one each."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.count = len(table.words) // 4


def _table(tensors: list[Tensor]) -> Table:
    return Table.of(
        [tensor.data_ptr() for tensor in tensors],
        [tensor.numel() for tensor in tensors],
        [_DTYPES[tensor.dtype] for tensor in tensors],
    )


def _listed(
    parameters: Parameters, names: Iterable[str] | None
) -> tuple[list[Any], list[str] | None]:
    listed: list[Any] = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if listed and all(isinstance(entry, tuple) and len(entry) == 2 for entry in listed):
        if names is None:
            names = [name for name, _ in listed]
        listed = [parameter for _, parameter in listed]
    return listed, checked_names(names, len(listed))


def _look(listed: list[Any], names: list[str] | None) -> Gradients:
    seen = look_at(gradients_of(listed), names, complex_too=False)
    if isinstance(seen, ForTorch):
        raise UnsupportedError(
            f"gradient {seen.tensor} {seen.what}: this way of clipping is the library's alone"
        )
    return seen


def _rows(seen: Gradients) -> Iterable[tuple[int, int]]:
    """The place of each gradient in the list, and its row."""
    for i in range(len(seen.tensors)):
        place = i if seen.place_of is None else seen.place_of[i]
        yield place, i if seen.row_of is None else seen.row_of[i]


def _limits(seen: Gradients, max_norm: float | Sequence[float], count: int) -> list[float]:
    if not isinstance(max_norm, Sequence):
        return [max_norm]
    if len(max_norm) != count:
        raise ValueError(
            f"max_norm must be a number or have one a parameter: {count} (got {len(max_norm)})"
        )
    limits = [0.0] * max(1, seen.count)
    for place, row in _rows(seen):
        limits[row] = max_norm[place]
    return limits


def _of_parameters(
    seen: Gradients,
    found: _family.Parts,
    count: int,
    error_if_nonfinite: bool,
    nonfinite: str,
    grad_scale: float,
) -> PartsNorm:
    norm = parts_norm(seen, found.result, error_if_nonfinite)
    norms, coefs = [0.0] * count, [1.0] * count
    for place, row in _rows(seen):
        norms[place] = found.norms[row]
        if len(found.coefs) == seen.count:
            coefs[place] = found.coefs[row]
    norm.tensor_norms, norm.clip_coefs = tuple(norms), tuple(coefs)
    norm.clipped_count = sum(1 for coef in found.coefs if coef != 1.0)
    if _writes(norm, nonfinite, grad_scale):
        seen.written()
    return norm


def _writes(norm: PartsNorm, nonfinite: str, grad_scale: float) -> bool:
    if norm.nonfinite and nonfinite != "propagate":
        return nonfinite == "zero"
    return norm.clip_coef != 1.0 or grad_scale != 1.0


def _product(extents: Iterable[int]) -> int:
    product = 1
    for extent in extents:
        product *= extent
    return product
