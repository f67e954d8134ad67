#!/bin/sh
# bindings/python/tests/run-mmcv.sh BUILD_DIR: the OptimizerHook of mmcv 1, which mmdetection 2 and its
# kin train with, under gradclip.torch.patch(). In an environment of its own: its setup.py wants an
# older setuptools, to be built with and to be run with.
peer=mmcv gigabytes=0.4 packages="mmcv scikit-learn" about="mmcv torch" environment=mmcv
older=$(mktemp)
trap 'rm -f "$older"' EXIT
echo 'setuptools<81' >"$older"
export PIP_CONSTRAINT="$older" PIP_BUILD_CONSTRAINT="$older" MMCV_WITH_OPS=0
. "$(dirname "$0")/peers.sh"
compare tests/peers/test_mmcv.py
