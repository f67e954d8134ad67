#!/bin/sh
# bindings/python/tests/run-mlx.sh BUILD_DIR: against MLX, and its arrays.
peer=mlx gigabytes=0.1 packages="mlx[cpu]" about="mlx numpy"
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_mlx.py
