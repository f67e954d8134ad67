#!/bin/sh
# bindings/python/tests/run-transformers.sh BUILD_DIR: the Trainer of Hugging Face's transformers
# under gradclip.torch.patch().
peer=transformers gigabytes=0.2 packages="transformers accelerate scikit-learn" about="transformers accelerate torch"
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_transformers.py
