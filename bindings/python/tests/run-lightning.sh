#!/bin/sh
# bindings/python/tests/run-lightning.sh BUILD_DIR: Lightning's Trainer under gradclip.torch.patch().
peer=lightning gigabytes=0.2 packages="lightning scikit-learn" about="lightning torch"
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_lightning.py
