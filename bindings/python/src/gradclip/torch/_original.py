"""torch's own functions, as they are when this package is first imported.

They do what the library has no code for, and they are what patch() replaces.
"""

from __future__ import annotations

from typing import Callable

import torch
from torch.nn import utils

if not hasattr(utils, "get_total_norm"):
    raise ImportError(f"gradclip.torch needs torch 2.6 or newer (found {torch.__version__})")

clip_grad_norm_: Callable[..., torch.Tensor] = utils.clip_grad_norm_
clip_grad_value_: Callable[..., None] = utils.clip_grad_value_
clip_grads_with_norm_: Callable[..., None] = utils.clip_grads_with_norm_
get_total_norm: Callable[..., torch.Tensor] = utils.get_total_norm
