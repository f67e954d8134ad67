"""TensorFlow. It returns new gradients; compiled (tf.function) up to 1000 tensors, eager beyond."""

from __future__ import annotations

import os

# Before the import, or it has no effect.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

from . import NotAvailable, seconds_per_call

NAME = "TensorFlow"
IN_PLACE = False
MOST_COMPILED = 1000


def version() -> str:
    return tf.__version__


def prepare(workload, threads):
    case, arena = workload.case, workload.arena
    if case.norm_type != 2:
        raise NotAvailable("p = 2 only")
    if case.unscales:
        raise NotAvailable("does not unscale")
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    dtype = tf.as_dtype(arena.dtype)
    grads = [tf.cast(tf.constant(array), dtype) for array in arena.values()]
    limit = tf.constant(workload.fixed_limit, dtype)

    def clip_norm(given):
        return tf.clip_by_global_norm(given, limit)[0]

    def clip_value(given):
        return [tf.clip_by_value(g, -limit, limit) for g in given]

    clip = clip_value if case.job == "value" else clip_norm
    if len(grads) <= MOST_COMPILED:
        clip = tf.function(clip)
    clip(grads)
    return lambda steps: seconds_per_call(lambda *_: clip(grads), steps)
