"""torch.nn.utils' gradient clipping for parameters on the CPU, by libgradclip.

    from gradclip.torch import clip_grad_norm_
    norm = clip_grad_norm_(model.parameters(), max_norm=1.0)

The functions take what torch's take and return what torch's return. Gradients
that the library has no code for (on a GPU, sparse, DTensor) go to torch's own
function; for DTensors and other sharded gradients there is gradclip.torch.distributed.
What differs on purpose is listed in docs/coming-from.md: above all, the norm is exact and
cannot overflow, and error_if_nonfinite names the parameter.

`patch()` puts them in the place of torch's for libraries that call those;
`Plan` and `clip_and_step` save time in a training loop; `Monitor` clips, logs, and says
what went wrong; `AutoClip`, `ZClip`, `AdaGC` and `SkipStep` choose max_norm themselves.
"""

from .. import _at_home
from ._choosers import AdaGC, AutoClip, SkipStep, ZClip
from ._clip import clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm
from ._dispatch import dispatch_clip_grad
from ._examples import clip_per_example
from ._inspect import inspect
from ._monitor import Monitor
from ._parts import clip_by_block_rms_, clip_by_group_, clip_by_norm_
from ._patch import Patch, patch
from ._plan import Plan
from ._step import clip_and_step
from ._units import adaptive_clip_grad

__all__ = [
    "AdaGC",
    "AutoClip",
    "Monitor",
    "Patch",
    "Plan",
    "SkipStep",
    "ZClip",
    "adaptive_clip_grad",
    "clip_and_step",
    "clip_by_block_rms_",
    "clip_by_group_",
    "clip_by_norm_",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "clip_per_example",
    "dispatch_clip_grad",
    "get_total_norm",
    "inspect",
    "patch",
]

_at_home(globals())
