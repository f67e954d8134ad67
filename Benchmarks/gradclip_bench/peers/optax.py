"""optax under jit. It returns new gradients, and takes all processors that there are."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from . import NotAvailable, seconds_per_call

NAME = "optax"
IN_PLACE = False
# Compiling takes minutes for more.
MOST_TENSORS = 1000

jax.config.update("jax_enable_x64", True)


def version() -> str:
    return f"{optax.__version__} (jax {jax.__version__})"


def prepare(workload, threads):
    case, arena = workload.case, workload.arena
    if len(arena.arrays) > MOST_TENSORS:
        raise NotAvailable(f"more than {MOST_TENSORS} tensors take minutes to compile")
    if case.norm_type != 2:
        raise NotAvailable("p = 2 only")
    if case.unscales:
        raise NotAvailable("does not unscale")
    grads = [jnp.array(array, arena.dtype, copy=True) for array in arena.values()]
    limit = workload.fixed_limit
    clip = optax.clip(limit) if case.job == "value" else optax.clip_by_global_norm(limit)
    state = clip.init(grads)
    update = jax.jit(lambda gradients: clip.update(gradients, state)[0])
    jax.block_until_ready(update(grads))
    return lambda steps: seconds_per_call(lambda *_: jax.block_until_ready(update(grads)), steps)
