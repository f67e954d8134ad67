#!/bin/sh
# bindings/python/tests/run-deepspeed.sh BUILD_DIR: gradclip.deepspeed in DeepSpeed's own engines, its
# optimizer offloaded, on the CPU (DS_ACCELERATOR=cpu) and up to 3 ranks. In an environment of its own.
peer=deepspeed gigabytes=0.3 packages="setuptools wheel ninja deepspeed" about="deepspeed torch" environment=deepspeed
DS_BUILD_OPS=0
export DS_BUILD_OPS
. "$(dirname "$0")/peers.sh"
compare tests/with_deepspeed
