#!/bin/sh
# bindings/python/tests/run-family.sh BUILD_DIR: what clips otherwise than by the global norm, against
# TensorFlow, Keras, optax, timm, Opacus and jax-privacy. In an environment of its own for timm's sake
# (run-timm.sh).
peer=family gigabytes=3.5 packages="timm opacus optax jax jax-privacy tensorflow-cpu keras"
about="tensorflow-cpu keras optax timm opacus jax-privacy jax torch" environment=family
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_family.py tests/peers/test_opacus_batches.py
