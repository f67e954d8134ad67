#!/bin/sh
# bindings/python/tests/run-accelerate.sh BUILD_DIR: accelerate under gradclip.torch.patch().
peer=accelerate gigabytes=0.2 packages="accelerate scikit-learn" about="accelerate torch"
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_accelerate.py
