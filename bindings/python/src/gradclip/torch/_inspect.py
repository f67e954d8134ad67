"""inspect: which parameter's gradient is large, which is NaN."""

from __future__ import annotations

from collections.abc import Iterable

from .._methods.inspect import inspection_of
from .._methods.report import Inspection
from ._fallback import only_library
from ._rows import Parameters, gradients_of, look_at, parameters_of


def inspect(
    parameters: Parameters,
    names: Iterable[str] | None = None,
    norm_type: float | str = 2.0,
    grad_scale: float = 1.0,
) -> Inspection:
    """Looks at the gradient of every parameter: who is large, who is zero, who is NaN.

    Nothing is written. print(inspect(model)) says first what is wrong, and then shows a
    table, the largest share of the norm first. What is returned is that of gradclip.inspect.

    Args:
        parameters: a model (then the table has its names), named_parameters(),
            parameters, an optimizer, or param_groups.
        names: names of the parameters, one each, if they have none.
        norm_type, grad_scale: as for gradclip.inspect.

    Raises:
        UnsupportedError: a gradient is not in CPU memory, complex or a subclass.

    >>> model = torch.nn.Linear(2, 1)
    >>> model.weight.grad, model.bias.grad = torch.tensor([[3.0, -4.0]]), torch.zeros(1)
    >>> print(inspect(model))
    'bias' (gradient 1) is all zero
    total_norm 5, norm_type 2, 2 gradients, 3 elements
    gradient   shape    dtype  share  norm  max_abs  mean  zeros
    weight    (1, 2)  float32   100%     5        4  -0.5      0
    bias        (1,)  float32     0%     0        0     0      1
    """
    listed, names = parameters_of(parameters, names)
    seen = look_at(gradients_of(listed), names, complex_too=False, sparse_too=False)
    only = only_library(seen, "only plain tensors on the CPU can be inspected")
    return inspection_of(only, norm_type, grad_scale)
