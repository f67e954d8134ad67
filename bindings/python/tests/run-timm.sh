#!/bin/sh
# bindings/python/tests/run-timm.sh BUILD_DIR: timm's dispatch_clip_grad under gradclip.torch.patch().
# Not beside the other peers: it needs torchvision, of which PyPI has only a build for CUDA, which
# beside a torch without CUDA keeps Lightning and transformers from being imported.
peer=timm gigabytes=0.3 packages="timm scikit-learn" about="timm torch" environment=torch
. "$(dirname "$0")/peers.sh"
compare -W default tests/peers/test_timm.py
