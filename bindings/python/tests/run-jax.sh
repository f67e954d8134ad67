#!/bin/sh
# bindings/python/tests/run-jax.sh BUILD_DIR: against optax, and JAX arrays.
# (0.9 GB of it is torch, which the environment that it shares with other peers begins with.)
peer=jax gigabytes=1.6 packages="jax optax scikit-learn" about="jax optax ml_dtypes numpy"
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_jax.py
