#!/bin/sh
# bindings/python/tests/run-choosers.sh BUILD_DIR: the choosers against PyPI's autoclip, zclip and
# pytorch_optimizer, step by step.
peer=choosers gigabytes=0.1 packages="autoclip zclip pytorch_optimizer"
about="autoclip zclip pytorch_optimizer torch"
. "$(dirname "$0")/peers.sh"
compare tests/peers/test_choosers.py
