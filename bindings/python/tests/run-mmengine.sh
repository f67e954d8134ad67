#!/bin/sh
# bindings/python/tests/run-mmengine.sh BUILD_DIR: mmengine's OptimWrapper, after gradclip.torch.patch().
peer=mmengine gigabytes=0.3 packages="mmengine scikit-learn" about="mmengine torch"
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_mmengine.py
