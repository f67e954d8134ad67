#!/bin/sh
# bindings/python/tests/run-olmo.sh BUILD_DIR: SkipStep against OLMo-core's rule. In an environment
# of its own: OLMo-core holds rich and others at versions that do not suit the rest.
peer=olmo gigabytes=1.4 packages=ai2-olmo-core about="ai2-olmo-core torch" environment=olmo
. "$(dirname "$0")/peers.sh"
compare tests/peers/test_olmo.py
